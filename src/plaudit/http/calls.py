"""Every call of the API as a table: what the OpenAPI document and the docs page are made from.

`codes` lists the stable error codes that this very call can answer, and no other. A new call of `hot`, `routes` or
`pages` gets a row here; tests/integration/openapi/ fails without it.
"""

from plaudit.http.call import Answer, Call
from plaudit.http.catalogue import CATALOGUE
from plaudit.http.hot import COUNTS, TAP
from plaudit.http.notification_calls import NOTIFICATION_CALLS
from plaudit.http.stream import STREAM

TAGS = {
    "React": "Taps: what a user does. The answer comes when the tap is on disk.",
    "Read": "Counts, summaries, lists, and the user's own reactions.",
    "Notifications": "What the user was told, what they wish to be told, and where it is pushed to.",
    "Host app": "What the app around Plaudit tells it. These take a token with the scope `service`.",
    "Operate": "Health, metrics and this description. No token, no error codes.",
}

_TOKEN = ("duplicate_header", "token_missing", "token_invalid", "token_expired")
_ACTING = ("scope_missing", "invalid_user_id")
_QUERY = ("unknown_parameter", "invalid_parameter")
_BODY = (
    *("invalid_json", "body_too_large", "unsupported_media_type", "duplicate_field"),
    *("unknown_field", "invalid_field"),
)
_ANY = ("internal", "unavailable")

_TAP = (
    *_TOKEN,
    *_ACTING,
    *_QUERY,
    *("missing_parameter", "invalid_idempotency_key", "invalid_target_id", "rate_limited"),
    *(
        "target_not_granted",
        "user_erased",
        "target_not_registered",
        "target_deleted",
        "idempotency_key_reused",
    ),
    *_ANY,
    *("overloaded", "deadline", "outcome_unknown"),
)
_GIVE = (
    *_TAP,
    *_BODY,
    *("missing_field", "unknown_reaction", "unknown_target_type", "target_type_mismatch"),
    *("target_closed", "reaction_not_allowed"),
)
_TARGET_IDS = ("missing_parameter", "invalid_target_id", "too_many_targets", "repeated_target")
_SEEN = (*_TOKEN, "target_not_granted", *_QUERY, *_ANY, "overloaded")
_SERVICE = (*_TOKEN, "scope_missing", *_QUERY, *_ANY, "overloaded")
_WRITTEN = ("deadline", "outcome_unknown")

_TAP_PARAMETERS = ("IdempotencyKey", "PlauditUser", "PlauditRoute")
_READ_PARAMETERS = ("PlauditUser", "PlauditRoute")
_TAPPED = (Answer(200, "The tap is stored.", "Tap", ("CacheControl", "IdempotencyReplayed")),)

_REACT = (
    Call(
        *("toggle", "post", TAP, "React", "user", "Toggle a reaction"),
        "Gives the reaction, switches to it, or removes it if the user has it already: what a button does. Send an "
        "`Idempotency-Key`, because the same toggle twice is none; with a key it can be repeated safely.\n\n"
        "The counts in the answer contain this very tap.",
        _TAPPED,
        _GIVE,
        _TAP_PARAMETERS,
        "Toggle",
    ),
    Call(
        *("set", "put", TAP, "React", "user", "Set or remove a reaction"),
        "Gives this reaction, or with null removes any. The same again changes nothing, so it may be repeated at "
        "will: the call for apps.",
        _TAPPED,
        _GIVE,
        _TAP_PARAMETERS,
        "Wish",
    ),
    Call(
        *("remove", "delete", TAP, "React", "user", "Remove a reaction"),
        "Removes the user's reaction, whichever it is. Works on a closed target too.",
        _TAPPED,
        _TAP,
        ("OneTargetId", *_TAP_PARAMETERS),
    ),
)

_FEED = (*_SEEN, *_ACTING, *_TARGET_IDS)
_FED = (Answer(200, "The targets.", "FeedAnswer"),)
_FEED_TEXT = (
    "Everything that is shown beside up to 100 targets: counts, the summary, and with a user their own reaction. "
    "It costs the same number of reads however many targets. Public targets need no token."
)
_MINE = (*_FEED,)
_MINE_TEXT = "The user's own reaction on up to 100 targets, null for none: for counts that come from a cache."
_MY_ANSWER = (Answer(200, "The reactions.", "MineAnswer"),)
_COUNTED = ("ETag", "CacheControl")

_READ = (
    Call(
        *("catalogue", "get", CATALOGUE, "Read", "public", "The catalogue"),
        "Which reactions there are and where each may be given. The same for everyone; it changes only with the "
        "settings, so it may be kept for minutes.",
        (
            Answer(200, "The catalogue.", "CatalogueAnswer", _COUNTED),
            Answer(304, "Nothing has changed since that `ETag`.", None, _COUNTED, None),
        ),
        (*_QUERY, "internal"),
        ("IfNoneMatch",),
    ),
    Call(
        *("counts", "get", COUNTS, "Read", "public", "Counts of targets"),
        "Of up to 100 targets. The cheapest call: no token for public targets, the same answer for everyone, and an "
        "`ETag`. A token that is sent has to be good, also where none is needed.",
        (
            Answer(200, "The counts.", "CountsAnswer", _COUNTED),
            Answer(304, "Nothing has changed since that `ETag`.", None, _COUNTED, None),
        ),
        (*_SEEN, *_TARGET_IDS),
        ("TargetIds", "IfNoneMatch", "PlauditRoute"),
    ),
    Call(
        *("stream", "get", STREAM, "Read", "public", "Changed counts, live"),
        "Server-Sent Events, for `EventSource` or whatever reads them. After `retry: 3000` comes `event: counts` whose "
        "`data` is that of the counts call: first of all targets asked for, then of those that have changed, a few "
        "times a second at most and always as they are at that moment. A comment line comes when there was nothing to "
        "tell for 15 s. A token that is sent has to be good; where one is needed, the stream ends with it. Come back "
        "when a stream ends: its first event tells all again.",
        (Answer(200, "The stream.", None, media="text/event-stream"),),
        (*_SEEN, *_TARGET_IDS),
        ("TargetIds",),
    ),
    Call(
        *("feed", "get", f"{TAP}/feed", "Read", "public", "A feed of targets"),
        _FEED_TEXT,
        _FED,
        _FEED,
        ("TargetIds", *_READ_PARAMETERS),
    ),
    Call(
        *("feed_by_body", "post", f"{TAP}/feed", "Read", "public", "A feed, ids in the body"),
        "The same, for lists of ids that are too long for an address.",
        _FED,
        (*_FEED, *_BODY, "missing_field"),
        _READ_PARAMETERS,
        "TargetList",
    ),
    Call(
        *("mine", "get", f"{TAP}/mine", "Read", "user", "My reactions"),
        _MINE_TEXT,
        _MY_ANSWER,
        _MINE,
        ("TargetIds", *_READ_PARAMETERS),
    ),
    Call(
        *("mine_by_body", "post", f"{TAP}/mine", "Read", "user", "My reactions, ids in the body"),
        "The same, for lists of ids that are too long for an address.",
        _MY_ANSWER,
        (*_MINE, *_BODY, "missing_field"),
        _READ_PARAMETERS,
        "TargetList",
    ),
    Call(
        *("one", "get", f"{TAP}/{{target_id}}", "Read", "public", "One target"),
        "A feed of one.",
        (Answer(200, "The target.", "TargetAnswer"),),
        (*_SEEN, *_ACTING, "invalid_target_id", "not_found"),
        ("TargetId", *_READ_PARAMETERS),
    ),
    Call(
        *("reactors", "get", f"{TAP}/{{target_id}}/reactors", "Read", "public", "Who reacted"),
        "Newest first. Pages neither skip nor repeat an entry that does not change meanwhile. `total` counts all "
        "reactors, or all with that reaction.",
        (Answer(200, "A page of reactors.", "ReactorsPage"),),
        (*_SEEN, *_ACTING, "invalid_target_id", "not_found", "invalid_cursor", "unknown_reaction"),
        ("TargetId", "ReactionFilter", "Cursor", "Limit", "PlauditUser"),
    ),
    Call(
        *("reacted", "get", "/api/v1/me/reactions", "Read", "user", "What I reacted to"),
        "The targets that the user has a reaction on, newest first.",
        (Answer(200, "A page of reactions.", "ReactedPage"),),
        (*_TOKEN, *_ACTING, "missing_parameter", *_QUERY, "invalid_cursor", *_ANY, "overloaded"),
        ("Cursor", "Limit", "PlauditUser"),
    ),
)

_DELETED = (Answer(202, "It has begun, or was under way already.", "Job", ("CacheControl", "Location")),)

_HOST_APP = (
    Call(
        *(
            "register_target",
            "put",
            "/api/v1/targets/{target_id}",
            "Host app",
            "service",
            "Register a target",
        ),
        "What is left out stays as it is, and null takes it away. A target that was not registered has the type of its "
        "reactions, or `post`, and nothing else. Needed for targets of types with `granted` access, "
        "to close a target, and to choose its reactions. A deleted target is there again, empty.",
        (Answer(200, "Stored.", "Target"),),
        (
            *_SERVICE,
            *_BODY,
            *("not_found", "invalid_target_id", "invalid_user_id", "unknown_reaction", "unknown_target_type"),
            *("deletion_in_progress", *_WRITTEN),
        ),
        ("TargetId",),
        "TargetDescription",
    ),
    Call(
        *(
            "registration",
            "get",
            "/api/v1/targets/{target_id}",
            "Host app",
            "service",
            "How a target is registered",
        ),
        "As the last registration left it. `version` is that of its counts.",
        (Answer(200, "The registration.", "Target"),),
        (*_SERVICE, "not_found", "invalid_target_id", "target_not_registered"),
        ("TargetId",),
    ),
    Call(
        *("delete_target", "delete", "/api/v1/targets/{target_id}", "Host app", "service", "Delete a target"),
        "From now on its counts are 0 and taps on it are refused. Its reactions are removed in the background, and "
        "what owners were told of it, in inboxes and where it is still to be pushed. The receipt says what is left. "
        "In the cluster it comes some two minutes later, when nobody can tell anything more of it; the target can be "
        "registered again as soon as its reactions are gone.",
        _DELETED,
        (*_SERVICE, "not_found", "invalid_target_id", *_WRITTEN),
        ("TargetId",),
    ),
    Call(
        *("describe_user", "put", "/api/v1/users/{user_id}", "Host app", "service", "Describe a user"),
        "How a user is shown to others. Replaces the whole description.",
        (Answer(200, "Stored.", "Profile"),),
        (*_SERVICE, *_BODY, "not_found", "invalid_user_id", "user_erased", *_WRITTEN),
        ("UserId",),
        "UserDescription",
    ),
    Call(
        *("erase_user", "delete", "/api/v1/users/{user_id}", "Host app", "service", "Erase a user"),
        "For good: the id is never used again. Their taps are refused from now on, their profile is gone, and "
        "their reactions are removed in the background.",
        _DELETED,
        (*_SERVICE, "not_found", "invalid_user_id", *_WRITTEN),
        ("UserId",),
    ),
    Call(
        *("job", "get", "/api/v1/jobs/{job_id}", "Host app", "service", "Progress and receipt"),
        "Ask again until `state` is `done`; from then on it is the receipt, which is kept for 30 days.",
        (Answer(200, "The job.", "Job"),),
        (*_SERVICE, "not_found", "job_not_found"),
        ("JobId",),
    ),
)


def _page(path: str, summary: str, description: str, media: str, *more: Answer) -> Call:
    """A page that is not counted, needs no token and has no error codes; its address is its name."""
    id_ = path[1:].removesuffix(".json")
    answer = Answer(200, summary, None, (), media)
    return Call(id_, "get", path, "Operate", "nobody", summary, description, (answer, *more))


_OPERATE = (
    _page(
        "/healthz", "Alive", "Answers as long as the process runs. Restart it if it does not.", "text/plain"
    ),
    _page(
        *(
            "/readyz",
            "Ready",
            "Whether this process should get traffic now. The text says why not.",
            "text/plain",
        ),
        Answer(503, "Not now: it is stopping, or cannot write.", None, (), "text/plain"),
    ),
    _page("/metrics", "Metrics", "In the Prometheus text format; see docs/metrics.md.", "text/plain"),
    _page(
        "/openapi.json",
        "This description",
        "OpenAPI 3.1, with this installation's catalogue.",
        "application/json",
    ),
    _page("/docs", "The docs page", "This description for people.", "text/html"),
)

CALLS = (*_REACT, *_READ, *NOTIFICATION_CALLS, *_HOST_APP, *_OPERATE)
