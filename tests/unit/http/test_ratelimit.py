"""The token bucket by a clock that the test owns: exact counts, exact waits, bounded memory."""

import random

import pytest

from plaudit.http.ratelimit import RateLimiter


class Seconds:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def allowed(limiter: RateLimiter, user: str, tries: int) -> int:
    return sum(limiter.take(user) == 0.0 for _ in range(tries))


def test_a_burst_is_allowed_and_no_more(clock: Seconds) -> None:
    limiter = RateLimiter(clock, per_s=50, burst=100)
    assert allowed(limiter, "alice", 500) == 100
    assert allowed(limiter, "bob", 500) == 100


@pytest.mark.parametrize("start_s", [0.0, 0.1, 1e6 + 0.3, 1e8])
@pytest.mark.parametrize(("per_s", "burst"), [(50, 100), (3, 1), (0.1, 7), (7.7, 13)])
def test_who_waits_as_told_gets_through_and_not_before(
    clock: Seconds, start_s: float, per_s: float, burst: int
) -> None:
    clock.now_s = start_s
    limiter = RateLimiter(clock, per_s=per_s, burst=burst)
    assert allowed(limiter, "alice", burst) == burst
    for _ in range(100):
        wait_s = limiter.take("alice")
        assert 0 < wait_s <= 1 / per_s + 1e-6
        before_s = clock.now_s
        clock.now_s = before_s + wait_s * 0.99
        assert limiter.take("alice") > 0
        clock.now_s = before_s + wait_s + 1e-7  # doubles near 1e8 are this coarse
        assert limiter.take("alice") == 0.0


def test_a_refused_call_costs_nothing(clock: Seconds) -> None:
    limiter = RateLimiter(clock, per_s=10, burst=1)
    assert limiter.take("alice") == 0.0
    assert allowed(limiter, "alice", 1000) == 0
    clock.now_s = 0.1
    assert limiter.take("alice") == 0.0


def test_rest_refills_up_to_the_burst(clock: Seconds) -> None:
    limiter = RateLimiter(clock, per_s=10, burst=5)
    assert allowed(limiter, "alice", 9) == 5
    clock.now_s = 0.2
    assert allowed(limiter, "alice", 9) == 2
    clock.now_s = 1000
    assert allowed(limiter, "alice", 9) == 5


def test_it_allows_what_a_plain_token_bucket_allows(clock: Seconds) -> None:
    chance = random.Random(1)
    limiter = RateLimiter(clock, per_s=8, burst=4)  # binary fractions: both sides are exact
    tokens, last_s = 4.0, 0.0
    for _ in range(5000):
        clock.now_s += chance.choice([0, 0, 1 / 64, 1 / 16, 1 / 4, 1])
        tokens, last_s = min(4.0, tokens + (clock.now_s - last_s) * 8), clock.now_s
        allowed_here = tokens >= 1
        tokens -= allowed_here
        assert (limiter.take("alice") == 0.0) == allowed_here


@pytest.mark.parametrize("per_s", [0, -1])
def test_no_rate_means_no_limit(clock: Seconds, per_s: float) -> None:
    limiter = RateLimiter(clock, per_s=per_s, burst=1)
    assert allowed(limiter, "alice", 1000) == 1000
    assert len(limiter) == 0


def test_full_buckets_are_forgotten_while_others_call(clock: Seconds) -> None:
    limiter = RateLimiter(clock, per_s=50, burst=100)
    for number in range(5000):
        limiter.take(f"user-{number}")
    assert len(limiter) == 5000
    clock.now_s = 10.0
    for _ in range(1100):
        clock.now_s += 0.02
        limiter.take("alice")
    assert len(limiter) <= 1


def test_a_stream_of_strangers_is_kept_small(clock: Seconds) -> None:
    limiter = RateLimiter(clock, per_s=50, burst=100)
    for number in range(50_000):
        clock.now_s += 1 / 10_000
        limiter.take(f"user-{number}")
    assert len(limiter) < 12_000, "what came within about a second"


def test_forgetting_gives_nobody_more_than_their_due(clock: Seconds) -> None:
    limiter = RateLimiter(clock, per_s=10, burst=20)
    got = 0
    for number in range(20_000):
        clock.now_s += 0.001
        limiter.take(f"stranger-{number}")
        got += limiter.take("alice") == 0.0
    assert got in (20 + 200 - 1, 20 + 200)


@pytest.mark.parametrize("max_users", [1, 100, 1000, 1024])
def test_users_are_bounded_however_many_call_at_once(clock: Seconds, max_users: int) -> None:
    limiter = RateLimiter(clock, per_s=0.001, burst=1, max_users=max_users)
    for number in range(5000):
        assert limiter.take(f"user-{number}") == 0.0
        assert limiter.take(f"user-{number}") > 0, "the newest is never the one forgotten"
    assert max_users * 0.8 < len(limiter) <= max_users


@pytest.mark.parametrize("wrong", [{"burst": 0}, {"burst": 1, "max_users": 0}])
def test_a_limit_that_lets_nobody_in_is_refused(clock: Seconds, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RateLimiter(clock, per_s=1, **wrong)
