"""The catalogue: what exists, what may be given, and which configurations stop the process."""

from collections.abc import Sequence

import pytest

from plaudit.domain.catalogue import (
    DEFAULT_REACTIONS,
    DEFAULT_TYPES,
    MAX_CODE,
    Catalogue,
    Reaction,
    Registration,
    TargetType,
)
from plaudit.domain.errors import Invalid


def reaction(code: int, name: str, *, retired: bool = False) -> Reaction:
    return Reaction(code=code, name=name, emoji="🙂", label=name.title(), retired=retired)


def test_the_default_reactions_keep_their_codes_for_ever() -> None:
    assert Catalogue().codes == {"like": 1, "love": 2, "haha": 3, "wow": 4, "sad": 5, "angry": 6}
    assert [r.emoji for r in DEFAULT_REACTIONS] == ["👍", "❤️", "😂", "😮", "😢", "😡"]


def test_reactions_are_ordered_by_code_and_named_by_code() -> None:
    catalogue = Catalogue([reaction(15, "z"), reaction(2, "b"), reaction(1, "a")])
    assert [r.code for r in catalogue.reactions] == [1, 2, 15]
    assert catalogue.names == [None, "a", "b", *(f"reaction_{code}" for code in range(3, 15)), "z"]
    assert len(catalogue.names) == MAX_CODE + 1


def test_a_generator_of_reactions_and_types_is_read_whole() -> None:
    catalogue = Catalogue((r for r in DEFAULT_REACTIONS), (t for t in DEFAULT_TYPES))
    assert (len(catalogue.reactions), set(catalogue.types)) == (6, {"post", "comment", "message"})


@pytest.mark.parametrize(
    "reactions",
    [
        [],
        [reaction(1, "a"), reaction(1, "b")],
        [reaction(1, "a"), reaction(2, "a")],
        [reaction(0, "none")],
        [reaction(16, "big")],
        [reaction(-1, "minus")],
        [reaction(1, "")],
        [reaction(1, "Like")],
        [reaction(1, "li ke")],
        [reaction(1, "like\n")],
        [reaction(1, "1up")],
        [reaction(1, "x" * 33)],
    ],
)
def test_a_catalogue_that_contradicts_itself_is_refused(reactions: Sequence[Reaction]) -> None:
    with pytest.raises(ValueError, match=r"^reactions: "):
        Catalogue(reactions)


@pytest.mark.parametrize(
    "types",
    [
        [],
        [TargetType(name="comment")],
        [TargetType(name="post"), TargetType(name="Photo")],
        [TargetType(name="post"), TargetType(name="photo\n")],
        [TargetType(name="post", reactions=("like", "meh"))],
        [TargetType(name="post"), TargetType(name="post", access="granted")],
    ],
)
def test_types_that_contradict_the_catalogue_are_refused(types: Sequence[TargetType]) -> None:
    with pytest.raises(ValueError, match=r"^types: "):
        Catalogue(types=types)


def test_a_code_is_found_by_name_for_retired_reactions_too() -> None:
    catalogue = Catalogue([reaction(1, "like"), reaction(7, "boo", retired=True)])
    assert (catalogue.code("like"), catalogue.code("boo")) == (1, 7)


@pytest.mark.parametrize("name", ["", "LIKE", "like ", "like\n", "1", "none"])
def test_an_unknown_reaction_is_refused_with_its_field_and_the_known_names(name: str) -> None:
    with pytest.raises(Invalid, match="like, love, haha, wow, sad, angry") as refusal:
        Catalogue().code(name, "type")
    assert (refusal.value.code, refusal.value.field) == ("unknown_reaction", "type")


def test_an_unknown_target_type_is_refused_with_its_field() -> None:
    assert Catalogue().target_type("comment").name == "comment"
    with pytest.raises(Invalid, match="post, comment, message") as refusal:
        Catalogue().target_type("photo")
    assert (refusal.value.code, refusal.value.field) == ("unknown_target_type", "target_type")


def test_a_mask_has_one_bit_per_name_however_often_it_is_named() -> None:
    assert Catalogue().mask([]) == 0
    assert Catalogue().mask(["like", "sad", "like"]) == 1 << 1 | 1 << 5
    with pytest.raises(Invalid) as refusal:
        Catalogue().mask(["like", "meh"])
    assert (refusal.value.code, refusal.value.field) == ("unknown_reaction", "allowed")


def test_the_targets_own_list_replaces_its_types_and_never_brings_back_what_is_retired() -> None:
    catalogue = Catalogue(
        [reaction(1, "like"), reaction(2, "love"), reaction(3, "boo", retired=True)],
        [
            TargetType(name="post"),
            TargetType(name="note", reactions=("like",)),
            TargetType(name="mute", reactions=()),
        ],
    )
    like, love, boo = 1 << 1, 1 << 2, 1 << 3
    everything = Registration(type="note", allowed=like | love | boo | 1 << 14)
    assert catalogue.allowed("post", None) == like | love
    assert catalogue.allowed("note", None) == like
    assert catalogue.allowed("mute", None) == 0
    assert catalogue.allowed("note", Registration(type="note")) == like
    assert catalogue.allowed("note", everything) == like | love
    assert catalogue.allowed("note", Registration(type="note", allowed=0)) == 0


def test_nothing_is_allowed_on_a_type_that_is_no_longer_configured() -> None:
    assert Catalogue().allowed("photo", None) == 0


def test_messages_and_forgotten_types_need_a_grant() -> None:
    catalogue = Catalogue()
    assert {name: catalogue.needs_grant(name) for name in ("post", "comment", "message", "photo", "")} == {
        "post": False,
        "comment": False,
        "message": True,
        "photo": True,
        "": True,
    }
