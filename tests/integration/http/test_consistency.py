"""Whatever a user asks, the answers agree: with a model, with each other, and with what was answered before."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from plaudit.adapters.sqlite import SqliteLists
from tests.support.api import (
    COUNTS,
    FEED,
    ME,
    MINE,
    REACTIONS,
    SIX,
    Api,
    Json,
    counts_of,
    fresh,
    open_api,
)
from tests.support.audit import audit_file

T = TypeVar("T")

USERS = ["ann", "bob", "cid", "dan", "eve", "fay", "gus"]


class Model:
    """What the taps answered so far add up to."""

    def __init__(self) -> None:
        self.reactions: dict[tuple[str, str], str] = {}
        self.order: list[tuple[str, str]] = []  # first reactions, oldest first

    def tap(self, user: str, target: str, method: str, asked: str | None) -> tuple[str | None, str | None]:
        """Previous and new reaction."""
        before = self.reactions.pop((target, user), None)
        after = None if method == "POST" and asked == before else asked
        if after is not None:
            self.reactions[target, user] = after
            if (target, user) not in self.order:
                self.order.append((target, user))
        return before, after

    def counts(self, target: str) -> Counter[str]:
        return Counter(reaction for (where, _), reaction in self.reactions.items() if where == target)

    def reactors(self, target: str) -> list[tuple[str, str]]:
        """User and reaction, newest first."""
        return [
            (user, self.reactions[where, user])
            for where, user in reversed(self.order)
            if where == target and (where, user) in self.reactions
        ]

    def reacted(self, user: str) -> list[tuple[str, str]]:
        """Target and reaction, newest first."""
        return [
            (where, self.reactions[where, who])
            for where, who in reversed(self.order)
            if who == user and (where, who) in self.reactions
        ]


async def check(api: Api, model: Model, targets: list[str]) -> None:
    """Every read says what the model says."""
    ids = ",".join(targets)
    public = await api.get(f"{COUNTS}?target_ids={ids}")
    for target, counts in public["counts"].items():
        assert counts == counts_of(counts["version"], **model.counts(target))
        page = await api.get(f"{REACTIONS}/{target}/reactors?limit=100")
        listed = [(line["user"]["id"], line["reaction"]) for line in page["reactors"]]
        assert listed == model.reactors(target)
        assert page["total"] == counts["total"]
        for kind in SIX:
            some = await api.get(f"{REACTIONS}/{target}/reactors?type={kind}&limit=100")
            assert [line["user"]["id"] for line in some["reactors"]] == [u for u, r in listed if r == kind]
            assert some["total"] == counts["reactions"][kind]
    for user in USERS:
        feed = await api.get(f"{FEED}?target_ids={ids}", user=user)
        assert {t: item["counts"] for t, item in feed["targets"].items()} == public["counts"]
        own = {target: model.reactions.get((target, user)) for target in targets}
        assert {t: item["reaction"] for t, item in feed["targets"].items()} == own
        assert (await api.get(f"{MINE}?target_ids={ids}", user=user))["reactions"] == own
        page = await api.get(f"{ME}?limit=100", user=user)
        assert [(line["target_id"], line["reaction"]) for line in page["reactions"]] == model.reacted(user)
        one = await api.get(f"{REACTIONS}/{targets[0]}", user=user)
        assert one == {"target_id": targets[0], **feed["targets"][targets[0]], "degraded": False}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("near_cache_entries", [100, 50_000])
async def test_every_read_agrees_with_a_model(tmp_path: Path, seed: int, near_cache_entries: int) -> None:
    chance = random.Random(seed)
    async with open_api(tmp_path, near_cache_entries=near_cache_entries) as api:
        model, targets = Model(), [f"t{number}" for number in range(5)]
        for number in range(1, 181):
            user, target = chance.choice(USERS), chance.choice(targets)
            method = chance.choice(["POST", "POST", "PUT"])
            asked = chance.choice([*SIX, None] if method == "PUT" else SIX)
            answer = await api.tap(user, target, asked, method=method)
            previous, after = model.tap(user, target, method, asked)
            assert (answer["previous"], answer["reaction"]) == (previous, after)
            assert answer["counts"] == counts_of(answer["counts"]["version"], **model.counts(target))
            if number % 60 == 0:
                await check(api, model, targets)
        audit_file(tmp_path / "plaudit.db")
    async with open_api(tmp_path) as api:
        await check(api, model, targets)


def late(read: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """The same read, whose result is some milliseconds old when it is handed over."""

    async def targets(lists: SqliteLists, ids: Sequence[str]) -> T:
        result = await read(lists, ids)
        await asyncio.sleep(0.005)
        return result

    return targets


def contains(counts: Json, reaction: str | None) -> bool:
    """Whether these counts can contain one's own reaction."""
    return reaction is None or counts["reactions"][reaction] > 0


async def test_a_tap_is_in_the_counts_it_answers_and_in_all_later_ones(tmp_path: Path) -> None:
    async with open_api(tmp_path) as api:
        targets = [fresh("t") for _ in range(3)]

        async def use(number: int) -> None:
            chance, user, seen = random.Random(number), f"u{number}", dict.fromkeys(targets, 0)
            headers = api.bearer(user)
            for _ in range(12):
                target, asked = chance.choice(targets), chance.choice(SIX)
                body = {"target_id": target, "reaction_type": asked}
                method = chance.choice(["POST", "PUT"])
                answer = (await api.call(method, REACTIONS, headers=headers, json=body)).json()
                assert contains(answer["counts"], answer["reaction"])
                assert answer["counts"]["version"] >= seen[target]
                seen[target] = answer["counts"]["version"]
                feed = (await api.call("GET", f"{FEED}?target_ids={target}", headers=headers)).json()
                item = feed["targets"][target]
                assert item["reaction"] == answer["reaction"]
                assert item["counts"]["version"] >= seen[target]
                assert contains(item["counts"], item["reaction"])

        await asyncio.gather(*(use(number) for number in range(20)))
        audit_file(tmp_path / "plaudit.db")
        for target in targets:
            total = (await api.counts(target))["total"]
            assert total == (await api.get(f"{REACTIONS}/{target}/reactors"))["total"]
            assert total == len((await api.get(f"{REACTIONS}/{target}/reactors?limit=100"))["reactors"])


@pytest.mark.parametrize("slow", [False, True], ids=["quick reads", "reads overtaken by commits"])
@pytest.mark.parametrize("query", ["target_ids={ids}", "target_ids={ids}&_=1"], ids=["fast", "parsed"])
async def test_no_reader_ever_sees_a_version_go_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, slow: bool
) -> None:
    """With fewer places in the near cache than targets, so that states are evicted and read again."""
    if slow:
        monkeypatch.setattr(SqliteLists, "targets", late(SqliteLists.targets))
    async with open_api(tmp_path, near_cache_entries=100) as api:
        targets = [f"t{number}" for number in range(4)]
        answered = dict.fromkeys(targets, 0)
        reads = [0, 0, 0]
        going = True

        async def write(number: int) -> None:
            headers = api.bearer(f"u{number}")
            turn = 0
            # Until everybody has read meanwhile; a reader that found a fault has ended.
            while turn < 25 or (min(reads) < 4 and not any(reader.done() for reader in readers)):
                turn += 1
                target = targets[(number + turn) % len(targets)]
                body = {"target_id": target, "reaction_type": "like"}
                answer = (await api.call("POST", REACTIONS, headers=headers, json=body)).json()
                answered[target] = max(answered[target], answer["counts"]["version"])

        async def evict() -> None:
            number = 0
            while going:
                ids = ",".join(f"x{number + offset}" for offset in range(100))
                await api.call("GET", f"{COUNTS}?target_ids={ids}")
                number += 100

        async def read(reader: int) -> None:
            seen = dict.fromkeys(targets, 0)
            while going:
                before = dict(answered)
                url = f"{COUNTS}?{query.format(ids=','.join(targets))}"
                for target, counts in (await api.call("GET", url)).json()["counts"].items():
                    assert counts["version"] >= max(before[target], seen[target])
                    seen[target] = counts["version"]
                reads[reader] += 1
                await asyncio.sleep(0)

        readers = [asyncio.create_task(read(reader)) for reader in range(len(reads))]
        evictor = asyncio.create_task(evict())
        await asyncio.gather(*(write(number) for number in range(6)))
        going = False
        await evictor
        await asyncio.gather(*readers)


async def test_what_the_host_app_says_is_seen_by_the_next_read(tmp_path: Path) -> None:
    async with open_api(tmp_path) as api:
        url = f"{COUNTS}?target_ids=t"
        await api.tap("ann", "t")
        seen = (await api.call("GET", url)).headers["etag"]
        for allowed in (["like"], ["like", "wow"], None):
            await api.register("t", allowed=allowed, closed=True)
            answer = await api.call("GET", url, headers={"If-None-Match": seen})
            assert answer.headers["etag"] != seen
            seen = answer.headers["etag"]
            assert list(answer.json()["counts"]["t"]["reactions"]) == list(allowed or SIX)
        await api.remove("/api/v1/users/ann")
        assert (await api.counts("t"))["total"] == 0
        await api.register("t", closed=False)
        await api.tap("bob", "t")
        await api.remove("/api/v1/targets/t")
        assert (await api.counts("t"))["total"] == 0


async def test_taps_sent_at_once_with_one_key_are_one_tap(api: Api, target: str, user: str) -> None:
    headers = api.bearer(user) | {"Idempotency-Key": "the-same"}
    body = {"target_id": target, "reaction_type": "like"}
    answers = await asyncio.gather(
        *(api.call("POST", REACTIONS, headers=headers, json=body) for _ in range(30))
    )
    assert [answer.json()["outcome"] for answer in answers] == ["created"] * 30
    assert sorted("idempotency-replayed" in answer.headers for answer in answers) == [False] + [True] * 29
    assert await api.counts(target) == counts_of(1, like=1)


async def test_toggles_sent_at_once_end_where_their_number_says(api: Api, target: str, user: str) -> None:
    headers = api.bearer(user)
    body = {"target_id": target, "reaction_type": "like"}
    for number, total in [(30, 0), (31, 1)]:
        await asyncio.gather(
            *(api.call("POST", REACTIONS, headers=headers, json=body) for _ in range(number))
        )
        assert (await api.counts(target))["total"] == total
