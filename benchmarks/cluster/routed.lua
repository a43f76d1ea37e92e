-- Taps on one target over HTTP, each with a key and by the route that its user was told: PUTs that all switch.
-- Environment: TOKEN (scope service); TARGET; LANES, 0 for a target that is not split; ROUTED, 1 to send routes; USERS, how
-- many there are, by turns; START, how many taps of this kind were sent before; ROUND, what tells kinds apart.
local bit = require("bit")
local token, target = "Bearer " .. os.getenv("TOKEN"), os.getenv("TARGET")
local lanes, users = tonumber(os.getenv("LANES")), tonumber(os.getenv("USERS"))
local routed = os.getenv("ROUTED") == "1"
local tap, round = tonumber(os.getenv("START")), tonumber(os.getenv("ROUND"))
local reactions = { [0] = "like", "love", "haha", "wow", "sad", "angry" }
local threads = {}
local crc = {}

for byte = 0, 255 do
  local value = byte
  for _ = 1, 8 do
    value = bit.bxor(bit.rshift(value, 1), bit.band(value, 1) * bit.tobit(0xEDB88320))
  end
  crc[byte] = value
end

-- What earlier answers told these users: target/lane (plaudit.domain.lanes).
local function route(user)
  if lanes == 0 then return target end
  local value = bit.tobit(0xFFFFFFFF)
  for at = 1, #user do
    value = bit.bxor(bit.rshift(value, 8), crc[bit.band(bit.bxor(value, user:byte(at)), 255)])
  end
  value = bit.bnot(value)
  if value < 0 then value = value + 4294967296 end
  return target .. "/" .. 1 + value % lanes
end

function setup(thread) table.insert(threads, thread) end

function init() full, wrong = 0, 0 end

function request()
  local number = tap % users
  local user = string.format("u%09d", number)
  -- What is stored at first is reaction `number % 6` of these; every round goes one on.
  local reaction = reactions[(number + round + math.floor(tap / users)) % 6]
  local key = string.format("%d-%012d", round, tap)
  tap = tap + 1
  return wrk.format("PUT", "/api/v1/reactions", {
    ["Content-Type"] = "application/json",
    ["Authorization"] = token,
    ["Plaudit-User"] = user,
    ["Plaudit-Route"] = routed and route(user) or nil,
    ["Idempotency-Key"] = key,
  }, string.format('{"target_id":"%s","reaction_type":"%s"}', target, reaction))
end

function response(status)
  if status == 503 then
    full = full + 1
  elseif status ~= 200 then
    wrong = wrong + 1
  end
end

function done(summary, latency)
  local errors, full_, wrong_ = summary.errors, 0, 0
  for _, thread in ipairs(threads) do
    full_, wrong_ = full_ + thread:get("full"), wrong_ + thread:get("wrong")
  end
  io.write(string.format("\nRESULT %d %d %d %d %d %d %d\n", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.timeout, full_, wrong_,
    latency:percentile(50), latency:percentile(99)))
end
