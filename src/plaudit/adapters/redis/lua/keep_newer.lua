-- Keep the packed state of a target, unless the same or a newer one is kept.
--
-- Keys: 1 `reactions:{target}`; 2, where the state is of a target that is not split, `cells:{target}`: if that is there the
-- target was split since, which is for ever. Both are in one slot.
-- Arguments: 1 the packed state: format version (1 byte), seq (8 bytes, big-endian), the rest.
-- Returns: 1 kept, 0 refused.
-- Units: seq counts commits. Time to live: none, and the one of an entry that is replaced ends.
-- Idempotent: calls in any order, and as often as they come, leave the state with the highest seq.
--
-- Compared in halves of 32 bits: numbers are doubles here, exact to 2^53 only, and `<` on strings follows the locale of
-- the server.
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
local kept = redis.call('GETRANGE', KEYS[1], 1, 8)
if #kept == 8 then
  local high, low = struct.unpack('>I4I4', kept)
  local new_high, new_low = struct.unpack('>I4I4', ARGV[1], 2)
  if new_high < high or (new_high == high and new_low <= low) then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
