"""How many lanes of one target are under way at the same time."""

from plaudit.ports.cells import CellKey
from plaudit.services.abreast import SHARE, Abreast


def test_targets_that_are_not_split_never_wait() -> None:
    abreast = Abreast({})
    root = CellKey("t")
    assert abreast.enter(root)
    assert abreast.enter(root)
    assert abreast.leave(root) is None


def test_an_eighth_of_the_lanes_is_under_way_and_the_others_follow_in_their_order() -> None:
    abreast = Abreast({"t": 2 * SHARE})
    lanes = [CellKey("t", bucket) for bucket in range(1, 6)]
    assert [abreast.enter(lane) for lane in lanes] == [True, True, False, False, False]
    assert abreast.leave(lanes[1]) == lanes[2]
    assert abreast.enter(lanes[2])
    assert not abreast.enter(lanes[1]), "whoever comes again waits behind those who do already"
    assert abreast.leave(lanes[0]) == lanes[3]
    assert abreast.enter(lanes[3])
    assert abreast.leave(lanes[2]) == lanes[4]
    assert abreast.enter(lanes[4])
    assert abreast.leave(lanes[3]) == lanes[1]


def test_at_least_one_lane_is_under_way_and_targets_do_not_wait_for_each_other() -> None:
    abreast = Abreast({"few": 2, "other": 2})
    assert abreast.enter(CellKey("few", 1))
    assert not abreast.enter(CellKey("few", 2))
    assert abreast.enter(CellKey("other", 2))
    assert abreast.enter(CellKey("forgotten", 3)), "how many lanes it has is not known any more"


def test_nothing_is_kept_of_what_has_ended() -> None:
    abreast = Abreast({"t": 8})
    lanes = [CellKey("t", bucket) for bucket in (1, 2)]
    assert [abreast.enter(lane) for lane in lanes] == [True, False]
    assert abreast.leave(lanes[0]) == lanes[1]
    assert abreast.enter(lanes[1])
    assert abreast.leave(lanes[1]) is None
    assert (abreast._under_way, abreast._waiting) == ({}, {})


def test_when_cleared_nobody_follows() -> None:
    abreast = Abreast({"t": 8})
    assert [abreast.enter(CellKey("t", bucket)) for bucket in (1, 2)] == [True, False]
    abreast.clear()
    assert abreast.leave(CellKey("t", 1)) is None
