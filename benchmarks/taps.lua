-- wrk script: taps as clients send them. Environment:
--   TOKENS   file with one token per line; each request takes one at random (its user)
--   TARGETS  how many targets the taps are spread over, uniformly; 1 is one viral target
-- Each tap is a PUT with its own Idempotency-Key: three of four give a reaction, one takes it back (or finds none).
local tokens, targets, keys = {}, tonumber(os.getenv("TARGETS")), 0
local reactions = { '"like"', '"love"', '"haha"', '"wow"', '"sad"', '"angry"' }

function init()
  for line in io.lines(os.getenv("TOKENS")) do tokens[#tokens + 1] = "Bearer " .. line end
  math.randomseed(tonumber(os.getenv("SEED")))
  keys = math.random(1, 1e9) * 1000
end

function request()
  keys = keys + 1
  local reaction = math.random() < 0.75 and reactions[math.random(#reactions)] or "null"
  local body = string.format('{"target_id":"post:%d","reaction_type":%s}', math.random(targets), reaction)
  return wrk.format("PUT", "/api/v1/reactions", {
    ["Content-Type"] = "application/json",
    ["Authorization"] = tokens[math.random(#tokens)],
    ["Idempotency-Key"] = string.format("%015d", keys),
  }, body)
end


function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("\nRESULT %d %d %d %d %d %d\n", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status,
    latency:percentile(50), latency:percentile(99)))
end
