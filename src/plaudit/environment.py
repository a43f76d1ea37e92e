"""What the environment sets: variables that begin with PLAUDIT_. The only place that reads it.

Left out is what Kubernetes puts into every pod beside a Service called `plaudit`, or `plaudit-…`: PLAUDIT_SERVICE_HOST,
PLAUDIT_PORT=tcp://…, PLAUDIT_PORT_8080_TCP and so on, unless `enableServiceLinks` is false
(kubernetes.io/docs/concepts/services-networking/service, "Environment variables").
"""

import json
import os
import re
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

PREFIX = "PLAUDIT_"
_LINK = re.compile(
    r"PLAUDIT_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)\Z"
)
_LINKED = re.compile(r"(?:tcp|udp|sctp)://")
# Of lists of other things than texts. Secrets are not shown.
_EXAMPLES = {int: "[30, 300]", SecretStr: '["one", "two"]', dict[str, Any]: '[{"name": "post"}]'}


class Environment(EnvSettingsSource):
    """The variables that are settings. Lists and tables are JSON."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        linked = {name.lower() for name in links()}
        self.env_vars = {name: value for name, value in self.env_vars.items() if name not in linked}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """What a list says. Raises `ValueError` with the one that could be meant."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            (inner,) = get_args(field.annotation)
            example = _EXAMPLES.get(inner) or json.dumps(_parts(value))
            raise ValueError(f"{PREFIX}{field_name.upper()}: must be a JSON list, e.g. {example}") from None


def _parts(text: str) -> list[str]:
    return [part for each in text.split(",") if (part := each.strip(" []\"'"))]


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
