-- What the wrk scripts share: the random choices, and the one line that benchmarks/load.py reads.
-- Environment: SEED; ROWS and TARGETS of the pre-filled store (benchmarks/fill.py); SPREAD is how targets are chosen:
-- `uniform`, `zipf` (s = 1.0) or `one`.

targets, rows = tonumber(os.getenv("TARGETS")), tonumber(os.getenv("ROWS"))
local spread = os.getenv("SPREAD")

function target()
  if spread == "one" then return 0 end
  if spread == "zipf" then return math.floor(targets ^ math.random()) - 1 end -- P(k) ~ 1/k
  return math.random(0, targets - 1)
end

-- The i-th reaction of the store, as benchmarks/fill.py wrote it: target number and user number.
function stored(i)
  local t, j = i % targets, math.floor(i / targets)
  return t, (t * 13 + j * 7) % (targets + rows / targets * 7)
end

function init() math.randomseed(tonumber(os.getenv("SEED"))) end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("\nRESULT %d %d %d %d %d %d\n", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status,
    latency:percentile(50), latency:percentile(99)))
end
