-- Remove a watch without a window whose time has come.
--
-- Keys: 1 the watch, 2 times to forget. Both have the tag of one shard in braces: one slot.
-- Arguments: 1 the target, 2 now.
-- Returns: 1 removed, 0 it is wanted again, or was gone.
-- Units: microseconds UTC, below 2^53, so that doubles are exact.
-- Idempotent.
local at = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not at or tonumber(at) > tonumber(ARGV[2]) then
  return 0
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
return 1
