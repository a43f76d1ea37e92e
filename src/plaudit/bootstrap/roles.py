"""Which workers there are. Apart, so that who names one needs no drivers."""

from typing import Literal, get_args

Role = Literal["counters", "index", "notify", "flush", "audit", "repair"]
ROLES: tuple[Role, ...] = get_args(Role)
