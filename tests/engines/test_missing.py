"""What is not installed skips its tests with one line on a laptop, and fails them in CI."""

import pytest

from tests.conftest import needs
from tests.engines import jars
from tests.engines.jars import Missing


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("pathlib.Path.glob", lambda *_: iter(()))


def test_a_laptop_skips_with_one_clear_line(no_programs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped, needs():
        jars.java()
    assert str(skipped.value).startswith("Java 17 is not installed; ")
    assert "\n" not in str(skipped.value)


def test_ci_fails(no_programs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception), needs():
        jars.java()


def test_what_an_engine_lacks_is_named(no_programs: None) -> None:
    with pytest.raises(Missing) as error:
        jars.java()
    what, how = error.value.args
    assert (what, "openjdk-17" in how) == ("Java 17", True)
