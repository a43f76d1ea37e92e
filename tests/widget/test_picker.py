"""The picker: opened by hover, long press and keyboard, closed by Escape, a choice and a look elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator

from tests.support.api import fresh
from tests.support.server import ServerProcess
from tests.widget.board import Board, middle

pytestmark = pytest.mark.browser

Open = Callable[..., Board]

CHAT = """() => {
  globalThis.chat = document.createElement("div");
  chat.style.cssText = "block-size: 60px; overflow: auto";
  for (let line = 0; line < 50; line += 1) chat.append(Object.assign(document.createElement("p"), {textContent: line}));
  document.body.append(chat);
  document.body.style.minHeight = "2000px";
}"""
FOCUSED = "bar => bar.shadowRoot.activeElement?.ariaLabel"


def picker(one: Board, target: str) -> Locator:
    return one.bar(target).locator(".picker")


def test_hover_opens_and_leaving_closes(board: Open, target: str) -> None:
    one = board().open([target], "alice").ready()
    one.main(target).hover()
    picker(one, target).wait_for()
    one.page.mouse.move(5, 5)
    picker(one, target).wait_for(state="hidden")


class Finger:
    """One finger on the screen of a phone. The page is long enough to be scrolled."""

    def __init__(self, one: Board) -> None:
        one.page.evaluate("document.body.style.minHeight = '3000px'")
        self.page = one.page
        self.session = one.context.new_cdp_session(one.page)
        self.at = (0.0, 0.0)

    def down(self, on: Locator) -> None:
        self.at = middle(on)
        self.send("touchStart")

    def slide(self, to: tuple[float, float], steps: int = 10) -> None:
        (x, y), (to_x, to_y) = self.at, to
        for step in range(1, steps + 1):
            self.at = (x + (to_x - x) * step / steps, y + (to_y - y) * step / steps)
            self.send("touchMove")
            self.page.wait_for_timeout(16)

    def up(self) -> None:
        self.send("touchEnd")

    def send(self, kind: str) -> None:
        points = [] if kind == "touchEnd" else [{"x": self.at[0], "y": self.at[1]}]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


@pytest.fixture
def phone(board: Open, target: str) -> Board:
    one = board(has_touch=True, is_mobile=True, viewport={"width": 360, "height": 640})
    return one.open([target], "alice").ready()


def test_a_long_press_opens_and_is_no_tap(phone: Board, target: str) -> None:
    finger = Finger(phone)
    finger.down(phone.main(target))
    picker(phone, target).wait_for()
    finger.up()
    phone.page.wait_for_timeout(100)
    assert phone.shown(target)["own"] is None
    phone.bar(target).locator(".choice[aria-label=Wow]").tap()
    phone.until(target, "wow", 1)
    phone.main(target).tap()
    phone.until(target, None, 0)
    assert not picker(phone, target).is_visible(), "a short tap is a tap"


def test_after_a_long_press_one_may_slide_onto_a_choice(phone: Board, target: str) -> None:
    finger = Finger(phone)
    finger.down(phone.main(target))
    picker(phone, target).wait_for()
    wow = phone.bar(target).locator(".choice[aria-label=Wow]")
    finger.slide(middle(wow))
    assert phone.page.evaluate("scrollY") == 0
    assert wow.locator(".tip").evaluate("tip => getComputedStyle(tip).opacity") == "1", "it says what it is"
    finger.up()
    phone.until(target, "wow", 1)
    assert not picker(phone, target).is_visible()
    phone.main(target).press("Enter")
    phone.until(target, None, 0)


def test_a_long_press_that_ends_elsewhere_leaves_the_picker(phone: Board, target: str) -> None:
    finger = Finger(phone)
    finger.down(phone.main(target))
    picker(phone, target).wait_for()
    x, y = finger.at
    finger.slide((x, y + 60))
    finger.up()
    assert picker(phone, target).is_visible()
    assert phone.page.evaluate("scrollY") == 0
    phone.main(target).press("Enter")
    phone.until(target, "like", 1)


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


@pytest.mark.parametrize("keys", ["Alt+ArrowLeft", "Control+ArrowDown", "Meta+ArrowRight", "Control+Home"])
def test_keys_of_the_browser_are_the_browsers(board: Open, target: str, keys: str) -> None:
    one = board().open([target], "alice").ready()
    one.page.evaluate(
        "addEventListener('keydown', event => { globalThis.last = [event.key, event.defaultPrevented]; })"
    )
    one.main(target).focus()
    one.page.keyboard.press(keys)
    assert one.page.evaluate("last") == [keys.split("+")[1], False]
    assert not picker(one, target).is_visible()
    one.page.keyboard.press("ArrowDown")
    picker(one, target).wait_for()
    one.page.keyboard.press("ArrowRight")
    one.page.keyboard.press(keys)
    assert one.page.evaluate("last") == [keys.split("+")[1], False]
    assert one.bar(target).evaluate(FOCUSED) == "Love"


def test_a_picker_that_cannot_be_loaded_is_said(board: Open, target: str) -> None:
    one = board()
    one.failures_expected = True
    one.page.route("**/picker.js", lambda route: route.abort())
    one.open([target], "alice")
    more = one.bar(target).locator(".more")
    more.click()
    note = one.bar(target).locator(".note")
    note.wait_for()
    assert note.inner_text() == "That did not work."
    assert more.get_attribute("aria-haspopup") is None, "what opens is a toolbar, and no menu"
    one.main(target).click()
    one.until(target, "like", 1)


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


def test_a_click_on_the_button_keeps_what_hovering_opened(board: Open, target: str) -> None:
    one = board().open([target], "alice").ready()
    more = one.bar(target).locator(".more")
    more.hover()
    picker(one, target).wait_for()
    more.click()
    assert picker(one, target).is_visible()
    more.click()
    picker(one, target).wait_for(state="hidden")


@pytest.mark.parametrize("keyboard", [False, True])
def test_what_scrolls_elsewhere_leaves_it_open(board: Open, target: str, keyboard: bool) -> None:
    one = board(viewport={"width": 800, "height": 500}).open([target], "alice").ready()
    one.page.evaluate(CHAT)
    if keyboard:
        one.main(target).press("ArrowDown")
    else:
        one.bar(target).locator(".more").click()
    picker(one, target).wait_for()
    one.page.evaluate("chat.scrollTop = 100")
    one.page.wait_for_timeout(100)
    assert picker(one, target).is_visible()
    one.page.evaluate("scrollTo(0, 20)")
    picker(one, target).wait_for(state="hidden")


def test_it_closes_when_the_box_around_the_bar_scrolls(board: Open, target: str) -> None:
    one = board().open([target], "alice").ready()
    one.page.evaluate("""() => {
      const around = document.querySelector("main");
      around.style.cssText = "block-size: 250px; overflow: auto";
      around.append(Object.assign(document.createElement("div"), {style: "block-size: 900px"}));
    }""")
    one.bar(target).locator(".more").click()
    picker(one, target).wait_for()
    one.page.evaluate("document.querySelector('main').scrollTop = 20")
    picker(one, target).wait_for(state="hidden")


@pytest.mark.parametrize("place", ["html", "plaudit-bar"])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_it_is_at_its_bar_under_zoom(board: Open, target: str, place: str, direction: str) -> None:
    one = board(viewport={"width": 1200, "height": 700}, reduced_motion="reduce")
    one.open([target], "alice", direction=direction).ready()
    one.page.evaluate("place => { document.querySelector(place).style.zoom = 1.5; }", place)
    one.bar(target).locator(".more").click()
    box, bar = picker(one, target).bounding_box(), one.bar(target).locator(".split").bounding_box()
    assert box
    assert bar
    assert abs(box["y"] + box["height"] - bar["y"]) < 1, "just above it"
    edge = 0 if direction == "ltr" else 1
    assert abs(box["x"] + edge * box["width"] - bar["x"] - edge * bar["width"]) < 1


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


def test_escape_leaves_the_dialog_around_it_open(board: Open, target: str) -> None:
    one = board().open([target], "alice").ready()
    one.page.evaluate(IN_DIALOG, "plaudit-bar")
    one.bar(target).locator(".more").click()
    picker(one, target).wait_for()
    one.page.keyboard.press("Escape")
    picker(one, target).wait_for(state="hidden")
    assert one.page.evaluate("document.querySelector('dialog').open")
    one.page.keyboard.press("Escape")
    one.page.wait_for_function("() => !document.querySelector('dialog').open")


# It goes into a dialog of the page, which opens.
IN_DIALOG = """name => {
  const dialog = document.createElement("dialog");
  dialog.append(document.querySelector(name));
  document.body.append(dialog);
  dialog.showModal();
}"""
