-- The taps of benchmarks/cluster/mix.py over HTTP, as a host app's proxy sends them: PUT with a key.
-- Environment: TOKEN (scope service); SPREAD `uniform` or `one`; PHASE; TARGET, which viral one; START, how many taps of the
-- phase were sent before; USED, how many reactions of the viral one were used before; TARGETS, PER_TARGET, VIRAL_ROWS;
-- RATE, how many are sent a second (0: as many as are answered).
local token = "Bearer " .. os.getenv("TOKEN")
local one, phase = os.getenv("SPREAD") == "one", tonumber(os.getenv("PHASE"))
local targets, per_target = tonumber(os.getenv("TARGETS")), tonumber(os.getenv("PER_TARGET"))
local viral_rows, viral = tonumber(os.getenv("VIRAL_ROWS")), string.format("v%09d", tonumber(os.getenv("TARGET")))
local reactions = { [0] = "null", '"like"', '"love"', '"haha"', '"wow"', '"sad"', '"angry"' }
local tap = tonumber(os.getenv("START"))
local used = tonumber(os.getenv("USED"))
local rate = tonumber(os.getenv("RATE") or "0")

function init() math.randomseed(phase * 1000 + tap % 1000) end

if rate > 0 then
  local ffi = require("ffi")
  ffi.cdef("typedef struct { long s, ns; } plaudit_time; int clock_gettime(int, plaudit_time *);")
  local time, started, given = ffi.new("plaudit_time"), nil, 0
  -- A connection that is free takes the next moment at which a tap is due: while some are free, the rate does not depend
  -- on how long the answers take.
  function delay()
    ffi.C.clock_gettime(1, time)
    local now = tonumber(time.s) + tonumber(time.ns) / 1e9
    started = started or now
    given = given + 1
    return math.max(0, math.floor((started + given / rate - now) * 1000))
  end
end

function request()
  local target, user, reaction
  if one then
    target, user, reaction = viral, used % viral_rows, 1 + used % viral_rows % 6
  else
    local t, j = (tap + phase * 7000) * 38197 % targets, phase
    target, user, reaction = string.format("p%09d", t), (t * 13 + j * 7919) % 1000000, 1 + (t + j) % 6
  end
  local dice = math.random()
  if dice < 0.60 then
    user, reaction = (phase + 1) * 5000000 + tap, math.random(6)
  else
    used = used + 1
    reaction = dice < 0.85 and 0 or reaction % 6 + 1
  end
  local body = string.format('{"target_id":"%s","reaction_type":%s}', target, reactions[reaction])
  local key = string.format("%d-%012d", phase, tap)
  tap = tap + 1
  return wrk.format("PUT", "/api/v1/reactions", {
    ["Content-Type"] = "application/json",
    ["Authorization"] = token,
    ["Plaudit-User"] = string.format("u%09d", user),
    ["Idempotency-Key"] = key,
  }, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("\nRESULT %d %d %d %d %d %d\n", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status,
    latency:percentile(50), latency:percentile(99)))
end
