"""How often one user may call this process.

Guarantees: `take` is arithmetic and one dict lookup; memory is bounded, by users seen lately and by `max_users`.
Refuses to know: HTTP, other processes (each has its own buckets), and who deserves a higher rate.
"""

from collections.abc import Callable

import msgspec

SHARD_USERS = 128  # small enough that going through a shard takes microseconds
SWEEP_GAP_S = 0.001  # with 100,000 users a full round through the shards takes a second
TOLERANCE = 0.001  # of a token: so that who waited exactly as told is not refused for a rounding error


class _Bucket(msgspec.Struct, gc=False):
    """All there is to know of a token bucket: when it is full again. Untracked, to spare the garbage collector."""

    full_at_s: float


class RateLimiter:
    """A token bucket for each user: `burst` calls at once, `per_s` calls a second in the long run.

    Kept as the virtual scheduling form of the generic cell rate algorithm (ITU-T I.371, annex A), which is the same as
    a token bucket but stores one number. `clock_monotonic` gives seconds; `per_s` <= 0 disables the limit.
    """

    def __init__(
        self, clock_monotonic: Callable[[], float], *, per_s: float, burst: int, max_users: int = 100_000
    ) -> None:
        if burst < 1 or max_users < 1:
            raise ValueError("burst and max_users must be at least 1")
        self._clock = clock_monotonic
        self._enabled = per_s > 0
        self._interval_s = 1 / per_s if per_s > 0 else 0.0
        self._depth_s = (burst - 1 + TOLERANCE) * self._interval_s
        # Many small dicts instead of a large one: growing or sweeping one never takes long enough to be noticed.
        shards = 1 << max(0, (max_users // SHARD_USERS).bit_length() - 1)
        self._mask = shards - 1
        self._shard_users_max = max_users // shards
        self._shards: list[dict[str, _Bucket]] = [{} for _ in range(shards)]
        self._next_shard = 0
        self._sweep_at_s = 0.0

    def __len__(self) -> int:
        """Users whose bucket is in memory."""
        return sum(map(len, self._shards))

    def take(self, user: str) -> float:
        """0.0 and the call is counted, or the seconds until the next call would be allowed and nothing is."""
        if not self._enabled:
            return 0.0
        now_s = self._clock()
        if now_s >= self._sweep_at_s:
            self._sweep_at_s = now_s + SWEEP_GAP_S
            self._next_shard = (self._next_shard + 1) & self._mask
            self._sweep(self._next_shard, now_s)
        index = hash(user) & self._mask
        bucket = self._shards[index].get(user)
        if bucket is None:
            self._admit(index, user, now_s)
            return 0.0
        full_at_s = bucket.full_at_s
        if full_at_s <= now_s:
            bucket.full_at_s = now_s + self._interval_s
            return 0.0
        wait_s = full_at_s - self._depth_s - now_s
        if wait_s > 0:
            return wait_s
        bucket.full_at_s = full_at_s + self._interval_s
        return 0.0

    def _admit(self, index: int, user: str, now_s: float) -> None:
        shard = self._shards[index]
        if len(shard) >= self._shard_users_max:
            # The longest known is forgotten early: a fresh burst for them, and bounded memory for us.
            del shard[next(iter(shard))]
        shard[user] = _Bucket(now_s + self._interval_s)

    def _sweep(self, index: int, now_s: float) -> None:
        """Forget the full buckets of a shard: a bucket that is made anew starts full, so nobody can tell."""
        shard = self._shards[index]
        if shard:
            # Built anew, because a dict never gives memory back.
            self._shards[index] = {user: bucket for user, bucket in shard.items() if bucket.full_at_s > now_s}
