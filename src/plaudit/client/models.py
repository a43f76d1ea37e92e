"""What the calls give: the answers of the API as frozen dataclasses. Fields the API adds later are passed over."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many users gave each reaction. Of two counts of a target the one with the higher `version` is newer."""

    total: int
    reactions: Mapping[str, int]
    version: int
    lanes: int = 1

    @classmethod
    def read(cls, json: Json) -> "Counts":
        """From COUNTS of the API."""
        return cls(json["total"], dict(json["reactions"]), json["version"], json["lanes"])


@dataclass(frozen=True, slots=True)
class Tap:
    """What a tap did. `counts` contain it. `replayed`: the service knew its key already."""

    target_id: str
    reaction: str | None
    previous: str | None
    outcome: str
    counts: Counts
    route: str
    replayed: bool = False

    @classmethod
    def read(cls, json: Json, *, replayed: bool = False) -> "Tap":
        """From the answer to a tap."""
        return cls(
            json["target_id"],
            json["reaction"],
            json["previous"],
            json["outcome"],
            Counts.read(json["counts"]),
            json["route"],
            replayed,
        )


@dataclass(frozen=True, slots=True)
class User:
    """A user as shown to others. Name and address of the picture are of the user's choosing: escape them."""

    id: str
    name: str
    avatar_url: str | None

    @classmethod
    def read(cls, json: Json) -> "User":
        """From a user of the API."""
        return cls(json["id"], json["name"], json["avatar_url"])


@dataclass(frozen=True, slots=True)
class Summary:
    """The sentence under a post, and what it is made of."""

    text: str
    sample: tuple[User, ...]
    others: int


@dataclass(frozen=True, slots=True)
class Target:
    """One target of a feed. `reaction` is the user's own, None for none or where nobody is named."""

    target_id: str
    counts: Counts
    reaction: str | None
    summary: Summary
    closed: bool
    route: str

    @classmethod
    def read(cls, target: str, json: Json) -> "Target":
        """From an item of a feed."""
        told = json["summary"]
        summary = Summary(told["text"], tuple(map(User.read, told["sample"])), told["others"])
        counts = Counts.read(json["counts"])
        return cls(target, counts, json.get("reaction"), summary, json["closed"], json["route"])


@dataclass(frozen=True, slots=True)
class Reactor:
    """Somebody who reacted, and when they first did."""

    user: User
    reaction: str
    reacted_at: datetime

    @classmethod
    def read(cls, json: Json) -> "Reactor":
        """From a reactor of the API."""
        return cls(User.read(json["user"]), json["reaction"], datetime.fromisoformat(json["reacted_at"]))


@dataclass(frozen=True, slots=True)
class Reacted:
    """A target that a user reacted to."""

    target_id: str
    reaction: str
    reacted_at: datetime

    @classmethod
    def read(cls, json: Json) -> "Reacted":
        """From an entry of the API."""
        return cls(json["target_id"], json["reaction"], datetime.fromisoformat(json["reacted_at"]))


@dataclass(frozen=True, slots=True)
class Reaction:
    """A reaction of the catalogue. A retired one can be removed but not given."""

    name: str
    emoji: str
    label: str
    retired: bool


@dataclass(frozen=True, slots=True)
class TargetType:
    """A kind of target: who may see it (`open` or `granted`), and which reactions may be given."""

    access: str
    reactions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Which reactions there are, in their order, and the kinds of targets by name."""

    reactions: tuple[Reaction, ...]
    types: Mapping[str, TargetType]

    @classmethod
    def read(cls, json: Json) -> "Catalogue":
        """From the answer of the API."""
        reactions = tuple(
            Reaction(each["name"], each["emoji"], each["label"], each["retired"])
            for each in json["reactions"]
        )
        types = {
            name: TargetType(each["access"], tuple(each["reactions"])) for name, each in json["types"].items()
        }
        return cls(reactions, types)


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered target as stored. `version` is that of its counts."""

    target_id: str
    owner_id: str | None
    target_type: str
    title: str | None
    closed: bool
    allowed: tuple[str, ...] | None
    version: int

    @classmethod
    def read(cls, json: Json) -> "Registration":
        """From the answer of the API."""
        allowed = None if json["allowed"] is None else tuple(json["allowed"])
        return cls(
            json["target_id"],
            json["owner_id"],
            json["target_type"],
            json["title"],
            json["closed"],
            allowed,
            json["version"],
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """A user's profile as stored."""

    user_id: str
    name: str | None
    avatar_url: str | None
    locale: str | None
    time_zone: str | None

    @classmethod
    def read(cls, json: Json) -> "Profile":
        """From the answer of the API."""
        return cls(json["user_id"], json["name"], json["avatar_url"], json["locale"], json["time_zone"])


@dataclass(frozen=True, slots=True)
class Job:
    """A deletion or erasure: under way (`state` is `running`), or its receipt (`done`)."""

    job_id: str
    kind: str
    subject: str
    state: str
    removed: Mapping[str, int]
    note: str

    @classmethod
    def read(cls, json: Json) -> "Job":
        """From the answer of the API."""
        return cls(
            json["job_id"], json["kind"], json["subject"], json["state"], dict(json["removed"]), json["note"]
        )
