"""What is shipped for operators names what the code has."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from plaudit.adapters.sqlite.database import CLOSE_WITHIN_S
from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Outcome
from plaudit.http.problems import CODES
from plaudit.http.server import DRAIN_WITHIN_S
from plaudit.services.consume import Consume
from plaudit.settings import Settings
from plaudit.telemetry import METRICS, Metrics
from tests.engines.node import free_ports
from tests.meta.files import ROOT
from tests.support.api import open_api
from tests.support.auditors import idle_auditor

DEPLOY = ROOT / "deploy"
UNITS = ("plaudit.service", "plaudit-backup.service", "plaudit-backup.timer")
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
SERIES = {metric.name + suffix: metric for metric in METRICS for suffix in SUFFIXES[metric.kind]}
RULES = DEPLOY / "prometheus"
FILES = ("alerts.yml", "alerts-embedded.yml", "alerts-cluster.yml")
each_file = pytest.mark.parametrize("name", FILES)


def alerts(name: str) -> list[dict[str, Any]]:
    """The rules of a file."""
    return [
        rule
        for group in yaml.safe_load((RULES / name).read_text("utf-8"))["groups"]
        for rule in group["rules"]
    ]


def asked(name: str) -> set[str]:
    """The series that a file's rules ask for."""
    return {series for rule in alerts(name) for series in re.findall(r"\bplaudit_\w+", rule["expr"])}


def test_all_rules_are_compared() -> None:
    assert {path.name for path in RULES.glob("*.yml")} == set(FILES)


@each_file
def test_alerts_ask_for_metrics_and_labels_that_exist(name: str) -> None:
    text = " ".join(rule["expr"] for rule in alerts(name))
    assert asked(name)
    assert asked(name) - SERIES.keys() == set()
    for series, label in re.findall(r"\b(plaudit_\w+)\{(\w+)=", text):
        assert label in (SERIES[series].label or "").split(", ")
    for label, series in re.findall(r"by \((\w+)\) \((plaudit_\w+)", text):
        assert label in (SERIES[series].label or "").split(", ")
    for outcomes in re.findall(r'outcome=~"([^"]*)"', text):
        assert set(outcomes.split("|")) <= CODES.keys() | {outcome.name.lower() for outcome in Outcome}


def test_the_dashboard_shows_metrics_and_labels_that_exist() -> None:
    board = json.loads((DEPLOY / "grafana" / "plaudit.json").read_text(encoding="utf-8"))
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    assert {
        series for target in targets for series in re.findall(r"\bplaudit_\w+", target["expr"])
    } <= SERIES.keys()
    for target in targets:
        (series,) = set(re.findall(r"\bplaudit_\w+?(?=_sum|_count|[^\w])", target["expr"]))
        metric = next(metric for name, metric in SERIES.items() if name.startswith(series))
        shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        assert set(shown) <= set((metric.label or "").split(", ")), target
        assert all(label in re.findall(r"by \(([^)]*)\)", target["expr"])[0] for label in shown), target
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in board["panels"]}) == len(places)


@each_file
def test_alerts_have_the_form_of_rules(name: str) -> None:
    for rule in alerts(name):
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() <= {"summary", "description"}
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
        for left, right in ("()", "[]", "{}"):
            assert rule["expr"].count(left) == rule["expr"].count(right)
        for series in re.findall(
            r"(plaudit_\w+)[^\[\s]*\[", rule["expr"]
        ):  # what is counted from one moment to another
            assert SERIES[series].kind == "counter"


def test_somebody_is_told_of_taps_that_are_refused_for_their_tokens() -> None:
    counted = set(re.findall(r"token_\w+", " ".join(rule["expr"] for rule in alerts("alerts.yml"))))
    assert counted == {code for code in CODES if CODES[code].status == 401} - {"token_missing"}


def test_what_a_worker_counts_is_there_before_it_is_above_0() -> None:
    """A counter that is born at 1 has not increased, so no alert would tell of the first event."""
    metrics = Metrics()
    nothing: Any = None  # is asked of them before it runs
    Consume(nothing, nothing, SystemClock(), metrics, role="index", quarantine=nothing)
    idle_auditor(metrics)
    shown = metrics.render().decode()
    counted = [
        series
        for rule in alerts("alerts-cluster.yml")
        for series in re.findall(r"(?:increase|rate)\((plaudit_\w+)", rule["expr"])
    ]
    assert counted
    for series in counted:
        label = 'store="lists"' if series == "plaudit_derived_drift_total" else 'role="index"'
        assert f"{series}{{{label}}} 0.0" in shown


def test_no_alert_has_the_name_of_another() -> None:
    names = [rule["alert"] for name in FILES for rule in alerts(name)]
    assert sorted(names) == sorted(set(names))


def test_what_is_worth_an_alert_has_one() -> None:
    """As docs/metrics.md says."""
    everywhere = set().union(*map(asked, FILES))
    for metric in METRICS:
        if "Alert" in metric.help:
            assert {metric.name + suffix for suffix in SUFFIXES[metric.kind]} & everywhere, metric.name


async def test_the_embedded_profile_has_all_that_its_rules_ask_for(tmp_path: Path) -> None:
    """Else a rule about what is absent would fire for ever, and any other one never."""
    async with open_api(tmp_path / "data") as api:
        text = (await api.call("GET", "/metrics")).text
    there = {name.removesuffix("_total") for name in re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)}
    names = asked("alerts.yml") | asked("alerts-embedded.yml")
    assert {name.removesuffix("_total") for name in names} - there == set()
    assert not [name for name in names if SERIES[name].help.startswith("Cluster:")]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    """With this program in the place of the installed one, because it looks whether that is there."""
    program = Path(sys.executable).with_name("plaudit")
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/opt/plaudit/bin/plaudit", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(tmp_path / name for name in UNITS)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_units_and_the_image_give_it_time_to_stop() -> None:
    """Draining, then closing the file."""
    least_s = DRAIN_WITHIN_S + CLOSE_WITHIN_S
    (unit_s,) = re.findall(
        r"^TimeoutStopSec=(\d+)$", (DEPLOY / "systemd" / UNITS[0]).read_text("utf-8"), re.MULTILINE
    )
    image = (DEPLOY / "Dockerfile").read_text("utf-8")
    (image_s,) = re.findall(r"--stop-timeout (\d+)", image)
    assert min(int(unit_s), int(image_s)) > least_s
    assert "STOPSIGNAL SIGTERM" in image


def test_the_image_is_made_of_files_that_exist_and_runs_as_nobody_special() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for name in line.split()
    ]
    assert {"src", "pyproject.toml", "requirements.lock", "requirements-cluster.lock"} <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    let_in = re.findall(r"^!(.*)$", (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8"), re.MULTILINE)
    assert [name for name in copied if not any(Path(name).match(pattern) for pattern in let_in)] == []
    assert int(re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1]) > 0
    assert re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE) == ['["/opt/plaudit/bin/plaudit"]']


class Healthy(BaseHTTPRequestHandler):
    """Answers as a process that is well."""

    def do_GET(self) -> None:
        """200 to /healthz."""
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: pytest shows what a test writes."""


@pytest.fixture
def ports() -> Iterator[dict[str, int]]:
    """Ports of two processes that are well: one is asked for in the image, the other one set by whoever runs it."""
    servers = {name: HTTPServer(("127.0.0.1", 0), Healthy) for name in ("image", "set")}
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {name: server.server_port for name, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("command", ["serve", "serve --all", "worker counters"])
@pytest.mark.parametrize("chosen", [(), ("PLAUDIT_PORT",), ("PLAUDIT_WORKER_PORT",)])
def test_the_image_asks_the_port_that_its_process_answers_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ports: dict[str, int],
    command: str,
    chosen: tuple[str, ...],
) -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", "")
    (variables,) = re.findall(r"^ENV (.*)$", text, re.MULTILINE)
    (check,) = re.findall(r"^HEALTHCHECK .*? CMD (.*)$", text, re.MULTILINE)
    for variable in variables.split():
        name, _, value = variable.partition("=")
        monkeypatch.setenv(name, value.replace("8080", str(ports["image"])))
    for name in chosen:
        monkeypatch.setenv(name, str(ports["set"]))
    (tmp_path / "cmdline").write_text("\0".join(["/opt/plaudit/bin/plaudit", *command.split(), ""]))
    _, *arguments = json.loads(check.replace("/proc/1/cmdline", str(tmp_path / "cmdline")))

    def well() -> bool:
        return subprocess.run([sys.executable, *arguments], capture_output=True).returncode == 0

    settings = Settings()
    answers = settings.worker_port if command.startswith("worker") else settings.port
    assert answers in ports.values()
    assert well()
    # With nobody there it is not well, whoever answers on the other port.
    [closed] = free_ports(1)
    for name, port in (("PLAUDIT_PORT", settings.port), ("PLAUDIT_WORKER_PORT", settings.worker_port)):
        mine = name == ("PLAUDIT_WORKER_PORT" if command.startswith("worker") else "PLAUDIT_PORT")
        monkeypatch.setenv(name, str(closed if mine else port))
    assert not well()


def test_the_backup_unit_removes_old_backups_and_what_killed_ones_left(tmp_path: Path) -> None:
    unit = (DEPLOY / "systemd" / "plaudit-backup.service").read_text("utf-8")
    (sweep,) = re.findall(r"^ExecStartPost=(.*)$", unit, re.MULTILINE)
    command = [str(tmp_path) if word == "/var/lib/plaudit-backups" else word for word in shlex.split(sweep)]
    old_s = time.time() - 16 * 86_400
    for name in ("a.db", "a.db.partial", "a.db.partial-journal", "a.db.secret", "notes"):
        (tmp_path / name).touch()
        (tmp_path / f"old-{name}").touch()
        os.utime(tmp_path / f"old-{name}", (old_s, old_s))
    subprocess.run(command, check=True)
    left = {path.name for path in tmp_path.iterdir() if path.name.startswith("old-")}
    assert left == {"old-a.db.secret", "old-notes"}
    assert len(list(tmp_path.iterdir())) == 7
