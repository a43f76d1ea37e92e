"""Which reactions exist and where each may be given.

A reaction's code (1-15) is what is stored, so codes are for ever: a retired reaction can be removed but not given.
"""

import re
from collections.abc import Collection, Iterable
from hashlib import blake2b
from typing import Literal, Self

import msgspec

from plaudit.domain.errors import Invalid

NONE = 0
MAX_CODE = 15

Access = Literal["open", "granted"]
"""Who may see a target: everybody, or users whose token grants it."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")


class Reaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing a user can feel about a target."""

    code: int
    name: str
    emoji: str
    label: str
    retired: bool = False


class TargetType(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of target: who may see and react (`access`), and with which reactions (None: all of them)."""

    name: str
    access: Access = "open"
    reactions: tuple[str, ...] | None = None


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What the host app told us about a target. `allowed` is a bit mask of reaction codes, None for the type's."""

    type: str
    owner: str | None = None
    title: str | None = None
    closed: bool = False
    allowed: int | None = None

    def keeping(self, kept: Collection[str], known: Self | None, its_type: str) -> Self:
        """This, but for the fields in `kept`, which stay as they are in `known`. Where nothing is registered the type
        alone stays, if the target has one.
        """
        if known is not None:
            stays = msgspec.structs.asdict(known)
        else:
            stays = {"type": its_type} if its_type else {}
        return msgspec.structs.replace(self, **{name: stays[name] for name in kept if name in stays})


DEFAULT_REACTIONS = (
    Reaction(code=1, name="like", emoji="👍", label="Like"),
    Reaction(code=2, name="love", emoji="❤️", label="Love"),
    Reaction(code=3, name="haha", emoji="😂", label="Haha"),
    Reaction(code=4, name="wow", emoji="😮", label="Wow"),
    Reaction(code=5, name="sad", emoji="😢", label="Sad"),
    Reaction(code=6, name="angry", emoji="😡", label="Angry"),
)
DEFAULT_TYPES = (
    TargetType(name="post"),
    TargetType(name="comment"),
    TargetType(name="message", access="granted"),
)
DEFAULT_TYPE = "post"


class Catalogue:
    """The reactions and target types of this installation, indexed for the hot path."""

    def __init__(
        self,
        reactions: Iterable[Reaction] = DEFAULT_REACTIONS,
        types: Iterable[TargetType] = DEFAULT_TYPES,
    ) -> None:
        self.reactions = tuple(sorted(reactions, key=lambda r: r.code))
        types = tuple(types)
        self.types = {t.name: t for t in types}
        self.by_name = {r.name: r for r in self.reactions}
        self.codes = {r.name: r.code for r in self.reactions}
        # A code that is configured no longer keeps its place in counts and lists, under a name of its own.
        self.names: list[str | None] = [None, *(f"reaction_{code}" for code in range(1, MAX_CODE + 1))]
        if len(self.types) != len(types):
            raise ValueError("types: names must be unique")
        self._check()
        for reaction in self.reactions:
            self.names[reaction.code] = reaction.name
        self._masks = {
            t.name: self.mask(self.by_name if t.reactions is None else t.reactions)
            for t in self.types.values()
        }
        self._live = sum(1 << r.code for r in self.reactions if not r.retired)
        # What is shown of a header depends on the header and on this.
        self.fingerprint = blake2b(msgspec.json.encode([self.reactions, types]), digest_size=16).digest()

    def _check(self) -> None:
        codes = [r.code for r in self.reactions]
        if not codes or len(set(codes)) != len(codes) or len(self.by_name) != len(codes):
            raise ValueError(
                "reactions: codes and names must be unique, and there must be at least one reaction"
            )
        for reaction in self.reactions:
            if not (1 <= reaction.code <= MAX_CODE and _NAME.match(reaction.name)):
                raise ValueError(
                    f"reactions: {reaction.name!r} needs a code of 1-{MAX_CODE} and a name like 'like'"
                )
        for target_type in self.types.values():
            unknown = set(target_type.reactions or ()) - set(self.by_name)
            if unknown or not _NAME.match(target_type.name):
                raise ValueError(
                    f"types: {target_type.name!r} has a bad name or unknown reactions {sorted(unknown)}"
                )
        if DEFAULT_TYPE not in self.types:
            raise ValueError(
                f"types: {DEFAULT_TYPE!r} is what a target is when nobody says otherwise; keep it"
            )

    def code(self, name: str, field: str = "reaction_type") -> int:
        """The code of a reaction, retired ones too. Raises `Invalid` (`unknown_reaction`)."""
        code = self.codes.get(name)
        if code is None:
            raise Invalid("unknown_reaction", f"Known reactions are {', '.join(self.codes)}.", field=field)
        return code

    def target_type(self, name: str, field: str = "target_type") -> TargetType:
        """The target type called `name`. Raises `Invalid` (`unknown_target_type`)."""
        found = self.types.get(name)
        if found is None:
            raise Invalid(
                "unknown_target_type", f"Known target types are {', '.join(self.types)}.", field=field
            )
        return found

    def mask(self, names: Iterable[str], field: str = "allowed") -> int:
        """A bit mask of the codes of `names`. Raises `Invalid` (`unknown_reaction`)."""
        mask = 0
        for name in names:
            mask |= 1 << self.code(name, field)
        return mask

    def named(self, mask: int) -> list[str | None]:
        """The names of the reactions in a bit mask, in the order of their codes."""
        return [self.names[code] for code in range(1, MAX_CODE + 1) if mask >> code & 1]

    def allowed(self, type_name: str, registration: Registration | None) -> int:
        """The mask of reactions that may be given to a target now: its own list or its type's, never retired ones."""
        mask = self._masks.get(type_name, 0)
        if registration is not None and registration.allowed is not None:
            mask = registration.allowed
        return mask & self._live

    def given(self, type_name: str) -> list[str]:
        """The reactions that may be given to a target of this type, in the order of their codes."""
        mask = self.allowed(type_name, None)
        return [reaction.name for reaction in self.reactions if mask >> reaction.code & 1]

    def needs_grant(self, type_name: str) -> bool:
        """Whether a user needs a grant to see targets of this type; a type that is no longer configured does."""
        found = self.types.get(type_name)
        return found is None or found.access == "granted"
