"""Messages in the log, for development: what would be pushed, and to whom."""

import logging

from plaudit.ports.notifications import Channel
from plaudit.ports.push import Push, Verdict

log = logging.getLogger("plaudit.console")


class Console:
    """See `plaudit.ports.push.Sender`."""

    channel: Channel = "console"
    at_once = 100

    def provider(self, push: Push) -> str:
        """There is one."""
        return "console"

    async def send(self, push: Push) -> Verdict:
        """Write it into the log."""
        log.info("to %s: %s. %s", push.owner, push.title, push.body, extra={"notification": push.id})
        return Verdict(reason="delivered")
