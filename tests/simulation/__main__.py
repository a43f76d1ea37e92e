"""Play many histories: `python -m tests.simulation FIRST_SEED COUNT`. Ends with 1 at the first that is wrong.

They are those of the committer, or with `lives` at the end those of targets that are deleted again and again.
"""

import logging
import sys
import time

from tests.simulation.lives import live
from tests.simulation.world import play

logging.disable()
first, count = (int(argument) for argument in sys.argv[1:3])
began_s = time.perf_counter()


def per_minute() -> str:
    """How fast it went."""
    return f"{count} histories, {count / (time.perf_counter() - began_s) * 60:.0f} a minute"


if sys.argv[3:] == ["lives"]:
    for seed in range(first, first + count):
        if wrong := live(seed):
            sys.exit("\n".join([f"seed {seed}:", *wrong]))
    sys.stdout.write(f"{per_minute()}\n")
    sys.exit()
taps = answered = refused = unknown = 0
for seed in range(first, first + count):
    report = play(seed)
    if report.wrong:
        sys.exit("\n".join([f"seed {seed}:", *report.wrong]))
    taps += report.taps
    answered += report.answered
    refused += report.refused
    unknown += report.unknown
sys.stdout.write(
    f"{per_minute()}; {taps} taps: {answered} acknowledged, {refused} refused, {unknown} unknown to the end\n"
)
