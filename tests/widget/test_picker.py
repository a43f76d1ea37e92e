"""The picker: opened by hover, long press and keyboard, closed by Escape, a choice and a look elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator

from tests.support.api import fresh
from tests.support.server import ServerProcess
from tests.widget.board import Board

pytestmark = pytest.mark.browser

Open = Callable[..., Board]

FOCUSED = "bar => bar.shadowRoot.activeElement?.ariaLabel"


def picker(one: Board, target: str) -> Locator:
    return one.bar(target).locator(".picker")


def test_hover_opens_and_leaving_closes(board: Open, target: str) -> None:
    one = board().open([target], "alice").ready()
    one.main(target).hover()
    picker(one, target).wait_for()
    one.page.mouse.move(5, 5)
    picker(one, target).wait_for(state="hidden")


def test_a_long_press_opens_and_is_no_tap(board: Open, target: str) -> None:
    one = board(has_touch=True, is_mobile=True, viewport={"width": 360, "height": 640})
    one.open([target], "alice").ready()
    box = one.main(target).bounding_box()
    assert box
    finger = one.context.new_cdp_session(one.page)
    point = {"x": box["x"] + 20, "y": box["y"] + 20}
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    picker(one, target).wait_for()
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    one.page.wait_for_timeout(100)
    assert one.shown(target)["own"] is None
    one.bar(target).locator(".choice[aria-label=Wow]").tap()
    one.until(target, "wow", 1)
    one.main(target).tap()
    one.until(target, None, 0)
    assert not picker(one, target).is_visible(), "a short tap is a tap"


def test_the_keyboard_reaches_everything(board: Open, target: str) -> None:
    one = board().open([target], "alice").ready()
    bar, keyboard = one.bar(target), one.page.keyboard
    keyboard.press("Tab")
    assert bar.evaluate(FOCUSED) == "Like"
    keyboard.press("Space")
    one.until(target, "like", 1)
    keyboard.press("ArrowDown")
    picker(one, target).wait_for()
    assert bar.evaluate(FOCUSED) == "Like", "at one's own reaction"
    assert bar.locator(".more").get_attribute("aria-expanded") == "true"
    keyboard.press("ArrowRight")
    assert bar.evaluate(FOCUSED) == "Love"
    keyboard.press("ArrowLeft")
    keyboard.press("ArrowLeft")
    assert bar.evaluate(FOCUSED) == "Angry"
    keyboard.press("Home")
    assert bar.evaluate(FOCUSED) == "Like"
    keyboard.press("End")
    assert bar.evaluate(FOCUSED) == "Angry"
    assert bar.locator(".choice[tabindex='0']").count() == 1, "one stop for Tab"
    keyboard.press("Escape")
    picker(one, target).wait_for(state="hidden")
    assert bar.evaluate("bar => bar.shadowRoot.activeElement.className") == "react"
    keyboard.press("Tab")
    assert bar.evaluate(FOCUSED) == "Choose a reaction"
    keyboard.press("Enter")
    keyboard.press("ArrowRight")
    keyboard.press("Enter")
    one.until(target, "love", 1)
    picker(one, target).wait_for(state="hidden")
    keyboard.press("Tab")
    keyboard.press("Tab")
    assert bar.evaluate(FOCUSED) == "1 You. Show who reacted"
    status = bar.locator(".status")
    one.wait(lambda: status.inner_text() == "You reacted with Love. 1 reaction.")


def test_arrows_follow_the_direction_of_reading(board: Open, target: str) -> None:
    one = board().open([target], "alice", lang="ar", direction="rtl").ready()
    one.page.keyboard.press("Tab")
    one.page.keyboard.press("ArrowDown")
    picker(one, target).wait_for()
    assert one.bar(target).evaluate(FOCUSED) == "أعجبني"
    one.page.keyboard.press("ArrowLeft")
    assert one.bar(target).evaluate(FOCUSED) == "أحببته"


def test_one_picker_at_a_time_and_a_press_elsewhere_closes(board: Open) -> None:
    targets = [fresh("post:"), fresh("post:")]
    one = board().open(targets, "alice").ready()
    one.bar(targets[0]).locator(".more").click()
    picker(one, targets[0]).wait_for()
    one.bar(targets[1]).locator(".more").click()
    picker(one, targets[1]).wait_for()
    assert not picker(one, targets[0]).is_visible()
    one.page.locator("h1").click()
    picker(one, targets[1]).wait_for(state="hidden")
    one.bar(targets[0]).locator(".more").click()
    picker(one, targets[0]).wait_for()
    one.bar(targets[0]).locator(".more").click()
    picker(one, targets[0]).wait_for(state="hidden")


@pytest.mark.parametrize("count", [1, 15])
def test_any_catalogue_will_do(board: Open, tmp_path: Path, target: str, count: int) -> None:
    emoji = "👍❤😂😮😢😡🎉🚀👀🔥🙏💯🤔👏🌱"
    reactions = [
        {"code": code + 1, "name": f"r{code}", "emoji": emoji[code], "label": f"Reaction {code}"}
        for code in range(count)
    ]
    types = [{"name": "post"}]
    env = {"PLAUDIT_REACTIONS": json.dumps(reactions), "PLAUDIT_TYPES": json.dumps(types)}
    with ServerProcess(tmp_path / "data", env=env) as server:
        one = board(server, viewport={"width": 320, "height": 640}).open([target], "alice").ready()
        one.main(target).click()
        one.until(target, "r0", 1)
        if count == 1:
            assert not one.bar(target).locator(".more").is_visible(), "nothing to choose"
            one.close()
            return
        one.bar(target).locator(".more").click()
        picker(one, target).wait_for()
        box = picker(one, target).bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 320
        assert box["y"] >= 0
        one.bar(target).locator(".choice").last.click()
        one.until(target, "r14", 1)
        one.close()
