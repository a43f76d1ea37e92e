"""Whole installations from a file of the embedded profile into the cluster and back."""

import asyncio
import os
import random
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from plaudit import bootstrap
from plaudit.adapters.cassandra import CassandraIndex, Session
from plaudit.adapters.files import LineFile, new_file
from plaudit.adapters.redis import RedisTotals
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import cassandra_config
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Transition
from plaudit.domain.events import Committed
from plaudit.domain.transfer import MAX_LINE_BYTES, Parser
from plaudit.services.transfer import Export, Import
from plaudit.settings import Settings
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis
from tests.support.audit import audit_file
from tests.support.cassandra import cassandra_stores
from tests.support.channels import SECRET
from tests.support.clock import START_US, ManualClock
from tests.support.cluster import environment, processes
from tests.support.cluster import settings_of as cluster_settings
from tests.support.installation import content, live
from tests.support.redis import emptied
from tests.support.redis import open_session as open_redis
from tests.support.server import PLAUDIT, ServerProcess
from tests.support.stores import sqlite_stores

pytestmark = pytest.mark.timeout(300)

REFUSED = 'plaudit_pushes_total{reason="refused"}'


def ignore(*_: object) -> None:
    pass


def settings_of(folder: Path) -> Settings:
    return Settings(data=folder, auth_secret="a secret that is only good enough for tests")


async def test_embedded_to_cluster_to_embedded_is_the_identity(tmp_path: Path, cassandra: Cassandra) -> None:
    clock, catalogue = ManualClock(), Catalogue()
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await live(stores, clock, random.Random(7))
        await bootstrap.export_file(
            settings_of(tmp_path / "a"), tmp_path / "a.jsonl", "jsonl", force=False, look=ignore
        )
    async with cassandra_stores(cassandra, clock) as stores:
        for expected in (set(), {"already_there"}):
            parser = Parser(catalogue, START_US + 10**15)
            work = Import(stores.intake, parser, catalogue, file_format="jsonl")
            with LineFile(tmp_path / "a.jsonl", MAX_LINE_BYTES) as lines:
                report = await work.run(lines, ignore)
            assert (report.refused.total(), set(report.tally.skipped)) == (0, expected)
        with new_file(tmp_path / "c.jsonl", force=False) as write:
            await Export(stores.source, catalogue, file_format="jsonl").run(write, ignore)
    report = await bootstrap.import_file(
        settings_of(tmp_path / "b"), tmp_path / "c.jsonl", "jsonl", reject=ignore, look=ignore
    )
    assert (report.refused.total(), report.tally.skipped.total()) == (0, 0)
    audit_file(tmp_path / "b" / "plaudit.db")
    assert content(tmp_path / "b") == content(tmp_path / "a")
    first, last = ((tmp_path / name).read_bytes().splitlines() for name in ("a.jsonl", "c.jsonl"))
    assert sorted(first) == sorted(last)


def plaudit(folder: Path, env: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT_")}
    return subprocess.run(
        [str(PLAUDIT), *arguments],
        cwd=folder,
        env={**inherited, "COLUMNS": "200", **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_one_process_serves_all_and_the_commands_move_and_mend_what_it_serves(
    tmp_path: Path, cassandra: Cassandra, kafka: Kafka, redis: Redis
) -> None:
    # Nobody is sent anything: an address that is private is refused, and the push a dead letter.
    channel = {"webhook_url": "http://127.0.0.1:9", "webhook_secrets": [SECRET]}
    settings = cluster_settings(cassandra, kafka, redis) | {"notification_windows_s": [1], **channel}
    env = environment(settings)
    target = f"{settings['cassandra_keyspace']}-moved"
    lines = [
        '{"kind":"user","user_id":"mover0","name":"Ann"}',
        '{"kind":"target","target_id":"%s","target_type":"post","version":7,"registered":true,"owner_id":"o"}',
        *('{"target_id":"%s","user_id":"mover' + str(n) + '","reaction":"love","created_at":"2026-05-01T12:30:'
          + f'{n % 60:02}Z","target_type":"post"' + "}" for n in range(150)),
    ]  # fmt: skip
    (tmp_path / "in.jsonl").write_text("".join(line.replace("%s", target) + "\n" for line in lines))
    with (
        processes(tmp_path, settings, workers=(), everything=True) as ([api], _),
        httpx.Client(base_url=api.url, timeout=60) as client,
    ):
        looked = plaudit(tmp_path, env, "import", "in.jsonl", "--dry-run")
        assert "150  reactions would be taken in" in looked.stderr, looked.stderr
        tap = {"target_id": target, "reaction_type": "wow"}
        bearer = {"Authorization": f"Bearer {api.token('mover1')}"}
        assert client.put("/api/v1/reactions", headers=bearer, json=tap).status_code == 200
        owner, muted = {"Authorization": f"Bearer {api.token('o')}"}, {"enabled": False}
        assert client.put("/api/v1/me/notification-settings", headers=owner, json=muted).status_code == 200
        taken = plaudit(tmp_path, env, "import", "in.jsonl")
        assert taken.returncode == 0, taken.stderr
        assert "149  reactions taken in" in taken.stderr
        assert "1  left out: a newer state is there, and stays" in taken.stderr
        deadline = time.monotonic() + 60
        while True:
            counts = client.get(f"/api/v1/reactions/counts?target_ids={target}").json()["counts"][target]
            page = client.get(f"/api/v1/reactions/{target}/reactors?limit=100").json()
            if (counts["total"], counts["reactions"]["love"], len(page["reactors"])) == (150, 149, 100):
                break
            assert time.monotonic() < deadline, (counts, page["total"])
            time.sleep(0.1)
        assert counts["version"] == 7
        written = plaudit(tmp_path, env, "export", "-")
        assert "152 records written" in written.stderr, written.stderr
        changed = set(written.stdout.splitlines()) ^ set((tmp_path / "in.jsonl").read_text().splitlines())
        assert len(changed) == 2
        assert all("mover1" in line for line in changed)
        assert plaudit(tmp_path, env, "split", target).returncode == 0
        assert client.put("/api/v1/reactions", headers=bearer, json=tap).json()["outcome"] == "unchanged"
        again = plaudit(tmp_path, env, "import", "in.jsonl")
        assert again.returncode == 0, again.stderr
        split = plaudit(tmp_path, env, "export", "-")
        lines_of = [
            set(each.stdout.replace('"version":8', '"version":7').splitlines()) for each in (written, split)
        ]
        assert lines_of[0] == lines_of[1], split.stderr
        for command in (["backup", "b"], ["restore", "b"]):
            refused = plaudit(tmp_path, env, *command)
            assert refused.returncode == 3
            assert "plaudit rebuild" in refused.stderr
        told = f"{target}-told"
        taps(api, client, told)
        stray = f"index: target {told}: user ghost: an entry without a reaction"
        asyncio.run(strays(Settings(**settings), told))
        mended = plaudit(tmp_path, env, "audit", "--all", "--repair")
        assert mended.returncode == 0, mended.stderr
        # The process has an auditor of its own, which may be there first.
        assert stray in mended.stdout + api.log
        reaches_everybody(api, client, told)
        letters_are_listed_and_resent(tmp_path, env, client, told)
    asyncio.run(strays(Settings(**settings), told))
    mended = plaudit(tmp_path, env, "audit", "--all", "--repair")
    assert (mended.returncode, mended.stdout) == (0, f"{stray}\n"), mended.stderr
    asyncio.run(strays(Settings(**settings), told))
    rebuilt = plaudit(tmp_path, env, "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "151 reactions filled in" in rebuilt.stderr
    emptied(redis)
    warmed = plaudit(tmp_path, env, "warm", "--all")
    assert "2 targets brought, 0 were there; 2 looked at" in warmed.stderr
    assert asyncio.run(in_redis(redis, target, told)) == {target: 150, told: 1}
    audited = plaudit(tmp_path, env, "audit", "--all")
    assert (audited.returncode, audited.stdout) == (0, ""), audited.stderr
    assert " 0 disagreements" in audited.stderr


def taps(api: ServerProcess, client: httpx.Client, target: str) -> None:
    """Register a target, and react to it."""
    for path, token, body in (
        (f"targets/{target}", api.token(None, service=True), {"owner_id": f"{target}-owner"}),
        ("reactions", api.token("mover1"), {"target_id": target, "reaction_type": "love"}),
    ):
        answer = client.put(f"/api/v1/{path}", headers={"Authorization": f"Bearer {token}"}, json=body)
        assert answer.status_code == 200, answer.text


def reaches_everybody(api: ServerProcess, client: httpx.Client, target: str) -> None:
    """The one tap on it is counted and listed, and its owner is told."""
    owner = {"Authorization": f"Bearer {api.token(f'{target}-owner')}"}
    deadline = time.monotonic() + 60
    while True:
        counts = client.get(f"/api/v1/reactions/counts?target_ids={target}").json()["counts"][target]
        listed = client.get(f"/api/v1/reactions/{target}/reactors").json()["reactors"]
        inbox = client.get("/api/v1/me/notifications", headers=owner).json()["notifications"]
        found = (
            {name: n for name, n in counts["reactions"].items() if n},
            [(entry["user"]["id"], entry["reaction"]) for entry in listed],
            [(message["target_id"], message["total"]) for message in inbox],
        )
        if found == ({"love": 1}, [("mover1", "love")], [(target, 1)]):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def letters_are_listed_and_resent(
    folder: Path, env: Mapping[str, str], client: httpx.Client, target: str
) -> None:
    """The one push there was is a dead letter; it is tried again where it is asked for, alone or with all others."""
    for tries, all_of_them in ((1, False), (2, True)):
        until_shown(client, {REFUSED: tries, "plaudit_dead_letters": 1})
        number, _, _, *words = letter(folder, env)
        assert words == ["webhook", f"{target}-owner", target, "refused", "1"]
        which = ["--all"] if all_of_them else [number, "1"]
        resent = plaudit(folder, env, "notifications", "resend", *which)
        assert "1 will be sent again" in resent.stderr, resent.stderr
        assert resent.returncode == (0 if all_of_them else 1), "nobody knows the other"
    until_shown(client, {REFUSED: 3, "plaudit_dead_letters": 1})


def letter(folder: Path, env: Mapping[str, str]) -> list[str]:
    """The one dead letter, once it is listed: a try is counted before what comes of it is stored."""
    deadline = time.monotonic() + 60
    while True:
        listed = plaudit(folder, env, "notifications", "dead-letters")
        assert listed.returncode == 0, listed.stderr
        if letters := listed.stdout.splitlines()[1:]:
            [line] = letters
            return line.split()
        assert time.monotonic() < deadline


def until_shown(client: httpx.Client, wanted: Mapping[str, float]) -> None:
    """Once the metrics have these values."""
    deadline = time.monotonic() + 60
    while True:
        lines = [line.rpartition(" ") for line in client.get("/metrics").text.splitlines()]
        found = {name: float(value) for name, _, value in lines if name in wanted}
        if found == wanted:
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


async def in_redis(redis: Redis, *targets: str) -> dict[str, int]:
    """How many reactions to each of these are kept there."""
    async with open_redis(redis) as session:
        kept = await RedisTotals(session).get(targets)
    return {target: sum(state.header.counts) for target, state in kept.items() if state.header is not None}


async def strays(settings: Settings, target: str) -> None:
    """An entry of an hour ago in both lists that the ledger knows nothing of."""
    at = SystemClock().now_us() - 3_600_000_000
    never = Committed(target, 0, "post", 1, "tap", 1, (1,), 1, at, (), (Transition("ghost", 0, 1, at, at),))
    async with Session(cassandra_config(settings)) as session, CassandraIndex(session) as index:
        await index.apply([never])
