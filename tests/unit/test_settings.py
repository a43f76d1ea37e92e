"""What one setting may be."""

import pytest
from pydantic import ValidationError

from plaudit.settings import Settings


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com/",
        "https://example.com/app",
        "https://example.com?x",
        "https://Example.com",
        "https://bücher.example",
        "https://example.com:443",
        "http://example.com:80",
        "https://*.example.com",
        "example.com",
        "//example.com",
        "https://",
        "",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match=r"cors_origins: .* is not as browsers send it"):
        Settings(cors_origins=["https://example.com", origin])


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "file://",
        "https://example.com",
        "https://example.com:8443",
        "http://example.com:443",
        "http://localhost:3000",
        "http://[::1]:8080",
        "https://xn--bcher-kva.example",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
    ],
)
def test_an_origin_that_browsers_send_is_taken(origin: str) -> None:
    assert Settings(cors_origins=[origin]).cors_origins == [origin]
