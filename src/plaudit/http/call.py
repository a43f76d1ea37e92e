"""How a call is described: a row of the tables in `calls`."""

from typing import Literal, NamedTuple

Method = Literal["get", "post", "put", "delete"]
Access = Literal["user", "public", "service", "nobody"]


class Answer(NamedTuple):
    """One answer that is not a problem. `schema` is the name of a component; None: text, or nothing at all."""

    status: int
    description: str
    schema: str | None = None
    headers: tuple[str, ...] = ("CacheControl",)
    media: str | None = "application/json"


class Call(NamedTuple):
    """One call. `access`: a user's token, none for what is public, the host app's token, or no authentication."""

    id: str
    method: Method
    path: str
    tag: str
    access: Access
    summary: str
    description: str
    answers: tuple[Answer, ...]
    codes: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    body: str | None = None
