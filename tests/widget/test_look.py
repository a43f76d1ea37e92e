"""What a person sees: no accessibility fault that axe knows, big enough to touch, and pictures that stay as they are.

The pictures in `screens/` were made by Chromium on Debian 12 with its own fonts; `PLAUDIT_SCREENS=write` makes them
anew, as is needed where fonts draw other letters. What is compared is each button, choice and line for itself: of a
whole page a bar that is gone would be a few percent.
"""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page

from tests.support.api import fresh
from tests.support.server import ServerProcess
from tests.widget.board import Board, Service

pytestmark = pytest.mark.browser

Open = Callable[..., Board]

SCREENS = Path(__file__).with_name("screens")
TOLERANCE = 0.005
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FINGER_PX = 44


@pytest.fixture(scope="module")
def liked(service_of_module: Service) -> list[str]:
    """Targets with nobody, one's own reaction among three, and a crowd."""
    targets = [fresh("look:") for _ in range(3)]
    for user, reaction in (("bob", "like"), ("emi", "love"), ("alice", "love")):
        service_of_module.tap(user, targets[1], reaction)
    for number in range(30):
        service_of_module.tap(f"c{number}", targets[2], ("like", "haha", "wow", "sad")[number % 4])
    return targets


@pytest.fixture(scope="module")
def service_of_module(server: Any) -> Service:
    return Service(server)


def faults(one: Board, packages: Path) -> list[tuple[str, list[str]]]:
    """What axe finds on the page as it is now, open parts and shadow roots included."""
    one.page.evaluate((packages / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = one.page.evaluate(f"axe.run(document, {{runOnly: {RULES!r}}})")
    return [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "ar"])
def test_axe_finds_no_fault(board: Open, packages: Path, liked: list[str], scheme: str, lang: str) -> None:
    one = board(color_scheme=scheme, reduced_motion="reduce")
    direction = "rtl" if lang == "ar" else "ltr"
    one.open(liked, "alice", lang=lang, direction=direction).ready()
    assert faults(one, packages) == [], "bars"
    one.bar(liked[0]).locator(".more").click()
    one.bar(liked[0]).locator(".picker").wait_for()
    one.bar(liked[0]).locator(".choice").nth(2).hover()
    assert faults(one, packages) == [], "picker"
    one.page.keyboard.press("Escape")
    one.bar(liked[2]).locator(".count").click()
    one.bar(liked[2]).locator(".reactor:not(.ghost)").first.wait_for()
    assert faults(one, packages) == [], "dialog"


SMALL = """least => [...document.querySelectorAll("plaudit-bar")].flatMap(bar =>
  [...bar.shadowRoot.querySelectorAll("button")].filter(button => button.checkVisibility()).map(button => {
    const {width, height} = button.getBoundingClientRect();
    return width < least - 0.1 || height < least - 0.1 ? `${button.className} ${width} ${height}` : "";
  })).filter(Boolean)"""


@pytest.mark.parametrize("width", [320, 800])
def test_what_is_touched_is_big_enough_and_inside(board: Open, liked: list[str], width: int) -> None:
    one = board(viewport={"width": width, "height": 700}, reduced_motion="reduce")
    one.open(liked, "alice").ready()
    for target, part in ((liked[0], "more"), (liked[2], "count")):
        one.bar(target).locator(f".{part}").click()
        opened = ".reactor:not(.ghost)" if part == "count" else ".choice"
        one.bar(target).locator(opened).first.wait_for()
        assert one.page.evaluate(SMALL, FINGER_PX) == []
        assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        one.page.keyboard.press("Escape")


HEIGHTS = "[...document.querySelectorAll('plaudit-bar')].map(bar => bar.offsetHeight)"


@pytest.mark.parametrize("width", [320, 360, 390])
def test_a_tap_moves_nothing_below_the_bar(board: Open, service: Service, width: int) -> None:
    targets = [fresh("look:") for _ in range(3)]
    service.tap("bob", targets[1])
    for user in ("bob", "emi", "carol"):
        service.tap(user, targets[2], "like" if user == "bob" else "love")
    one = board(viewport={"width": width, "height": 700}).open(targets, "alice").ready()
    assert one.page.evaluate(HEIGHTS) == [FINGER_PX] * 3
    for target in targets:
        one.main(target).click()
    one.until(targets[2], "like", 4)
    one.page.wait_for_function(AS_YOU, arg=targets)
    assert one.page.evaluate(HEIGHTS) == [FINGER_PX] * 3


AS_YOU = """targets => targets.every(target => document.querySelector(`plaudit-bar[target="${target}"]`).shadowRoot
  .querySelector(".sentence").textContent.startsWith("You"))"""


def inside(of: Locator, width: float) -> bool:
    """Whether all of it is on a screen of that width."""
    box = of.bounding_box()
    assert box
    return box["x"] >= 0 and box["x"] + box["width"] <= width


LONG = ["Felicitations to everybody involved", "Thank you very much indeed", "Insightful", "Celebrate"]


@pytest.mark.parametrize(("direction", "zoom"), [("ltr", 1), ("rtl", 1), ("ltr", 1.5)])
def test_long_labels_stay_inside(board: Open, tmp_path: Path, direction: str, zoom: float) -> None:
    labels = [*LONG, *(f"Number {n}" for n in range(5, 12)), "Ship it as soon as possible please"]
    reactions = [
        {"code": code, "name": f"r{code}", "emoji": "👏", "label": label}
        for code, label in enumerate(labels, 1)
    ]
    env = {"PLAUDIT_REACTIONS": json.dumps(reactions), "PLAUDIT_TYPES": json.dumps([{"name": "post"}])}
    with ServerProcess(tmp_path / "data", env=env) as server:
        target = fresh("look:")
        one = board(server, viewport={"width": 320, "height": 560}, reduced_motion="reduce")
        one.open([target], "alice", direction=direction).ready()
        one.page.evaluate("zoom => { document.documentElement.style.zoom = zoom; }", zoom)
        one.main(target).click()
        one.until(target, "r1", 1)
        assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert one.page.evaluate(SMALL, FINGER_PX) == []
        one.bar(target).locator(".more").click()
        choices = one.bar(target).locator(".choice")
        assert inside(one.bar(target).locator(".picker"), 320)
        for at in range(len(labels)):
            choices.nth(at).hover()
            assert inside(choices.nth(at).locator(".tip"), 320)
        one.close()


def test_a_zoom_of_two_hundred_percent_cuts_nothing_off(board: Open, liked: list[str]) -> None:
    one = board(viewport={"width": 640, "height": 700}).open(liked, "alice").ready()
    one.page.evaluate("document.documentElement.style.zoom = 2")
    one.bar(liked[1]).evaluate("bar => bar.style.setProperty('--plaudit-font', '30px/1.3 sans-serif')")
    for target, part in ((liked[0], "more"), (liked[1], "more"), (liked[2], "count")):
        opened = ".reactor:not(.ghost)" if part == "count" else ".choice"
        shown = [[], 2 + (target != liked[0])]
        one.wait(lambda: one.bar(target).evaluate(CUT_OFF, ".react, .more, .count") == shown)  # noqa: B023 - at once
        one.bar(target).locator(f".{part}").click()
        one.bar(target).locator(opened).first.wait_for()
        assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        among = ".close, .tab:first-child, .reactor:first-child .name" if part == "count" else ".choice"
        assert one.bar(target).evaluate(CUT_OFF, among) == [[], 3 if part == "count" else 6]
        one.page.keyboard.press("Escape")


# Of the parts to be seen those whose corners are not there to be pressed, and how many parts there are.
CUT_OFF = """(bar, parts) => {
  const shown = [...bar.shadowRoot.querySelectorAll(parts)].filter(part => part.checkVisibility());
  bar.scrollIntoView({block: "center"});
  const cut = shown.filter(part => {
    const {left, right, top, bottom} = part.getBoundingClientRect();
    const [x, y] = [(left + right) / 2, (top + bottom) / 2];
    return [[x, top + 3], [x, bottom - 3], [left + 3, y], [right - 3, y]].some(([x, y]) => {
      return !part.contains(bar.shadowRoot.elementFromPoint(x, y));
    });
  });
  return [cut.map(part => part.className), shown.length];
}"""


def test_calm_means_no_movement(board: Open, liked: list[str]) -> None:
    one = board(reduced_motion="reduce").open(liked, "bob").ready()
    one.bar(liked[0]).locator(".more").click()
    one.bar(liked[0]).locator(".choice").first.click()
    running = (
        "bar => bar.shadowRoot.getAnimations().filter(one => one.effect.getTiming().duration > 1).length"
    )
    assert one.bar(liked[0]).evaluate(running) == 0
    one.until(liked[0], "like", 1)
    one.main(liked[0]).click()
    one.until(liked[0], None, 0)


SCENES: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": {"width": 320, "height": 560}},
    "forced": {"forced_colors": "active"},
    "rtl": {"lang": "ar", "direction": "rtl"},
    "picker": {"open": "picker"},
    "picker-dark": {"open": "picker", "color_scheme": "dark"},
    "picker-forced": {"open": "picker", "forced_colors": "active"},
    "dialog": {"open": "dialog"},
    "dialog-dark": {"open": "dialog", "color_scheme": "dark"},
    "dialog-narrow": {"open": "dialog", "viewport": {"width": 320, "height": 560}},
    "dialog-rtl": {"open": "dialog", "lang": "ar", "direction": "rtl"},
    "compact": {"attributes": "compact"},
    "read-only": {"user": None},
}


@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_looks_as_it_did(board: Open, liked: list[str], scene: str) -> None:
    options = {"viewport": {"width": 560, "height": 560}, "reduced_motion": "reduce", **SCENES[scene]}
    page = {name: options.pop(name) for name in ("lang", "direction", "attributes") if name in options}
    opened, user = options.pop("open", None), options.pop("user", "alice")
    one = board(**options).open(liked, user, **page).ready()
    if opened == "picker":
        one.bar(liked[1]).locator(".more").click()
        one.bar(liked[1]).locator(".choice").nth(3).hover()
    elif opened == "dialog":
        one.bar(liked[2]).locator(".count").click()
        one.bar(liked[2]).locator(".reactor:not(.ghost)").first.wait_for()
        one.bar(liked[2]).evaluate(TIMELESS)
    compared, count = COMPARED_PARTS["nobody" if user is None else opened]
    boxes = [part.bounding_box() for part in one.page.locator(compared).all() if part.is_visible()]
    assert len(boxes) == count
    picture = one.page.screenshot(animations="disabled", caret="hide")
    kept = SCREENS / f"{scene}.png"
    if os.environ.get("PLAUDIT_SCREENS") == "write":
        SCREENS.mkdir(exist_ok=True)
        kept.write_bytes(picture)
    assert max(different(one.page, kept.read_bytes(), picture, boxes)) <= TOLERANCE

    for part in PARTS[opened]:
        if one.page.evaluate(HIDE, part):
            without = one.page.screenshot(animations="disabled", caret="hide")
            assert max(different(one.page, picture, without, boxes)) > TOLERANCE, (
                f"{part} would not be missed"
            )
            one.page.evaluate(HIDE, "")


# What is compared, each for itself, and how many of them are there.
COMPARED_PARTS = {
    None: ("plaudit-bar :is(.react, .more, .count)", 8),
    "nobody": ("plaudit-bar .count", 2),
    "picker": ("plaudit-bar :is(.choice, .choice:hover .tip)", 7),
    "dialog": ("plaudit-bar :is(.tab, .close, .reactor:nth-child(-n + 5))", 11),
}
# What must not go unseen there.
PARTS = {
    None: [".bar", ".react", ".react .emoji", ".more", ".stack", ".total", ".sentence"],
    "picker": [".picker", ".choice .emoji", ".choice:hover .tip"],
    "dialog": [".dialog", ".tab", ".close", ".picture", ".name", ".reactor .emoji"],
}
# Hides one part of all bars, and shows what was hidden before. Whether there was anything to see.
HIDE = """part => {
  const roots = [...document.querySelectorAll("plaudit-bar")].map(bar => bar.shadowRoot);
  for (const root of roots) {
    for (const hidden of root.querySelectorAll("[data-gone]")) {
      delete hidden.dataset.gone;
      hidden.style.removeProperty("opacity");
    }
  }
  const named = part ? roots.flatMap(root => [...root.querySelectorAll(part)]) : [];
  const gone = named.filter(one => one.getBoundingClientRect().width);
  for (const one of gone) {
    one.dataset.gone = "";
    one.style.setProperty("opacity", "0", "important");
  }
  return gone.length;
}"""
TIMELESS = "bar => bar.shadowRoot.querySelectorAll('.when').forEach(when => { when.textContent = ''; })"
COMPARED = """async ([pictures, boxes]) => {
  const [one, other] = await Promise.all(pictures.map(async text => {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
    const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    return canvas.getImageData(0, 0, image.width, image.height);
  }));
  if (one.width !== other.width || one.height !== other.height) return [1];
  return boxes.map(box => {
    const [left, top] = [Math.max(0, Math.floor(box.x)), Math.max(0, Math.floor(box.y))];
    const right = Math.min(one.width, Math.ceil(box.x + box.width));
    const bottom = Math.min(one.height, Math.ceil(box.y + box.height));
    let changed = 0;
    for (let y = top; y < bottom; y += 1) {
      for (let x = left; x < right; x += 1) {
        const at = 4 * (y * one.width + x);
        const step = channel => Math.abs(one.data[at + channel] - other.data[at + channel]);
        if (Math.max(step(0), step(1), step(2)) > 48) changed += 1;
      }
    }
    return changed / ((right - left) * (bottom - top));
  });
}"""


def different(page: Page, one: bytes, other: bytes, boxes: list[Any]) -> list[float]:
    """How much of each of these boxes differs visibly between two pictures of a page, 0 to 1."""
    pictures = [base64.b64encode(picture).decode() for picture in (one, other)]
    return [float(part) for part in page.evaluate(COMPARED, [pictures, boxes])]
