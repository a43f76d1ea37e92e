"""docs/moving-data.md names every reason for which a line is not taken in."""

import pytest

from plaudit.domain.transfer import CSV_COLUMNS, REFUSALS, SKIPS
from tests.meta.files import ROOT


@pytest.mark.parametrize("word", [*REFUSALS, *SKIPS, *CSV_COLUMNS])
def test_a_word_of_a_report_or_a_file_is_explained(word: str) -> None:
    assert f"`{word}`" in (ROOT / "docs" / "moving-data.md").read_text(encoding="utf-8")
