"""Whether settings are whole: half a sender or half a cluster stops the process, with the name of what is missing."""

import re

from pydantic_settings import BaseSettings

_TOGETHER = (
    ("webhook_url", "webhook_secrets"),
    ("apns_key", "apns_key_id", "apns_team_id", "apns_topic"),
    ("vapid_key", "vapid_subject"),
)
_ENGINES = {"cassandra": "cassandra_hosts", "kafka": "kafka_brokers", "redis": "redis_nodes"}
_ADDRESS = re.compile(r"\S+:\d{1,5}\Z")
_URL = re.compile(r"https?://[^\s/?#]+(?:/[^\s?#]*[^\s?#/])?\Z")


def whole_engines(settings: BaseSettings) -> bool:
    """Whether there are engines. Half a configuration is a mistake, and guessing the other half is a worse one.

    Raises `ValueError` for that.
    """
    for engine in _ENGINES:
        for name, other in (("username", "password"), ("tls_cert", "tls_key")):
            _pair(settings, f"{engine}_{name}", f"{engine}_{other}")
        if _has(settings, f"{engine}_tls_cert") and not _has(settings, f"{engine}_tls_ca"):
            raise ValueError(f"{engine}_tls_ca: needed with {engine}_tls_cert")
        if not _has(settings, _ENGINES[engine]):
            for name in sorted(settings.model_fields_set - {_ENGINES[engine]}):
                if name.startswith(f"{engine}_"):
                    raise ValueError(f"{_ENGINES[engine]}: needed with {name}")
    there = [name for name in _ENGINES.values() if _has(settings, name)]
    for name in _ENGINES.values():
        if there and name not in there:
            raise ValueError(f"{name}: needed with {there[0]}, or none of them for the embedded profile")
    for name in ("kafka_brokers", "redis_nodes"):
        for address in getattr(settings, name):
            if not _ADDRESS.match(address):
                raise ValueError(f"{name}: {address!r} is not host:port")
    return bool(there)


def whole_senders(settings: BaseSettings) -> None:
    """Raises `ValueError` for half of a sender."""
    for needed in _TOGETHER:
        there = [name for name in needed if _has(settings, name)]
        if there and (missing := [name for name in needed if name not in there]):
            raise ValueError(f"{', '.join(missing)}: missing beside {', '.join(there)}")
    for name in ("webhook_url", "fcm_url", "apns_url", "apns_sandbox_url"):
        if (url := getattr(settings, name)) is not None and not _URL.match(url):
            raise ValueError(f"{name}: is http(s)://… without a slash or query at its end")
    subject: str | None = getattr(settings, "vapid_subject", None)
    if subject is not None and not subject.startswith(("mailto:", "https:")):
        raise ValueError("vapid_subject: is a mailto: or https: address (RFC 8292)")


def _pair(settings: BaseSettings, a: str, b: str) -> None:
    """Raise `ValueError` where one is set without the other. A password may do without a name in Redis."""
    if _has(settings, a) and not _has(settings, b):
        raise ValueError(f"{b}: needed with {a}")
    if _has(settings, b) and not _has(settings, a) and b != "redis_password":
        raise ValueError(f"{a}: needed with {b}")


def _has(settings: BaseSettings, name: str) -> bool:
    return bool(getattr(settings, name, None))
