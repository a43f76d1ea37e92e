-- Store a watch over the version it was made from, and note when its window ends or when it may go.
--
-- Keys: 1 the watch, 2 due times, 3 claims, 4 times to forget. All have the tag of one shard in braces: one slot.
-- Arguments: 1 the target, 2 the version it was made from (8 bytes, big-endian; 0: not stored), 3 the watch (8 bytes of
-- version before the rest), 4 when its window ends ('': none is open), 5 when it may go if none is.
-- Returns: 1 stored, 0 the version has moved on.
-- Units: microseconds UTC, in digits, and handed on as they are: numbers are doubles here.
-- Idempotent: a repeat finds its own version, changes nothing and says 0; whoever asked reads again.
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if version == '' then
  version = string.rep('\0', 8)
end
if version ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[1])
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZADD', KEYS[4], ARGV[5], ARGV[1])
else
  redis.call('ZREM', KEYS[4], ARGV[1])
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
end
return 1
