"""Which taps of a queue share a commit."""

from collections import deque
from typing import NamedTuple

from plaudit.domain.cell import Tap
from plaudit.services.share import share
from tests.support.taps import LIKE, set_to


class Waiting(NamedTuple):
    tap: Tap
    gone: bool = False


def queue(*users: str) -> deque[Waiting]:
    return deque(Waiting(set_to(user, LIKE)) for user in users)


def users(taken: "list[Waiting] | deque[Waiting]") -> list[str]:
    return [waiting.tap.user for waiting in taken]


def test_a_users_fifth_tap_waits_and_nobody_overtakes_it() -> None:
    waiting = queue(*["ann"] * 5, "bob", "ann", "cid")
    assert users(share(waiting, 512)) == [*["ann"] * 4, "bob", "cid"]
    assert users(waiting) == ["ann", "ann"]


def test_the_129th_user_waits_and_so_does_everybody_behind() -> None:
    names = [f"u{n}" for n in range(128)]
    waiting = queue(*names, "one too many", "u0")
    assert users(share(waiting, 512)) == names
    assert users(waiting) == ["one too many", "u0"]


def test_no_more_taps_than_there_is_room_for() -> None:
    waiting = queue("ann", "bob", "cid")
    assert users(share(waiting, 2)) == ["ann", "bob"]
    assert users(waiting) == ["cid"]


def test_who_is_gone_is_taken_out_and_takes_no_place() -> None:
    waiting = queue("ann", "bob")
    waiting.appendleft(Waiting(set_to("cid", LIKE), gone=True))
    assert users(share(waiting, 2, lambda each: each.gone)) == ["ann", "bob"]
    assert share(deque([Waiting(set_to("cid", LIKE), gone=True)]), 2, lambda each: each.gone) == []
    assert not waiting
