"""More than the store takes: nobody else waits, nobody waits in vain who could know it, and nothing piles up."""

from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.domain.cell import MAX_USERS_PER_COMMIT
from plaudit.ports.cells import CellKey, Proposal
from plaudit.services.pace import Limits
from tests.simulation.overload import LIMITS, Overload, Stream, play, refusals

COMMIT_S = 0.5
CAPACITY = MAX_USERS_PER_COMMIT / COMMIT_S
QUIET = tuple(f"quiet{n}" for n in range(40))
LEARNT_S = 3 * COMMIT_S  # the first commits tell how long they take


def p99_s(overload: Overload, from_s: float, to_s: float) -> float:
    took_s = sorted(o.took_s for o in overload.of(*QUIET, from_s=from_s, to_s=to_s))
    return took_s[int(len(took_s) * 0.99)]


def test_ten_times_too_much_on_one_target_for_a_minute() -> None:
    viral = Stream(["viral"], 10 * CAPACITY, 10, 70)
    overload = play(Overload(1, {"viral": COMMIT_S}), viral, Stream(QUIET, 100, 0, 80))
    quiet = refusals(overload.of(*QUIET))
    assert set(quiet) == {(None, False)}, "others lose nothing"
    assert p99_s(overload, 10, 70) < 1.1 * p99_s(overload, 0, 10), "and hardly wait longer"

    after = overload.of("viral", from_s=10 + LEARNT_S)
    found = refusals(after)
    stored, late = found[None, False], found["deadline", False]
    assert stored > 0.95 * CAPACITY * (60 - LEARNT_S), "what the store takes is taken"
    assert late < 0.05 * stored, "who waits does not wait in vain"
    assert found["deadline", True] + late + stored == len(after)
    assert max(o.took_s for o in after) < LIMITS.deadline_s + 2 * COMMIT_S

    most = CAPACITY * LIMITS.deadline_s + MAX_USERS_PER_COMMIT
    assert max(waiting for at_s, waiting in overload.waiting if at_s > 10 + 2 * LIMITS.deadline_s) < most
    assert not any(waiting > 10 for at_s, waiting in overload.waiting if at_s > 73), "normal soon after"
    assert not overload.committer._cells


def test_many_viral_targets_leave_room_for_the_others() -> None:
    limits = Limits(max_waiting=2_000, max_waiting_per_target=400)
    viral = [f"viral{n}" for n in range(8)]
    streams = [Stream([target], 2_000, 0, 5) for target in viral]
    overload = play(Overload(2, dict.fromkeys(viral, 5.0), limits), *streams, Stream(QUIET, 100, 0, 5))
    assert set(refusals(overload.of(*QUIET))) == {(None, False)}
    assert max(waiting for _, waiting in overload.waiting) <= limits.max_waiting
    assert refusals(overload.of(*viral))["overloaded", True] > 0


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.05, 0.3, 0.9]), st.floats(0.5, 6))
def test_who_is_refused_at_once_would_have_waited_in_vain(seed: int, commit_s: float, times: float) -> None:
    limits = Limits(deadline_s=4 * commit_s)
    capacity = MAX_USERS_PER_COMMIT / commit_s
    seconds = 15 * commit_s
    overload = play(Overload(seed, {"t": commit_s}, limits), Stream(["t"], times * capacity, 0, seconds))
    began_s = overload.cells.began_s["t"]
    for o in overload.of("t"):
        if o.early and o.refusal == "deadline":
            turn = o.commits + o.ahead // MAX_USERS_PER_COMMIT
            # There is a margin, and commits take a third more or less than they usually do.
            assert turn >= len(began_s) or began_s[turn] > o.at_s + 0.5 * limits.deadline_s
            assert 1 <= o.retry_s <= 30
    if times < 0.9:
        assert set(refusals(overload.outcomes)) == {(None, False)}


def test_too_much_everywhere_is_refused_at_once_too() -> None:
    """Each tap on a target of its own: what is short is places under way."""
    limits = Limits(max_under_way=16)
    targets = [f"t{n}" for n in range(50_000)]
    capacity = limits.max_under_way / 0.1
    overload = play(Overload(3, dict.fromkeys(targets, 0.1), limits), Stream(targets, 10 * capacity, 0, 20))
    found = refusals(overload.of(*targets, from_s=3))
    assert found[None, False] > 0.9 * capacity * 17
    assert found["deadline", False] < 0.1 * found[None, False]
    assert max(waiting for at_s, waiting in overload.waiting if at_s > 5) < 1.3 * capacity * LIMITS.deadline_s


def test_a_store_that_paused_once_is_not_held_to_be_slow() -> None:
    overload = Overload(4, {"t": 0.01}, steady=True)
    commit_s, held = overload.cells._commit_s, overload.cells.propose

    async def pauses(key: CellKey, proposal: Proposal) -> bool:
        commit_s["t"] = 1.2 if len(overload.cells.began_s.get("t", ())) == 50 else 0.01
        return await held(key, proposal)

    overload.cells.propose = pauses  # type: ignore[method-assign] # for this test alone
    play(overload, Stream(["t"], 3_000, 0, 3))
    assert set(refusals(overload.outcomes)) == {(None, False)}
