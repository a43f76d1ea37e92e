-- The first schema. Times are microseconds UTC. Applied once, in one transaction; user_version says which were.

-- One line per target: the header of its cell and what the host app registered.
-- `counts` is a JSON array indexed by reaction code - 1; `recent` one of [user, code], newest first, at most three.
CREATE TABLE target (
    no         INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    seq        INTEGER NOT NULL,
    type       TEXT NOT NULL,
    counts     TEXT NOT NULL,
    rows       INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    born       INTEGER NOT NULL,
    recent     TEXT NOT NULL,
    deleted    INTEGER NOT NULL,           -- 0 no, 1 purging, 2 purged
    registered INTEGER NOT NULL DEFAULT 0, -- 1: type is the registered one, and the rest of the line is meant
    owner      TEXT,
    title      TEXT,
    closed     INTEGER NOT NULL DEFAULT 0,
    allowed    INTEGER                     -- bit mask of reaction codes, NULL: those of the type
);

-- One row per user and target; rows stay when the reaction is removed (0). `age` = updated_at - created_at, which is 0
-- and takes no space for most. `ops` are the row's last operations (plaudit.domain.operations), NULL for none.
CREATE TABLE reaction_row (
    target     INTEGER NOT NULL,
    user       TEXT NOT NULL,
    reaction   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    age        INTEGER NOT NULL,
    ops        BLOB,
    PRIMARY KEY (target, user)
) WITHOUT ROWID;

-- Who reacted, newest first, by reaction. Partial, so that a removed reaction is not scanned over.
CREATE INDEX reactor ON reaction_row (target, reaction, created_at, user) WHERE reaction > 0;

-- What a user reacted to, newest first. Not partial: erasure has to find every row, and a toggle does not touch it.
CREATE INDEX reacted ON reaction_row (user, created_at, target);

-- How a user is shown. An erased user keeps only the mark.
CREATE TABLE user (
    id         TEXT PRIMARY KEY,
    name       TEXT,
    avatar_url TEXT,
    locale     TEXT,
    time_zone  TEXT,
    erased_at  INTEGER
) WITHOUT ROWID;

-- What commits published, in commit order, until every consumer has seen it. A line holds the events of a transaction:
-- how many, and their encoded bodies as a MessagePack array. An event's position is its line's no * 1024 + its index.
CREATE TABLE event (
    no     INTEGER PRIMARY KEY AUTOINCREMENT,
    events INTEGER NOT NULL,
    bodies BLOB NOT NULL
);

CREATE TABLE consumer (
    name     TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;

-- Deletions and erasures, and then their receipts. `removed` is a JSON object of counts.
CREATE TABLE job (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    state       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER,
    removed     TEXT NOT NULL,
    note        TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX job_subject ON job (kind, subject, created_at);
CREATE INDEX job_running ON job (created_at) WHERE state = 'running';
