"""Keys behind a URL. Apart, because the HTTP client takes long to import and few ask for it."""

import asyncio

import httpx

from plaudit.domain.errors import Unavailable
from plaudit.http.keys import SET_BYTES_MAX

FETCH_TIMEOUT_S = 5.0
REDIRECTS_MAX = 3


class UrlSource:
    """A JWK Set behind an http(s) URL. Fetched so rarely that no connection is kept between two readings."""

    period_s = 600.0
    renewal_gap_s = 30.0
    required = False

    def __init__(self, url: str) -> None:
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError("jwks: is not a valid URL") from error
        if not self._url.host:
            raise ValueError("jwks: the URL names no host")
        # Once, because reading the system's certificates takes tens of milliseconds.
        self._tls = httpx.create_ssl_context()

    async def read(self) -> bytes:
        where = f"jwks: {self._url.host}"
        try:
            async with (
                asyncio.timeout(FETCH_TIMEOUT_S),
                httpx.AsyncClient(verify=self._tls, timeout=FETCH_TIMEOUT_S) as client,
            ):
                return await self._fetch(client)
        except TimeoutError as error:
            raise Unavailable(f"{where}: no answer within {FETCH_TIMEOUT_S} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise Unavailable(f"{where}: {type(error).__name__}") from error
        except Unavailable as error:
            raise Unavailable(f"{where}: {error}") from error.__cause__

    async def _fetch(self, client: httpx.AsyncClient) -> bytes:
        # Uncompressed, so that the limit counts what arrives and no small answer can unfold into a large one.
        headers = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}
        request = client.build_request("GET", self._url, headers=headers)
        for _ in range(REDIRECTS_MAX + 1):
            response = await client.send(request, stream=True)
            try:
                if response.next_request is None:
                    return await _body(response)
                request = response.next_request
            finally:
                await response.aclose()
            if request.url.scheme != self._url.scheme:
                raise Unavailable("redirects to another scheme")
        raise Unavailable(f"redirects more than {REDIRECTS_MAX} times")


async def _body(response: httpx.Response) -> bytes:
    if response.status_code != 200:
        raise Unavailable(f"answers {response.status_code}")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > SET_BYTES_MAX:
            raise Unavailable(f"answers with more than {SET_BYTES_MAX} bytes")
    return bytes(body)
