-- Claim targets of a shard whose windows have ended, those that are still due and free.
--
-- Keys: 1 due times, 2 claims, 3 and on: the watches. All have the tag of one shard in braces: one slot.
-- Arguments: 1 until when they ended, 2 now, 3 when the claim ends, 4 and on: the targets, in the order of the watches.
-- Returns: the targets that are the caller's now and their watches: target, watch, target, watch, ...
-- Units: microseconds UTC, below 2^53, so that doubles are exact.
-- Not idempotent: what an answer that was lost has claimed is free again when the claim ends.
local mine = {}
for n = 4, #ARGV do
  local due, claim = redis.call('ZSCORE', KEYS[1], ARGV[n]), redis.call('ZSCORE', KEYS[2], ARGV[n])
  if due and tonumber(due) <= tonumber(ARGV[1]) and not (claim and tonumber(claim) > tonumber(ARGV[2])) then
    redis.call('ZADD', KEYS[2], ARGV[3], ARGV[n])
    mine[#mine + 1] = ARGV[n]
    mine[#mine + 1] = redis.call('GET', KEYS[n - 1])
  end
end
return mine
