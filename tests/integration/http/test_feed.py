"""Feeds, own reactions and single targets: projections of the same state."""

from typing import Any

import pytest

from tests.support.api import FEED, MINE, REACTIONS, Api, counts_of, fresh


def person(user: str, name: str | None = None, avatar_url: str | None = None) -> dict[str, str | None]:
    return {"id": user, "name": name or user, "avatar_url": avatar_url}


async def test_a_feed_is_exactly_this(api: Api, target: str, user: str) -> None:
    other = fresh("t")
    await api.tap(user, target, "love")
    expected: dict[str, dict[str, Any]] = {
        target: {
            "counts": counts_of(1, love=1),
            "reaction": "love",
            "summary": {"text": user, "sample": [person(user)], "others": 0},
            "closed": False,
            "route": target,
        },
        other: {
            "counts": counts_of(0),
            "reaction": None,
            "summary": {"text": "", "sample": [], "others": 0},
            "closed": False,
            "route": other,
        },
    }
    answer = await api.call("GET", f"{FEED}?target_ids={target},{other}", headers=api.bearer(user))
    assert answer.json() == {"targets": expected, "degraded": False}
    assert list(answer.json()["targets"]) == [target, other]
    assert answer.headers["cache-control"] == "no-store"
    one = await api.get(f"{REACTIONS}/{target}", user=user)
    assert one == {"target_id": target, **expected[target], "degraded": False}
    mine = await api.get(f"{MINE}?target_ids={target},{other}", user=user)
    assert mine == {"reactions": {target: "love", other: None}, "degraded": False}


async def test_a_target_that_takes_no_more_reactions_says_so(api: Api, user: str) -> None:
    open_, closed, deleted = fresh("t"), fresh("t"), fresh("t")
    await api.tap(user, closed)
    await api.register(open_, closed=False)
    await api.register(closed, closed=True)
    await api.remove(f"/api/v1/targets/{deleted}")
    targets = (await api.get(f"{FEED}?target_ids={open_},{closed},{deleted}"))["targets"]
    assert [targets[id_]["closed"] for id_ in (open_, closed, deleted)] == [False, True, True]
    assert (await api.get(f"{REACTIONS}/{closed}", user=user))["closed"] is True
    await api.register(closed, closed=False)
    assert (await api.get(f"{REACTIONS}/{closed}"))["closed"] is False


@pytest.mark.parametrize("path", [FEED, MINE])
async def test_post_asks_the_same_as_get(api: Api, path: str, user: str) -> None:
    names = [fresh("t") for _ in range(100)]
    for name in names[::7]:
        await api.tap(user, name, "sad")
    get = await api.call("GET", f"{path}?target_ids={'%2C'.join(names)}", headers=api.bearer(user))
    body = {"target_ids": names}
    post = await api.call("POST", path, headers=api.bearer(user), json=body)
    assert post.content == get.content


@pytest.mark.parametrize("path", [FEED, MINE])
async def test_integers_are_ids_in_a_list_too(api: Api, path: str, user: str) -> None:
    await api.tap(user, "4711")
    body = {"target_ids": [4711, "4712"]}
    answer = (await api.call("POST", path, headers=api.bearer(user), json=body)).json()
    assert list(answer["targets" if path == FEED else "reactions"]) == ["4711", "4712"]


@pytest.mark.parametrize("asker", ["nobody", "the host app"])
async def test_who_is_no_user_gets_no_own_reaction(api: Api, target: str, asker: str) -> None:
    await api.tap("ann", target)
    headers = api.host if asker == "the host app" else {}
    feed = (await api.call("GET", f"{FEED}?target_ids={target}", headers=headers)).json()
    assert "reaction" not in feed["targets"][target]
    assert "reaction" not in (await api.call("GET", f"{REACTIONS}/{target}", headers=headers)).json()


async def test_the_host_app_reads_for_whom_it_names(api: Api, target: str, user: str) -> None:
    await api.tap(user, target, "wow")
    headers = api.host | {"Plaudit-User": user}
    feed = (await api.call("GET", f"{FEED}?target_ids={target}", headers=headers)).json()
    assert feed["targets"][target]["reaction"] == "wow"
    mine = (await api.call("GET", f"{MINE}?target_ids={target}", headers=headers)).json()
    assert mine["reactions"] == {target: "wow"}


@pytest.mark.parametrize(
    ("reactions", "text", "sample", "others"),
    [
        (["like"], "Liked by Zed", "Z", 0),
        (["love"], "Zed", "Z", 0),
        (["like", "like"], "Liked by Yan and Zed", "YZ", 0),
        (["like", "love", "like"], "Xia, Yan and Zed", "XYZ", 0),
        (["like"] * 3, "Liked by Xia, Yan and Zed", "XYZ", 0),
        (["like"] * 4, "Liked by Wim, Xia and 2 others", "WXY", 2),
        (["sad"] * 5, "Vic, Wim and 3 others", "VWX", 3),
    ],
)
async def test_a_summary_names_the_newest(
    api: Api, target: str, reactions: list[str], text: str, sample: str, others: int
) -> None:
    people = {}
    for name, reaction in zip(["Zed", "Yan", "Xia", "Wim", "Vic"], reactions, strict=False):
        people[name[0]] = user = fresh("u")
        await api.describe(user, name=name, avatar_url=f"/avatars/{name}.png")
        await api.tap(user, target, reaction)
    summary = (await api.get(f"{REACTIONS}/{target}"))["summary"]
    names = {"Z": "Zed", "Y": "Yan", "X": "Xia", "W": "Wim", "V": "Vic"}
    assert summary == {
        "text": text,
        "sample": [person(people[s], names[s], f"/avatars/{names[s]}.png") for s in sample],
        "others": others,
    }


async def test_who_takes_a_reaction_back_leaves_the_summary(api: Api, target: str) -> None:
    first, second = fresh("u"), fresh("u")
    await api.tap(first, target)
    await api.tap(second, target)
    await api.tap(second, target, None, method="PUT")
    summary = (await api.get(f"{REACTIONS}/{target}"))["summary"]
    assert summary == {"text": f"Liked by {first}", "sample": [person(first)], "others": 0}


@pytest.mark.parametrize("path", ["{t}", "{t}/reactors", "feed?target_ids={t}", "counts?target_ids={t}"])
async def test_head_is_get_without_a_body(api: Api, target: str, path: str) -> None:
    url = f"{REACTIONS}/{path.format(t=target)}"
    get, head = await api.call("GET", url), await api.call("HEAD", url)
    assert head.headers == get.headers
