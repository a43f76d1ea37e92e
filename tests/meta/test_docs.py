"""The reference pages say what the code says."""

import pytest

from docs.generate import PAGES, RETRY
from plaudit.http.problems import CODES
from plaudit.settings import Settings
from tests.meta.files import ROOT

DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", PAGES)
def test_a_reference_page_is_in_step(page: str) -> None:
    path = DOCS / page
    written = path.read_text(encoding="utf-8") if path.exists() else ""
    assert written == PAGES[page](), "run 'make docs'"


@pytest.mark.parametrize("page", PAGES)
def test_a_reference_page_is_in_the_list_of_pages(page: str) -> None:
    assert f"]({page})" in (DOCS / "README.md").read_text(encoding="utf-8")


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_every_code_that_can_be_repeated_is_one() -> None:
    assert set(RETRY) <= set(CODES)
