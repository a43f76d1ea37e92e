-- Reads. Environment: CALL is `counts` (20 targets), `feed` (20 targets, one user) or `reactors` (a page of 20), TOKEN
-- (scope service), and common.lua's. With SPREAD `hot` the same 1,000 targets are read again and again.
dofile(os.getenv("BENCHMARKS") .. "/common.lua")

local call, token = os.getenv("CALL"), "Bearer " .. os.getenv("TOKEN")
local uniform = target
if os.getenv("SPREAD") == "hot" then
  function target() return math.floor(uniform() % 1000) end
end

local function twenty()
  local ids, seen = {}, {}
  while #ids < 20 do
    local t = target()
    if not seen[t] then
      seen[t] = true
      ids[#ids + 1] = string.format("p%09d", t)
    end
  end
  return table.concat(ids, ",")
end

function request()
  if call == "counts" then return wrk.format("GET", "/api/v1/reactions/counts?target_ids=" .. twenty()) end
  local headers = { ["Authorization"] = token, ["Plaudit-User"] = string.format("u%09d", math.random(0, targets)) }
  if call == "feed" then return wrk.format("GET", "/api/v1/reactions/feed?target_ids=" .. twenty(), headers) end
  return wrk.format("GET", string.format("/api/v1/reactions/p%09d/reactors", target()), headers)
end
