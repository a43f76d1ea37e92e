-- Taps as a host app's proxy sends them: PUT with a key, 60 % new reactions, 25 % removals, 15 % switches.
-- Removals and switches are of reactions that are in the store. Environment: TOKEN (scope service), and common.lua's.
dofile(os.getenv("BENCHMARKS") .. "/common.lua")

local token = "Bearer " .. os.getenv("TOKEN")
local reactions = { "like", "love", "haha", "wow", "sad", "angry" }
local keys = tonumber(os.getenv("SEED")) * 1e9
local one = os.getenv("SPREAD") == "one" -- its ten stored reactions would not last: it takes back what it gave itself
local first, given = 5e8 + tonumber(os.getenv("SEED")) * 1e6, 0

function request()
  keys = keys + 1
  local dice, t, u, wish = math.random(), nil, nil, nil
  if dice < 0.60 or one and given == 0 then
    given = given + 1
    t, u = target(), first + given
    wish = '"' .. reactions[math.random(6)] .. '"'
  else
    t = target()
    if one then
      u = first + math.random(given)
    else
      t, u = stored(t + targets * math.random(0, math.floor(rows / targets) - 1))
    end
    wish = dice < 0.85 and "null" or '"' .. reactions[math.random(6)] .. '"'
  end
  local body = string.format('{"target_id":"p%09d","reaction_type":%s}', t, wish)
  return wrk.format("PUT", "/api/v1/reactions", {
    ["Content-Type"] = "application/json",
    ["Authorization"] = token,
    ["Plaudit-User"] = string.format("u%09d", u),
    ["Idempotency-Key"] = string.format("%015d", keys),
  }, body)
end
