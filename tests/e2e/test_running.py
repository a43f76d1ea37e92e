"""What docs/running.md says about installing works when it is pasted, and what it installs serves and is backed up."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.meta.files import ROOT
from tests.support import server
from tests.support.server import ServerProcess


@pytest.mark.timeout(600)
def test_the_steps_install_a_plaudit_that_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    (steps,) = [block for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) if "venv" in block]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT")}
    env["PLAUDIT"] = str(tmp_path / "opt")
    done = subprocess.run(["bash", "-euc", steps], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    program = tmp_path / "opt" / "bin" / "plaudit"
    monkeypatch.setattr(server, "PLAUDIT", program)
    with ServerProcess(tmp_path / "data") as running:
        env |= {"PLAUDIT_DATA": str(running.data), "PLAUDIT_PORT": str(running.port), "COLUMNS": "500"}
        for command, said in (("doctor", f"ready at {running.url}"), (f"backup {tmp_path}/a.db", "a.db")):
            looked = subprocess.run(
                [program, *command.split()], env=env, cwd=tmp_path, capture_output=True, text=True
            )
            assert looked.returncode == 0, looked.stdout + looked.stderr
            assert said in looked.stdout + looked.stderr
    assert (tmp_path / "a.db").stat().st_mode & 0o077 == 0
