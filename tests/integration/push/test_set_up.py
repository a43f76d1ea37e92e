"""Senders as the settings name them: each address goes to the sender it is for."""

from pathlib import Path

from plaudit.adapters.push import PushClient
from plaudit.bootstrap.notifications import make_senders
from plaudit.ports.push import Push
from plaudit.settings import Settings
from tests.support.clock import ManualClock
from tests.support.provider import Certificates, served
from tests.support.providers import ApnsServer
from tests.support.pushes import push

TOKENS = {"production": "aa" * 32, "sandbox": "bb" * 32}


def to(environment: str) -> Push:
    return push("apns", TOKENS[environment], {"environment": environment})


async def test_pushes_of_each_environment_go_to_its_own_address(
    client: PushClient, clock: ManualClock, certificates: Certificates, tmp_path: Path
) -> None:
    servers = {name: ApnsServer(clock) for name in TOKENS}
    key = tmp_path / "key.p8"
    key.write_text(servers["production"].pem())
    async with served(servers["production"], certificates), served(servers["sandbox"], certificates):
        settings = Settings(
            apns_key=key,
            apns_key_id=ApnsServer.KEY,
            apns_team_id=ApnsServer.TEAM,
            apns_topic=ApnsServer.TOPIC,
            apns_url=servers["production"].url,
            apns_sandbox_url=servers["sandbox"].url,
        )
        [sender] = make_senders(settings, client, clock)
        for name in TOKENS:
            await sender.send(to(name))
    for name, token in TOKENS.items():
        assert [asked.path for asked in servers[name].asked] == [f"/3/device/{token}"]


def test_the_log_is_a_channel_where_it_is_set(client: PushClient, clock: ManualClock) -> None:
    assert make_senders(Settings(), client, clock) == []
    [sender] = make_senders(Settings(push_console=True), client, clock)
    assert sender.channel == "console"
