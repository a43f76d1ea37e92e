"""docs/cluster-faults.md: a line for each fault, and what it means."""

import os
import platform
from collections.abc import Sequence
from typing import NamedTuple

from tests.faults.in_hand import DONE_WITHIN_S, FANS, OWED, OWNED
from tests.faults.load import PER_S, TARGETS, USERS
from tests.faults.pushing import GROWS_MB
from tests.faults.table import Fault
from tests.faults.under import LONG

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
each, and notify is killed, from within, when a message about one of them is `claimed` (its window has ended, and is
this worker's), `rendered` (and nobody has it), `pushed` (its pushes are there, and it is in no inbox), `told` (it is in
the inbox, and the window is still open), `sent` (and nobody has written that down), or `acknowledged`. {owed} commits
have events that are owed, and one target a deletion that nobody has begun, and repair is killed when it has paid some.
Windows are open, too, when a master of Redis is killed, and while another notify joins and leaves.

Owners have a phone (FCM), another one (APNs) and a browser (Web Push) each, and messages go to the receiver of a
webhook: servers of the test's own, over TLS and HTTP/2, that check what they are sent. `a provider of pushes away`: FCM
answers 503, and then nobody listens there, for {provider_away_s:.0f} s in all; meanwhile owners with {phones} phones
each are told {messages:,} times. What notify grows by is looked at while the last {others:,} of these come, and may be
{grows_mb:.0f} MB. `tokens and receivers mean no good`: tokens that never were any, and that are none any more;
endpoints with keys that are none, in a private network, and of a push service that hangs, redirects into one, or
answers 100 MB; and a receiver that does the last three, or answers 100 MB and 500. The others are told while they hang;
nobody comes into the private network; what is no device any more goes, and what was refused is a dead letter.

Afterwards, within 60 s: every user's row is what the journal says, and every answer fits the one before; a repeated key
has changed nothing; headers equal rows, and so do the totals in Redis, the lists of reactors, the index of each user,
and the counts and own states that each API process answers; nothing is owed to the log any more; every process is
ready, and none has failed in a way that nobody foresaw; what repair had in hand is done. Owners were told of each
reaction once; the inbox holds each message once, every good device and the receiver show each in one entry and nothing
else, no push waits any more, and no provider had anything to complain of; this within {done_within_s:.0f} s,
as pushes of a message that never came into the inbox go after two minutes, and within 5 minutes where providers were
away. Where events were dropped an audit repairs first, and there was something to repair.

`acknowledged`, `refused`, `unknown`: answers to requests; nobody listening is a refusal. `lost`: acknowledged taps that
are not there. `doubled`: repetitions that changed something, or were counted. `unavailable for`: the longest time in
which taps on any one target were wanted, or any one API process that was there was asked, and none was acknowledged.
`healed after`: from the end of the load until all of this agrees.

```
{table}
```

{acknowledged:,} taps acknowledged in all, {lost} lost, {doubled} counted twice. {flushed}

Seed {seed} (`make faults ARGS="cluster --seed {seed}"`). {cores} cores, {machine}, Linux {kernel},
Python {python}. Every test run does the same in little, but for what goes wrong at providers:
tests/e2e/test_cluster_faults.py.
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
    notes: list[str]

    def line(self) -> str:
        """For the table, without what else there is to say."""
        healed = f"{self.healed_s:.1f} s" if not self.problems else "NO"
        return (
            f"{self.fault.name:<36}{self.acknowledged:>12,}{self.refused:>8}{self.unknown:>8}{self.lost:>6}"
            f"{self.doubled:>9}{self.gap_s:>15.1f} s{healed:>14}"
        )

    def lines(self) -> list[str]:
        """For the table."""
        return [self.line(), *(f"    {more}" for more in (*self.notes, *self.problems))]


HEAD = (
    f"{'fault':<36}{'acknowledged':>12}{'refused':>8}{'unknown':>8}{'lost':>6}{'doubled':>9}"
    f"{'unavailable for':>17}{'healed after':>14}"
)


def page(results: Sequence[Result], unflushed: Sequence[str], seed: str) -> str:
    """What `make faults` writes."""
    acknowledged = sum(result.acknowledged for result in results)
    table = [HEAD]
    for result in results:
        table += result.lines()
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
        provider_away_s=LONG.provider_away_s,
        phones=LONG.phones,
        messages=sum(LONG.lots),
        others=LONG.lots[1],
        done_within_s=DONE_WITHIN_S,
        grows_mb=GROWS_MB,
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
