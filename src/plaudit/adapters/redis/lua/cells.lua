-- Keep the packed states of some cells of a split target, each unless the same or a newer one is kept, and tell all.
--
-- Keys: 1 `cells:{target}`, a hash; a single key, so it is always in one slot, which is that of `reactions:{target}`.
-- Arguments: 1 `1` if these are all cells that were ever written, else `0`; then pairs of bucket (decimal) and packed
-- state: format version (1 byte), seq (8 bytes, big-endian), the rest.
-- Returns: buckets and packed states in turn, if all cells are known to be in the hash; else nothing, and the ledger has to
-- be asked.
-- Units: seq counts commits of one cell. No time to live.
-- Idempotent: calls in any order, and as often as they come, leave the state with the highest seq of each cell; so of two
-- answers the one with the greater sum of them is the later one.
--
-- Compared in halves of 32 bits: numbers are doubles here, exact to 2^53 only.
local function newer(kept, new)
  if not kept then
    return true
  end
  local high, low = struct.unpack('>I4I4', kept, 2)
  local new_high, new_low = struct.unpack('>I4I4', new, 2)
  return new_high > high or (new_high == high and new_low > low)
end

for n = 2, #ARGV, 2 do
  if newer(redis.call('HGET', KEYS[1], ARGV[n]), ARGV[n + 1]) then
    redis.call('HSET', KEYS[1], ARGV[n], ARGV[n + 1])
  end
end
if ARGV[1] == '1' then
  redis.call('HSET', KEYS[1], 'whole', '1')
elseif redis.call('HEXISTS', KEYS[1], 'whole') == 0 then
  return {}
end
return redis.call('HGETALL', KEYS[1])
