"""Versions after a restore: they only go up, whatever was lost with the newer file.

A restore raises every `seq` to a floor made of its time. As long as no cell commits a million times a second for as
long as it exists, that floor is above every `seq` that was handed out before, by whichever file. Targets that are new
to the restored file begin above the floor too, because they may be among those that were lost; so the file keeps it.
"""

_COMMITS_PER_S = 20  # bits: 2**20 commits


def floor_at(now: int) -> int:
    """The floor of a restore at that time (microseconds UTC). Below 2**53 until the year 2242."""
    return now // 1_000_000 << _COMMITS_PER_S
