-- Notifications. Times are microseconds UTC. Applied once, in one transaction; user_version says which were.

-- What is remembered of a target between events: `state` is plaudit.domain.windows.Watch, packed; `due` is when its
-- window ends, NULL where none is open; `version` goes up by one with every change.
CREATE TABLE watch (
    target    INTEGER PRIMARY KEY,      -- target.no
    version   INTEGER NOT NULL,
    due       INTEGER,
    forget_at INTEGER NOT NULL,
    state     BLOB NOT NULL
);

CREATE INDEX watch_due ON watch (due) WHERE due IS NOT NULL;
CREATE INDEX watch_forget ON watch (forget_at) WHERE due IS NULL;

-- The inbox. `id` is the collapse id, `split` a JSON array of [reaction code, how many], `sample` one of [user, code],
-- newest first. `read` is 1 once the owner has marked it.
CREATE TABLE notification (
    id     TEXT PRIMARY KEY,
    owner  TEXT NOT NULL,
    at     INTEGER NOT NULL,
    target TEXT NOT NULL,
    type   TEXT NOT NULL,
    title  TEXT,
    total  INTEGER NOT NULL,
    split  TEXT NOT NULL,
    sample TEXT NOT NULL,
    read   INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE INDEX inbox ON notification (owner, at, id);
CREATE INDEX inbox_unread ON notification (owner, at) WHERE read = 0;

-- Where a user's pushes go. `id` is a hash of kind and token; `more` is a JSON object of what the kind needs besides.
-- `suspect` counts how often in a row the provider doubted the token.
CREATE TABLE device (
    id            TEXT PRIMARY KEY,
    owner         TEXT NOT NULL,
    kind          TEXT NOT NULL,
    token         TEXT NOT NULL,
    more          TEXT NOT NULL,
    registered_at INTEGER NOT NULL,
    suspect       INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE INDEX device_owner ON device (owner, registered_at);

-- What an owner wishes of notifications, as JSON (plaudit.domain.quiet.Wishes); nobody has a line before they say so.
CREATE TABLE wish (
    owner  TEXT PRIMARY KEY,
    wishes TEXT NOT NULL
) WITHOUT ROWID;

-- Pushes on their way, and those that never arrived. `device` is '' for a channel that has none; `due` is when to try
-- next, NULL for a dead letter; `reason` is what came of the last try.
CREATE TABLE delivery (
    no         INTEGER PRIMARY KEY,
    message    TEXT NOT NULL,
    channel    TEXT NOT NULL,
    device     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    due        INTEGER,
    tries      INTEGER NOT NULL DEFAULT 0,
    reason     TEXT NOT NULL DEFAULT '',
    UNIQUE (message, channel, device)
);

CREATE INDEX delivery_due ON delivery (channel, due) WHERE due IS NOT NULL;
CREATE INDEX delivery_dead ON delivery (no) WHERE due IS NULL;
CREATE INDEX delivery_device ON delivery (device) WHERE device <> '';
