"""Counts: public, in the order asked for, with an ETag, whichever way the query is written."""

from pathlib import Path

import httpx
import pytest

from tests.support.api import COUNTS, Api, Json, assert_problem, counts_of, fresh, open_api


async def test_an_answer_is_exactly_this(api: Api, target: str, user: str) -> None:
    await api.tap(user, target, "wow")
    unknown = fresh("nobody-knows-")
    response = await api.call("GET", f"{COUNTS}?target_ids={unknown},{target}")
    assert response.json() == {
        "counts": {unknown: counts_of(0), target: counts_of(1, wow=1)},
        "degraded": False,
    }
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "public, max-age=1"
    assert "vary" not in response.headers
    assert response.headers["etag"].startswith('"')


async def test_a_tag_is_of_the_versions_and_the_catalogue(tmp_path: Path) -> None:
    url, tags = f"{COUNTS}?target_ids=a,b", []
    catalogues: list[list[Json]] = [[], [], [{"code": 1, "name": "like", "emoji": "+", "label": "Like"}]]
    for reactions in catalogues:
        async with open_api(tmp_path, reactions=reactions) as api:
            tags.append((await api.call("GET", url)).headers["etag"])
    assert tags[0] == tags[1], "another process with the same catalogue gives the same tag"
    assert tags[0] != tags[2]


async def test_targets_come_in_the_order_asked_for(api: Api) -> None:
    names = [fresh("t") for _ in range(100)]
    for name in names[::3]:
        await api.tap("ann", name)
    for order in (names, names[::-1], sorted(names)):
        assert list((await api.get(f"{COUNTS}?target_ids={','.join(order)}"))["counts"]) == order


@pytest.mark.parametrize(
    "query",
    [
        "target_ids={a},{b}",
        "target_ids={a}%2C{b}",
        "target_ids={a}%2c{b}",
        "target_ids={A},{b}",
        "target_ids={a},{b}&_=1764000000",
        "_=1&target_ids={a},{b}&_=2",
        "target%5Fids={a},{b}",
        "_unknown=but+ignored&target_ids={a}%2C{b}",
    ],
)
async def test_every_way_to_write_a_query_is_the_same_question(api: Api, query: str) -> None:
    a, b = fresh("t"), fresh("t")
    await api.tap("ann", a)
    escaped = "".join(f"%{byte:02x}" for byte in a.encode())
    plain = await api.call("GET", f"{COUNTS}?target_ids={a},{b}")
    response = await api.call("GET", f"{COUNTS}?{query.format(a=a, b=b, A=escaped)}")
    assert response.content == plain.content
    assert response.headers["etag"] == plain.headers["etag"]


@pytest.mark.parametrize("warm", [False, True], ids=["read", "near cache"])
@pytest.mark.parametrize("form", ["{etag}", "W/{etag}", '"other", {etag}', "{etag}, W/{etag}", "*"])
async def test_what_has_not_changed_is_not_sent_again(api: Api, form: str, warm: bool) -> None:
    target = fresh("t")
    first = await api.call("GET", f"{COUNTS}?target_ids={target}" + ("" if warm else "&_="))
    headers = {"If-None-Match": form.format(etag=first.headers["etag"])}
    again = await api.call("GET", f"{COUNTS}?target_ids={target}", headers=headers, status=304)
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == "public, max-age=1"
    assert "content-length" not in again.headers


async def test_what_has_changed_is_sent(api: Api, target: str) -> None:
    first = await api.call("GET", f"{COUNTS}?target_ids={target}")
    await api.tap("ann", target)
    headers = {"If-None-Match": first.headers["etag"]}
    changed = await api.call("GET", f"{COUNTS}?target_ids={target}", headers=headers)
    assert changed.headers["etag"] != first.headers["etag"]
    assert changed.json()["counts"][target] == counts_of(1, like=1)


@pytest.mark.parametrize("etag", ['"x"', "", "W/", '""', "\xff", "x" * 5000])
async def test_another_etag_is_no_reason_not_to_answer(api: Api, target: str, etag: str) -> None:
    headers = httpx.Headers([("If-None-Match", etag)], encoding="latin-1")
    assert (await api.client.get(f"{COUNTS}?target_ids={target}", headers=headers)).status_code == 200


async def test_head_has_the_headers_of_get(api: Api, target: str) -> None:
    url = f"{COUNTS}?target_ids={target}"
    get, head = await api.call("GET", url), await api.call("HEAD", url)
    assert head.content == b""
    assert head.headers == get.headers
    headers = {"If-None-Match": get.headers["etag"]}
    assert (await api.call("HEAD", url, headers=headers, status=304)).headers["etag"] == get.headers["etag"]
    refused = await api.call("HEAD", f"{COUNTS}?target_ids=", status=422)
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_told_which_ones_there_are(api: Api, method: str) -> None:
    response = await api.call(method, f"{COUNTS}?target_ids=a", status=405)
    assert_problem(response, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD"
