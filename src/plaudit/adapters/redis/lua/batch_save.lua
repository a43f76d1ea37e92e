-- Store watches of a shard, each over the version it was made from, and note when its window ends or when it may go.
--
-- Keys: 1 due times, 2 claims, 3 times to forget, 4 and on: the watches. All have the tag of one shard in braces: one
-- slot.
-- Arguments, five for each watch: 1 the target, 2 the version it was made from (8 bytes, big-endian; 0: not stored), 3 the
-- watch (8 bytes of version before the rest), 4 when its window ends ('': none is open), 5 when it may go if none is.
-- Returns: the targets whose versions have moved on; the others are stored.
-- A claim ends with the window it is of: with none, or one that ends later. A save in between, of a tap that came
-- while the window is being told, leaves it: nobody else is to tell it meanwhile.
-- Units: microseconds UTC, in digits, and handed on as they are; below 2^53, so that doubles are exact to compare.
-- Idempotent: a repeat finds its own version, changes nothing and names the target; whoever asked reads again.
local lost = {}
for n = 4, #KEYS do
  local at = 5 * (n - 4)
  local target, due = ARGV[at + 1], ARGV[at + 4]
  local version = redis.call('GETRANGE', KEYS[n], 0, 7)
  if version == '' then
    version = string.rep('\0', 8)
  end
  if version ~= ARGV[at + 2] then
    lost[#lost + 1] = target
  else
    redis.call('SET', KEYS[n], ARGV[at + 3])
    local before = redis.call('ZSCORE', KEYS[1], target)
    if due == '' or not before or tonumber(due) > tonumber(before) then
      redis.call('ZREM', KEYS[2], target)
    end
    if due == '' then
      redis.call('ZREM', KEYS[1], target)
      redis.call('ZADD', KEYS[3], ARGV[at + 5], target)
    else
      redis.call('ZREM', KEYS[3], target)
      redis.call('ZADD', KEYS[1], due, target)
    end
  end
end
return lost
