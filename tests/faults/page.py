"""docs/cluster-faults.md: a line for each fault, and what it means."""

import os
import platform
from collections.abc import Sequence
from typing import NamedTuple

from tests.faults.in_hand import FANS, OWED, OWNED
from tests.faults.load import PER_S, TARGETS, USERS
from tests.faults.table import LONG, Fault

TEXT = """# Faults of the cluster profile

Written by `make faults`. Three nodes each of Cassandra and Kafka and a Redis Cluster of three masters with a replica
each, on one machine; two API processes and a worker of each role, all of them real processes. {users} users set, toggle
and remove reactions on {targets} targets, half of the time on one and the same, {per_s:.0f} taps a second in all. Each
tap has a key and goes to either API process. What is refused is tried again up to twice, what is unknown is repeated
through the other process until it is known, and one in seven that were acknowledged is repeated all the same. Every
line of this is in a journal that is only appended to.

Under this load the fault happens: `killed` is SIGKILL and a start on the same data; a master of Redis comes back when a
replica has been promoted. `told to stop` is SIGTERM, and every request has an answer or a refusal. A node is `frozen`
with SIGSTOP for {frozen_s:.0f} s; Kafka is `away` when all brokers are killed, for {away_s:.0f} s and the time they
take to start; two consumers `join and leave` every {change_s:.0f} s. Events are distorted between the consumer and the
handler, by workers of the test's own; they are `replayed` to groups of their own until all that was there is handled.

The crowd gives the workers notify and repair nothing to do. So {owned} more targets have an owner and {fans} reactions
each, and notify is killed when it has told of some of them; {owed} commits have events that are owed, and one target a
deletion that nobody has begun, and repair is killed when it has paid some.

Afterwards, within 60 s: every user's row is what the journal says, and every answer fits the one before; a repeated key
has changed nothing; headers equal rows, and so do the totals in Redis, the lists of reactors, the index of each user,
and the counts and own states that each API process answers; nothing is owed to the log any more; every process is
ready, and none has failed in a way that nobody foresaw; owners were told of each reaction once, and what repair had in
hand is done. Where events were dropped an audit repairs first, and there was something to repair.

`acknowledged`, `refused`, `unknown`: answers to requests; nobody listening is a refusal. `lost`: acknowledged taps that
are not there. `doubled`: repetitions that changed something, or were counted. `unavailable for`: the longest time in
which taps on any one target were wanted, or any one API process that was there was asked, and none was acknowledged.
`healed after`: from the end of the load until all of this agrees.

```
{table}
```

{acknowledged:,} taps acknowledged in all, {lost} lost, {doubled} counted twice. {flushed}

Seed {seed} (`make faults ARGS="cluster --seed {seed}"`). {cores} cores, {machine}, Linux {kernel},
Python {python}. Every test run does the same in little: tests/e2e/test_cluster_faults.py.
"""


class Result(NamedTuple):
    """What a fault did. `problems`: everything that should not be."""

    fault: Fault
    acknowledged: int
    refused: int
    unknown: int
    lost: int
    doubled: int
    gap_s: float
    healed_s: float
    problems: list[str]

    def line(self) -> str:
        """For the table."""
        healed = f"{self.healed_s:.1f} s" if not self.problems else "NO"
        return (
            f"{self.fault.name:<36}{self.acknowledged:>12,}{self.refused:>8}{self.unknown:>8}{self.lost:>6}"
            f"{self.doubled:>9}{self.gap_s:>15.1f} s{healed:>14}"
        )


HEAD = (
    f"{'fault':<36}{'acknowledged':>12}{'refused':>8}{'unknown':>8}{'lost':>6}{'doubled':>9}"
    f"{'unavailable for':>17}{'healed after':>14}"
)


def page(results: Sequence[Result], unflushed: Sequence[str], seed: str) -> str:
    """What `make faults` writes."""
    acknowledged = sum(result.acknowledged for result in results)
    table = [HEAD]
    for result in results:
        table += [result.line(), *(f"    {problem}" for problem in result.problems)]
    flushed = "Afterwards the flusher was stopped, and\nthe totals that it had written for every target "
    flushed += "\n".join(["did not equal the ledger:", *unflushed]) if unflushed else "equalled the ledger."
    return TEXT.format(
        users=USERS,
        targets=TARGETS,
        per_s=PER_S,
        frozen_s=LONG.freeze_s,
        away_s=LONG.away_s,
        change_s=LONG.change_every_s,
        owned=OWNED,
        fans=FANS,
        owed=OWED,
        table="\n".join(table),
        flushed=flushed,
        acknowledged=acknowledged,
        lost=sum(result.lost for result in results),
        doubled=sum(result.doubled for result in results),
        seed=seed,
        cores=os.cpu_count(),
        machine=platform.machine(),
        kernel=platform.release(),
        python=platform.python_version(),
    )
