-- Note states in the hash of one user (see mine.lua), each unless the same or a newer one is there. Every tap comes
-- through here twice, and a script costs by the calls it makes: the fewest there can be, and no functions.
--
-- Keys: 1 `mine:{user}`; a single key, so it is always in one slot.
-- Arguments: 1 the least time to live after this, ms, and a hash is begun where there is none; '0': there it is left so,
--            and what there is ends when it would. 2 and on: target, state, target, state ...
-- Returns: how many fields the hash has, as far as there may be more than it is to have: 0 where none was added. The
--          caller bounds it.
-- Idempotent: calls in any order, and as often as they come, leave the newest state of each target.
local key, least, added = KEYS[1], ARGV[1], false
for i = 2, #ARGV, 2 do
    local known = redis.call('HGET', key, ARGV[i])
    if not known then
        if least == '0' and redis.call('EXISTS', key) == 0 then
            return 0
        end
        redis.call('HSET', key, ARGV[i], ARGV[i + 1])
        added = true
    elseif string.sub(known, 1, 16) < string.sub(ARGV[i + 1], 1, 16) then
        redis.call('HSET', key, ARGV[i], ARGV[i + 1])
    end
end
if least ~= '0' then
    local left = redis.call('PTTL', key)
    if left < tonumber(least) then
        redis.call('PEXPIRE', key, least)
    end
    if left < 0 then -- it was begun just now
        return #ARGV
    end
end
return added and redis.call('HLEN', key) or 0
