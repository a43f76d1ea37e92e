-- The targets of a shard whose windows have ended and that nobody has claimed, the oldest first.
--
-- Keys: 1 due times, 2 claims. Both have the tag of one shard in braces: one slot.
-- Arguments: 1 until when they ended, 2 now, 3 how many at most.
-- Returns: target, due time, target, due time, ...
-- Units: microseconds UTC, below 2^53, so that doubles are exact.
-- Idempotent. Claims that are over go. Looks at no more entries than are asked for and claimed together.
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[2])
local most = tonumber(ARGV[3])
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0,
                         most + redis.call('ZCARD', KEYS[2]))
local free = {}
for n = 1, #found, 2 do
  if #free < 2 * most and not redis.call('ZSCORE', KEYS[2], found[n]) then
    free[#free + 1] = found[n]
    free[#free + 1] = found[n + 1]
  end
end
return free
