"""All channels of pushes: their providers, and the settings of a service that pushes over them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from plaudit.adapters.system import SystemClock
from tests.engines.node import free_ports
from tests.support.provider import HERE, Certificates, Provider, served, url_of
from tests.support.providers import ApnsServer, FcmServer, WebhookReceiver, WebPushServer, vapid_pem

KEY = b"k" * 32
SECRET = "whsec_a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="


class Channels:
    """A receiver of webhooks and three providers, each on a port of its own. What processes need to reach them is
    known before any of them is there: `settings`, with files in `folder`."""

    def __init__(self, folder: Path, host: str = HERE) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        clock = SystemClock()
        self._certificates, self._host = Certificates(folder), host
        self.webhook, self.fcm = WebhookReceiver(clock, KEY), FcmServer(clock)
        self.apns, self.browser = ApnsServer(clock), WebPushServer(clock)
        self.all: tuple[Provider, ...] = (self.webhook, self.fcm, self.apns, self.browser)
        self._ports = dict(zip(self.all, free_ports(len(self.all), [host]), strict=True))
        for provider, port in self._ports.items():
            provider.url = url_of(host, port)
        credentials, apns, vapid = folder / "account.json", folder / "apns.p8", folder / "vapid.pem"
        credentials.write_bytes(self.fcm.account())
        apns.write_text(self.apns.pem())
        vapid.write_bytes(vapid_pem(ec.generate_private_key(ec.SECP256R1())))
        self.settings: dict[str, Any] = {
            "webhook_url": f"{self.webhook.url}/hook",
            "webhook_secrets": [SECRET],
            "fcm_credentials": str(credentials),
            "fcm_url": self.fcm.url,
            "apns_key": str(apns),
            "apns_key_id": self.apns.KEY,
            "apns_team_id": self.apns.TEAM,
            "apns_topic": self.apns.TOPIC,
            "apns_url": self.apns.url,
            "vapid_key": str(vapid),
            "vapid_subject": self.browser.subject,
            "push_ca": str(self._certificates.file),
        }
        self._there: dict[Provider, AsyncExitStack] = {}

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """All of them are there."""
        for provider in self.all:
            await self.come(provider)
        try:
            yield
        finally:
            for provider in list(self._there):
                await self.go(provider)

    async def come(self, provider: Provider, host: str = "") -> None:
        """One more is there, or one of them again."""
        stack = self._there[provider] = AsyncExitStack()
        port = self._ports.get(provider, 0)
        await stack.enter_async_context(served(provider, self._certificates, port, host or self._host))

    async def go(self, provider: Provider) -> None:
        """Nobody listens any more where it was."""
        await self._there.pop(provider).aclose()

    @property
    def problems(self) -> list[str]:
        """What was wrong with anything that was sent."""
        return [problem for provider in self.all for problem in provider.problems]
