"""The embedded profile: kills, written to docs/faults.md. The same run is a test in tests/e2e/test_kill.py."""

import os
import platform
import tempfile
from pathlib import Path

from tests.e2e.test_kill import CLIENTS, KILLS, expected_of, kill_under_load, stored
from tests.support.audit import audit_file
from tests.support.told import OWNERS, kill_while_telling

DOCS = Path(__file__).parents[2] / "docs" / "faults.md"


async def main() -> None:
    """Run, check, and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        tally, clients, table = await kill_under_load(data, KILLS)
        there = stored(data)
        lost = sum(1 for key, reaction in expected_of(clients).items() if there.get(key) != reaction)
        audit_file(data / "plaudit.db")
    with tempfile.TemporaryDirectory() as folder:
        told = await kill_while_telling(Path(folder) / "data", KILLS)
    if tally.problems or lost:
        raise SystemExit("\n".join([*tally.problems, f"{lost} acknowledged taps are not there"]))
    DOCS.write_text(
        f"""# Faults

Written by `make faults`. {CLIENTS} clients toggle and set reactions, half of them on one target, each tap with a key of
its own; the server is killed with SIGKILL {KILLS} times and started again on the same file. A tap whose answer got lost
is repeated with its key. `acknowledged`: taps answered before the kill. `interrupted`: requests the kill left without
an answer. `stored`: of those, how many were on disk already, which the repeated key told. Afterwards every user's state
equals what was answered, the counts equal the rows, and no repeated key changed anything.

```
{chr(10).join(table)}
```

{tally.acknowledged:,} taps acknowledged in all, {lost} lost, {len(tally.problems)} counted twice or answered otherwise
on repetition.

## While owners are told

{OWNERS} owners with a target, a phone (FCM) and a webhook each, windows of one second, and reactions all the time; the
server is killed at a random moment of a window's life: gathering, closing, rendering, sending, writing that down.
`told before`, `pushed before`: messages the webhook receiver has, and pushes that were made. `pushed again`: pushes
that were made twice since the kill before. At the end every reaction of somebody else was told to its owner exactly
once, the inbox holds each message once, phone and receiver show each in one entry, and the test servers had nothing to
complain of.

```
{chr(10).join(told)}
```

The places of a kill are tried one by one, by the writes that come before and after it, in
tests/integration/sqlite/test_notify.py; outages, dead tokens, hostile tokens and hostile receivers in
tests/integration/push/.

{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python
{platform.python_version()}.
"""
    )
