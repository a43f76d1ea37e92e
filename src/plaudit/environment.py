"""What the environment sets: variables that begin with PLAUDIT_. The only place that reads it.

Left out is what Kubernetes puts into every pod beside a Service called `plaudit`, or `plaudit-…`: PLAUDIT_SERVICE_HOST,
PLAUDIT_PORT=tcp://…, PLAUDIT_PORT_8080_TCP and so on, unless `enableServiceLinks` is false
(kubernetes.io/docs/concepts/services-networking/service, "Environment variables").
"""

import os
import re

from pydantic_settings import BaseSettings, EnvSettingsSource

PREFIX = "PLAUDIT_"
_LINK = re.compile(
    r"PLAUDIT_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)\Z"
)
_LINKED = re.compile(r"(?:tcp|udp|sctp)://")


class Environment(EnvSettingsSource):
    """The variables that are settings. Lists and tables are JSON."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        linked = {name.lower() for name in links()}
        self.env_vars = {name: value for name, value in self.env_vars.items() if name not in linked}


def names() -> set[str]:
    """The variables that are meant to be settings."""
    return {name for name in os.environ if name.startswith(PREFIX)} - links()


def links() -> set[str]:
    """Those that Kubernetes has set."""
    return {
        name
        for name, value in os.environ.items()
        if _LINK.match(name) or (name.startswith(PREFIX) and name.endswith("PORT") and _LINKED.match(value))
    }
