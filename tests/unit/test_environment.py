"""What is read of the environment, and what is not meant for us."""

from typing import get_origin

import pytest
import typer
from pydantic import ValidationError

from plaudit.cli import load_settings
from plaudit.environment import links
from plaudit.settings import Settings

# As a pod has them beside the Services `plaudit` (two ports, one with a name) and `plaudit-worker`.
LINKS = {
    "PLAUDIT_SERVICE_HOST": "10.0.0.7",
    "PLAUDIT_SERVICE_PORT": "80",
    "PLAUDIT_SERVICE_PORT_HTTP": "80",
    "PLAUDIT_PORT": "tcp://10.0.0.7:80",
    "PLAUDIT_PORT_80_TCP": "tcp://10.0.0.7:80",
    "PLAUDIT_PORT_80_TCP_PROTO": "tcp",
    "PLAUDIT_PORT_80_TCP_PORT": "80",
    "PLAUDIT_PORT_80_TCP_ADDR": "10.0.0.7",
    "PLAUDIT_PORT_8125_UDP": "udp://10.0.0.7:8125",
    "PLAUDIT_WORKER_SERVICE_HOST": "10.0.0.8",
    "PLAUDIT_WORKER_SERVICE_PORT": "9180",
    "PLAUDIT_WORKER_PORT": "tcp://10.0.0.8:9180",
    "PLAUDIT_WORKER_PORT_9180_TCP_ADDR": "10.0.0.8",
}


@pytest.fixture
def beside_services(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LINKS.items():
        monkeypatch.setenv(name, value)


def test_what_kubernetes_sets_is_passed_over_and_told(
    beside_services: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLAUDIT_HOST", "::1")
    settings = load_settings()
    assert (settings.host, settings.port, settings.worker_port) == ("::1", 8080, 9180)
    assert links() == LINKS.keys()
    [told] = capsys.readouterr().err.splitlines()
    assert all(name in told for name in LINKS)


def test_a_port_that_is_set_beside_services_counts(
    beside_services: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAUDIT_PORT", "8099")
    assert Settings().port == 8099


@pytest.mark.parametrize("name", ["PLAUDIT_SERVICE", "PLAUDIT_PORT_TCP", "PLAUDIT_SERVICES_PORT"])
def test_what_only_looks_like_it_is_a_mistake(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "80")
    with pytest.raises(ValidationError, match=f"{name}: there is no such setting"):
        Settings()


def test_no_setting_has_the_name_of_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"PLAUDIT_{name.upper()}", "1")
    assert links() == set()


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("CORS_ORIGINS", "https://x", '["https://x"]'),
        ("CORS_ORIGINS", "https://x, https://y", '["https://x", "https://y"]'),
        ("KAFKA_BROKERS", "['a:9092']", '["a:9092"]'),
        ("REDIS_NODES", "", "[]"),
        ("NOTIFICATION_WINDOWS_S", "30,300", "[30, 300]"),
        ("WEBHOOK_SECRETS", "whsec_guess_me", '["one", "two"]'),
        ("TYPES", "post", '[{"name": "post"}]'),
    ],
)
def test_a_list_that_is_none_is_told_how_one_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, meant: str
) -> None:
    monkeypatch.setenv(f"PLAUDIT_{name}", value)
    with pytest.raises(typer.Exit) as ended:
        load_settings()
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err
    assert said == f"plaudit: PLAUDIT_{name}: must be a JSON list, e.g. {meant}\n"


def test_every_list_has_an_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, field in Settings.model_fields.items():
        if get_origin(field.annotation) is list:
            with monkeypatch.context() as patch:
                patch.setenv(f"PLAUDIT_{name.upper()}", "x")
                with pytest.raises(typer.Exit):
                    load_settings()
            assert "must be a JSON list, e.g. [" in capsys.readouterr().err, name
