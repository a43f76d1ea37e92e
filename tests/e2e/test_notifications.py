"""Notifications of a real server: killed while it tells, asked on the command line, and set up by half."""

import asyncio
import os
import subprocess
from pathlib import Path

import apsw
import pytest

from tests.support.audit import audit_file
from tests.support.provider import Answer
from tests.support.server import PLAUDIT
from tests.support.told import kill_while_telling, told

KILLS = 4


def plaudit(data: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command on this data."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT_")}
    return subprocess.run(
        [str(PLAUDIT), *arguments],
        cwd=data.parent,
        env={**inherited, "PLAUDIT_DATA": str(data), "COLUMNS": "200", **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.timeout(180)
async def test_killed_while_it_tells_nobody_is_forgotten_or_told_twice(tmp_path: Path) -> None:
    table = await kill_while_telling(tmp_path / "data", KILLS)
    print("\n".join(table))  # noqa: T201 - the table of kills, for whoever runs it with -s
    audit_file(tmp_path / "data" / "plaudit.db")


async def test_dead_letters_are_listed_and_sent_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with told(data) as all_:
        all_.webhook.always = Answer(410)
        await all_.tap("ann", "post:0")
        await all_.webhook.until(lambda: bool(all_.webhook.asked), "the first try")
        listed = ""
        async with asyncio.timeout(20):
            while "refused" not in listed:
                listed = (await asyncio.to_thread(plaudit, data, "notifications", "dead-letters")).stdout
        assert "webhook" in listed
        assert "owner0" in listed
        assert "post:0" in listed
        all_.webhook.always = None
        for arguments, code, said in (
            (("resend",), 2, "name the numbers, or --all"),
            (("resend", "1", "--all"), 2, "name the numbers, or --all"),
            (("resend", "999"), 1, "not among the dead letters"),
            (("resend", "--all"), 0, "1 will be sent again"),
        ):
            done = await asyncio.to_thread(plaudit, data, "notifications", *arguments)
            assert (done.returncode, said in done.stderr) == (code, True), done.stderr
        await all_.webhook.until(lambda: len(all_.webhook.seen) == 1, "it to be sent again")
        await all_.settled()
        assert all_.webhook.problems == []


TITLE = "a title that must not get out"


def rows(data: Path, table: str) -> list[str]:
    """What stands in a table of the file."""
    file = apsw.Connection(str(data / "plaudit.db"), flags=apsw.SQLITE_OPEN_READONLY)
    file.set_busy_timeout(5000)
    found = [repr(row) for row in file.execute(f"SELECT * FROM {table}")]
    file.close()
    return found


def tables_with(data: Path, text: str) -> list[str]:
    """The tables of the file in which this text stands anywhere."""
    names = [row.split("'")[3] for row in rows(data, "sqlite_master") if row.startswith("('table'")]
    return [name for name in names if any(text in row for row in rows(data, name))]


async def test_what_is_told_of_a_target_goes_with_it_also_where_providers_are_down(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with told(data) as all_:
        host, owner = all_.server.token(None, service=True), all_.server.token("owner0")
        await all_.call("PUT", "/api/v1/targets/secret", host, {"owner_id": "owner0", "title": TITLE})
        all_.webhook.always = all_.fcm.always = Answer(503)
        await all_.tap("ann", "secret")
        await all_.tap("ann", "post:0")
        await all_.webhook.until(lambda: len(all_.webhook.asked) >= 2, "the first tries")
        await all_.fcm.until(lambda: all_.fcm.count("/v1") >= 2, "the first tries")
        assert set(tables_with(data, TITLE)) >= {"notification", "target"}

        job = await all_.call("DELETE", "/api/v1/targets/secret", host)
        while job["state"] != "done":
            job = await all_.call("GET", f"/api/v1/jobs/{job['job_id']}", host)
        assert job["removed"] == {"rows": 1, "messages": 1}
        assert set(tables_with(data, TITLE)) <= {"event"}, "until it has been read by all"
        shown = await all_.call("GET", "/api/v1/me/notifications", owner)
        assert [found["target_id"] for found in shown["notifications"]] == ["post:0"]

        tried = len(all_.webhook.asked), all_.fcm.count("/v1")
        all_.webhook.always = all_.fcm.always = None
        del all_.reactors["secret"]
        await all_.settled()
        sent = [asked.body for asked in all_.webhook.asked[tried[0] :]]
        sent += [asked.body for asked in all_.fcm.asked if asked.path.startswith("/v1")][tried[1] :]
        assert len(sent) >= 2
        assert not any(TITLE.encode() in body for body in sent)
        async with asyncio.timeout(20):
            while rows(data, "delivery"):
                await asyncio.sleep(0.05)  # what was sent is settled in a moment, and nothing else is there


def test_there_are_none_without_data(tmp_path: Path) -> None:
    done = plaudit(tmp_path / "none", "notifications", "dead-letters")
    assert (done.returncode, "does not exist" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"WEBHOOK_URL": "https://a.example/x"}, "webhook_secrets: missing beside webhook_url"),
        ({"WEBHOOK_SECRETS": '["whsec_x"]'}, "webhook_url: missing beside webhook_secrets"),
        ({"WEBHOOK_URL": "gopher://x", "WEBHOOK_SECRETS": '["whsec_x"]'}, "webhook_url: is http(s)"),
        ({"WEBHOOK_URL": "https://a.example", "WEBHOOK_SECRETS": '["whsec_x"]'}, "webhook_secrets: a secret"),
        (
            {"APNS_KEY": "k.p8", "APNS_TOPIC": "x"},
            "apns_key_id, apns_team_id: missing beside apns_key, apns_topic",
        ),
        ({"VAPID_KEY": "k.pem"}, "vapid_subject: missing beside vapid_key"),
        ({"VAPID_KEY": "k.pem", "VAPID_SUBJECT": "me"}, "vapid_subject: is a mailto:"),
        ({"VAPID_KEY": "nowhere.pem", "VAPID_SUBJECT": "mailto:a@b.c"}, "vapid_key: "),
        ({"FCM_CREDENTIALS": "nowhere.json"}, "fcm_credentials: "),
        ({"FCM_CREDENTIALS": "empty.json"}, "fcm_credentials: this is no service account"),
        (
            {"APNS_KEY": "empty.json", "APNS_KEY_ID": "k", "APNS_TEAM_ID": "t", "APNS_TOPIC": "x"},
            "apns_key: this is no .p8 key",
        ),
        ({"PUSH_CA": "empty.json"}, "push_ca: "),
        ({"NOTIFICATION_TEXTS": "."}, "notification_texts: empty.json: CLDR knows no such language"),
        ({"NOTIFICATION_WINDOWS_S": "[0]"}, "notification_windows_s: a window has"),
    ],
)
def test_half_a_configuration_stops_with_its_name(tmp_path: Path, env: dict[str, str], said: str) -> None:
    (tmp_path / "empty.json").write_text("{}")
    settings = {f"PLAUDIT_{name}": value for name, value in env.items()}
    done = plaudit(tmp_path / "data", "serve", PLAUDIT_PORT="0", **settings)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
