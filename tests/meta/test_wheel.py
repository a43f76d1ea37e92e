"""What a user installs is whole: a wheel holds every file of the package, not only its Python."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.meta.files import SRC, repository_files


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=SRC.parents[1],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("plaudit-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {path.relative_to(SRC.parent).as_posix() for path in repository_files() if SRC in path.parents}
    assert expected - packed == set()
    assert "plaudit/py.typed" in packed
