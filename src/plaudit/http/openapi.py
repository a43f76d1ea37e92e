"""The API described as OpenAPI 3.1, and as a page that needs nothing from anywhere else."""

from typing import Any

from plaudit.domain.catalogue import Catalogue


def document(catalogue: Catalogue) -> dict[str, Any]:
    """The OpenAPI document of this installation."""
    return {"openapi": "3.1.0", "info": {"title": "Plaudit", "version": "0"}, "paths": {}}


def docs_page(described: dict[str, Any]) -> str:
    """The docs page."""
    return "<!doctype html><title>Plaudit</title>"
