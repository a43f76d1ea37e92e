"""What a client remembers of routes. When it sends them is in the contract of all clients."""

from plaudit.client.models import Counts, Summary, Tap, Target
from plaudit.client.routes import Routes

COUNTS = Counts(0, {}, 0)


def tap(target: str, route: str) -> Tap:
    return Tap(target, "like", None, "created", COUNTS, route)


def shown(target: str, route: str) -> Target:
    return Target(target, COUNTS, None, Summary("", (), 0), closed=False, route=route)


def test_what_was_used_longest_ago_is_forgotten_and_falls_back_to_the_target() -> None:
    routes = Routes(remembered=3)
    for number in range(3):
        routes.learn("ann", tap(f"t{number}", f"t{number}/5"))
    routes.learn("ann", tap("t0", "t0/5"))  # used again
    routes.learn("ann", tap("t3", "t3/5"))
    assert [routes.of(f"t{number}", "ann") for number in range(4)] == ["t0/5", "t1", "t2/5", "t3/5"]


def test_a_feed_larger_than_what_is_remembered_leaves_its_end() -> None:
    routes = Routes(remembered=2)
    routes.learn(None, {f"t{number}": shown(f"t{number}", f"t{number}/5") for number in range(4)})
    assert [routes.of(f"t{number}", None) for number in range(4)] == ["t0", "t1", "t2/5", "t3/5"]


def test_other_answers_say_nothing() -> None:
    routes = Routes()
    for result in (None, {"t": COUNTS}, {"t": "like"}, [tap("t", "t/5")]):
        routes.learn("ann", result)
    assert routes.of("t", "ann") == "t"


def test_what_cannot_stand_in_a_header_is_left_out() -> None:
    routes = Routes()
    assert [routes.of(target, None) for target in ("a b", "a\n", "é", "", "x" * 129)] == [None] * 5
