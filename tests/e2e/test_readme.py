"""The README's tour works when it is pasted."""

import json
import os
import re
import subprocess
from pathlib import Path

from tests.support.server import ServerProcess

ROOT = Path(__file__).parents[2]


def test_the_tour_works_when_pasted(tmp_path: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tour,) = [block for block in blocks if "curl" in block]
    with ServerProcess(tmp_path / "data") as server:
        env = {**os.environ, "API": f"{server.url}/api/v1", "PLAUDIT_DATA": str(server.data)}
        run = subprocess.run(
            ["bash", "-c", tour], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
        )
    assert run.returncode == 0, run.stderr
    like, again, love, counts, feed, reactors, closed, refused = map(json.loads, run.stdout.splitlines())
    assert (like["outcome"], like["counts"]["total"]) == ("created", 1)
    assert again == like
    assert (love["reaction"], love["counts"]["total"]) == ("love", 2)
    assert [counts["counts"][target]["total"] for target in ("post:42", "post:43")] == [2, 0]
    assert feed["targets"]["post:42"]["reaction"] == "like"
    assert [entry["user"]["id"] for entry in reactors["reactors"]] == ["bob", "alice"]
    assert closed["closed"] is True
    assert refused["code"] == "target_closed"
