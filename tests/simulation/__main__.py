"""Play many histories: `python -m tests.simulation FIRST_SEED COUNT`. Ends with 1 at the first that is wrong."""

import logging
import sys
import time

from tests.simulation.world import play

logging.disable()
first, count = (int(argument) for argument in sys.argv[1:3])
began_s = time.perf_counter()
taps = answered = refused = unknown = 0
for seed in range(first, first + count):
    report = play(seed)
    if report.wrong:
        sys.exit("\n".join([f"seed {seed}:", *report.wrong]))
    taps += report.taps
    answered += report.answered
    refused += report.refused
    unknown += report.unknown
per_minute = count / (time.perf_counter() - began_s) * 60
sys.stdout.write(
    f"{count} histories, {per_minute:.0f} a minute; {taps} taps: {answered} acknowledged, {refused} refused, "
    f"{unknown} unknown to the end\n"
)
