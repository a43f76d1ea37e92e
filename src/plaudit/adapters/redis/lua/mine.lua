-- The hash of one user: what they did on some targets.
-- KEYS[1]  mine:{user}, the only key
-- ARGV     1: what to do, and then (states are noted by note.lua)
--   bound   2, 3: most fields, and how many states stay beyond that
--   begin   2: a new nonce; 3: now; 4: a time up to which states are in the list for certain; 5: TTL, ms
--           Returns the nonce of the key: the one it has, or the new one.
--   finish  2: the nonce; 3: until when; 4: since when silence means nothing; 5, 6: as 2, 3 of bound; 7 and on: states,
--           as target, state, target, state ...
--           Returns since when it does; false if the key is another one by now, and then nothing was changed.
--   drop    2: a time up to which states may be missing after this; 3 and on: fields to take out, unless the key has ended
--
-- Fields: a target -> state = 16 digits of updated_at and 2 digits of the reaction's code. Times are microseconds UTC in
-- 16 digits, so that text compares like the number. And, since no target begins with a star:
--   *nonce   names this incarnation of the key: whoever began with another one knows that states were lost since
--   *until   until then, by the callers' clocks, ...
--   *since   ... every reaction first given after this time is here; 0: every reaction
--   *pruned  states up to this time may have been taken out to bound the hash; it raises *since
-- Everything may be repeated, in any order: of two states of a target the newer one stays.

local key = KEYS[1]

local function merge(from)
    for i = from, #ARGV, 2 do
        local known = redis.call('HGET', key, ARGV[i])
        if not known or string.sub(known, 1, 16) < string.sub(ARGV[i + 1], 1, 16) then
            redis.call('HSET', key, ARGV[i], ARGV[i + 1])
        end
    end
end

-- Target and time of every state.
local function states()
    local all = redis.call('HGETALL', key)
    local found = {}
    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) ~= '*' then
            found[#found + 1] = { all[i], string.sub(all[i + 1], 1, 16) }
        end
    end
    return found
end

local function take_out(found, up_to)
    for i = 1, #found do
        if found[i][2] <= up_to then
            redis.call('HDEL', key, found[i][1])
        end
    end
end

-- More than `most` fields: all but the `keep` newest states go. No reaction was first given after its state became so:
-- silence still means nothing for those first given after the newest state that went.
local function bound(most, keep)
    if redis.call('HLEN', key) <= most then
        return
    end
    local found = states()
    if #found <= keep then
        return
    end
    table.sort(found, function(a, b) return a[2] > b[2] end)
    local up_to = found[keep + 1][2]
    take_out(found, up_to)
    local before = redis.call('HGET', key, '*pruned')
    if not before or before < up_to then
        redis.call('HSET', key, '*pruned', up_to)
    end
end

local act = {}

function act.bound()
    bound(tonumber(ARGV[2]), tonumber(ARGV[3]))
end

function act.begin()
    local till = redis.call('HGET', key, '*until')
    if not till or till <= ARGV[3] then
        -- What was loaded is not good any more. Old states go, so that an error in one ends with its hour.
        redis.call('HDEL', key, '*until', '*since')
        take_out(states(), ARGV[4])
        local pruned = redis.call('HGET', key, '*pruned')
        if pruned and pruned <= ARGV[4] then
            redis.call('HDEL', key, '*pruned')
        end
    end
    redis.call('HSETNX', key, '*nonce', ARGV[2])
    redis.call('PEXPIRE', key, ARGV[5])
    return redis.call('HGET', key, '*nonce')
end

function act.finish()
    if redis.call('HGET', key, '*nonce') ~= ARGV[2] then
        return false
    end
    merge(7)
    redis.call('HSET', key, '*until', ARGV[3], '*since', ARGV[4])
    bound(tonumber(ARGV[5]), tonumber(ARGV[6]))
    local pruned = redis.call('HGET', key, '*pruned')
    return pruned and pruned > ARGV[4] and pruned or ARGV[4]
end

function act.drop()
    if redis.call('EXISTS', key) == 1 then
        redis.call('HSET', key, '*pruned', ARGV[2])
        redis.call('HDEL', key, unpack(ARGV, 3))
    end
end

return act[ARGV[1]]()
