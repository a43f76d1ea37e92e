"""The examples of the OpenAPI document: one story, told with the catalogue of this installation.

The host app registers post-42 and describes Alice and Bob, and ten people react. Then Alice and Bob do, Alice reads,
Bob takes his reaction back, and Erin is told that Alice likes her post. At last Alice is erased and the post deleted.
tests/integration/openapi/ plays the story and holds every answer against the one written here (times, cursors and ids
that are made up apart).
"""

from typing import Any, NamedTuple

from plaudit.domain.catalogue import DEFAULT_TYPE, Catalogue
from plaudit.domain.summary import others, summary_text
from plaudit.http.catalogue import catalogue_document

Json = dict[str, Any]

POST, OTHER_POST = "post-42", "post-43"
CROWD = 10
ALICE = {"id": "alice", "name": "Alice", "avatar_url": "/avatars/alice.png"}
BOB = {"id": "bob", "name": "Bob", "avatar_url": None}
JOB = "job_0b5d1c2f3a4e5d6c7b8a"
MESSAGE = "kJ4vTq0sXb8yLw2mPz6dRc9nHf3gUa1E"
DEVICE = "a849f25cc00401b74be34672848e2994"
ALICE_AT = "2026-03-14T15:09:26.535897Z"
BOB_AT = "2026-03-14T15:10:02.718281Z"
ERASED_NOTE = (
    "Reactions, profile, inbox, devices and notification settings are gone. What is left: the mark that keeps this id "
    "erased, the owner of targets until the host app registers or deletes those (in the cluster a former one until it "
    "deletes them, and for a day the id among those of whom owners are not told again), this receipt for 30 days, "
    "events until every consumer has read them (in the cluster as long as the log keeps them, 7 days), room in the "
    "files of the stores until it is used again, and backups until they expire."
)
CURSOR = "m0fQ1f0pYyUABk0tqEjXGWJvYg"


class Example(NamedTuple):
    """What is sent to one call, and what it answers."""

    answer: Json
    body: Json | None = None


class Story:
    """The examples by call id."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._names = catalogue.given(DEFAULT_TYPE) or [r.name for r in catalogue.reactions]
        self.first = self._names[0]
        self.second = self._names[min(1, len(self._names) - 1)]

    def examples(self) -> dict[str, Example]:
        """Every example by the id of its call."""
        return {**self._told(), **self._tapped(), **self._read(), **self._notified(), **self._removed()}

    def webhook(self) -> Json:
        """What the host app's receiver is sent of the message that Erin gets."""
        told = self._message()
        data = {
            "id": told["id"],
            "user_id": "erin",
            "target_id": told["target_id"],
            "target_type": told["target_type"],
            "target_title": told["title"],
            "title": "New reactions",
            "text": told["text"],
            "locale": "en",
            "total": told["total"],
            "reactions": told["reactions"],
            "sample": told["sample"],
            "others": 0,
        }
        return {"type": "notification.created", "timestamp": told["at"], "data": data}

    def _told(self) -> dict[str, Example]:
        target: Json = {"owner_id": "dan", "target_type": DEFAULT_TYPE, "title": "Sunset over the harbour"}
        user = {
            "name": "Alice",
            "avatar_url": ALICE["avatar_url"],
            "locale": "en",
            "time_zone": "Europe/Paris",
        }
        registered = {"target_id": POST, **target, "closed": False, "allowed": None, "version": 1}
        return {
            "register_target": Example(registered, target),
            "registration": Example(registered),
            "describe_user": Example({"user_id": "alice", **user}, user),
        }

    def _tapped(self) -> dict[str, Example]:
        version = 1 + CROWD
        gave = {"target_id": POST, "reaction_type": self.first}
        switched = {"target_id": POST, "reaction_type": self.second}
        return {
            "toggle": Example(
                self._tap(self.first, None, "created", self._counts(CROWD + 1, 0, version + 1)), gave
            ),
            "set": Example(self._tap(self.second, None, "created", self._now()), switched),
            "remove": Example(
                self._tap(None, self.second, "removed", self._counts(CROWD + 1, 0, version + 3))
            ),
        }

    def _tap(self, reaction: str | None, previous: str | None, outcome: str, counts: Json) -> Json:
        return {
            "target_id": POST,
            "reaction": reaction,
            "previous": previous,
            "outcome": outcome,
            "counts": counts,
            "route": POST,
        }

    def _counts(self, first: int, second: int, version: int) -> Json:
        reactions = dict.fromkeys(self._names, 0)
        reactions[self.first] += first
        reactions[self.second] += second
        return {"total": first + second, "reactions": reactions, "version": version, "lanes": 1}

    def _now(self) -> Json:
        """The counts while everybody reads: the crowd and Alice gave one reaction, Bob another."""
        return self._counts(CROWD + 1, 1, CROWD + 3)

    def _read(self) -> dict[str, Example]:
        degraded = {"degraded": False}
        item, nothing = self._item(), self._nothing()
        feed = Example({"targets": {POST: item, OTHER_POST: nothing}, **degraded})
        mine = Example({"reactions": {POST: self.first, OTHER_POST: None}, **degraded})
        both = {"target_ids": [POST, OTHER_POST]}
        counts = {POST: item["counts"], OTHER_POST: nothing["counts"]}
        bob = {"user": BOB, "reaction": self.second, "reacted_at": BOB_AT}
        alice = {"user": ALICE, "reaction": self.first, "reacted_at": ALICE_AT}
        reacted = {"target_id": POST, "reaction": self.first, "reacted_at": ALICE_AT}
        return {
            "catalogue": Example(catalogue_document(self._catalogue)),
            "counts": Example({"counts": counts, **degraded}),
            "feed": feed,
            "feed_by_body": feed._replace(body=both),
            "mine": mine,
            "mine_by_body": mine._replace(body=both),
            "one": Example({"target_id": POST, **item, **degraded}),
            "reactors": Example({"reactors": [bob, alice], "next_cursor": CURSOR, "total": CROWD + 2}),
            "reacted": Example({"reactions": [reacted], "next_cursor": None}),
        }

    def _item(self) -> Json:
        """The post as Alice sees it."""
        total, names = CROWD + 2, ["Bob", "Alice", "user-10"]
        same = self.first == self.second == "like"
        sample = [BOB, ALICE, {"id": "user-10", "name": "user-10", "avatar_url": None}]
        text = summary_text(names, total, all_likes=same)
        summary = {"text": text, "sample": sample, "others": others(names, total)}
        return {
            "counts": self._now(),
            "reaction": self.first,
            "summary": summary,
            "closed": False,
            "route": POST,
        }

    def _nothing(self) -> Json:
        summary = {"text": "", "sample": [], "others": 0}
        counts = self._counts(0, 0, 0)
        return {"counts": counts, "reaction": None, "summary": summary, "closed": False, "route": OTHER_POST}

    def _message(self) -> Json:
        """What Erin is told, whose post-43 Alice reacted to."""
        return {
            "id": MESSAGE,
            "target_id": OTHER_POST,
            "target_type": DEFAULT_TYPE,
            "title": "Rain over the harbour",
            "text": f"Alice {'liked' if self.first == 'like' else 'reacted to'} your post “Rain over the harbour”",
            "total": 1,
            "reactions": {self.first: 1},
            "sample": [ALICE],
            "at": "2026-03-14T15:10:26.535897Z",
            "read": False,
        }

    def _notified(self) -> dict[str, Example]:
        """What Erin asks and answers."""
        message = self._message()
        wished: Json = {
            "enabled": True,
            "quiet_hours": {"start": "22:00", "end": "07:00"},
            "muted_targets": [POST],
        }
        token = "fNbLcF8kQyU:APA91bHqL2xvYvR3mBqkQ"  # noqa: S105 - a made-up device
        device = {"device_id": DEVICE, "kind": "fcm", "registered_at": BOB_AT}
        return {
            "notifications": Example({"notifications": [message], "unread": 1, "next_cursor": None}),
            "read_notifications": Example({"unread": 1}, {"ids": ["hNaFy5kQ0Jw3o8zVt2rXb6mLc4sDgP1e"]}),
            "set_notification_settings": Example(wished, wished),
            "notification_settings": Example(wished),
            "add_device": Example(device, {"kind": "fcm", "token": token}),
            "remove_device": Example({"removed": False}),
        }

    def _removed(self) -> dict[str, Example]:
        started: Json = {
            "job_id": JOB,
            "kind": "erase_user",
            "subject": "alice",
            "state": "running",
            "created_at": BOB_AT,
            "finished_at": None,
            "removed": {},
            "note": "",
        }
        done = {"state": "done", "finished_at": "2026-03-14T15:10:02.761803Z", "removed": {"rows": 1}}
        return {
            "erase_user": Example(started),
            "delete_target": Example({**started, "kind": "delete_target", "subject": POST}),
            "job": Example({**started, **done, "note": ERASED_NOTE}),
        }
