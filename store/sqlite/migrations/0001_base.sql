-- +goose Up

-- "BHST": whose file this is. Another program's database is refused.
PRAGMA application_id = 1112036180;

-- Facts of the store as a whole: epoch, base, barrier, genesis.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (name, value) VALUES
    ('epoch', 1),                   -- grows with each restore
    ('base', 0),                    -- what device.NextSeq starts from; grows with each restore
    ('barrier', 0),                 -- grows with each commit whose outcome was unknown
    ('genesis', randomblob(32));    -- what the log's first hash is chained to

CREATE TABLE device (
    handle       INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, whatever is deleted
    name         TEXT    NOT NULL UNIQUE,
    version      INTEGER NOT NULL,
    last_seq     INTEGER NOT NULL,
    reported_seq INTEGER NOT NULL,
    seen_at      INTEGER,                           -- all times are milliseconds since 1970
    registered_at INTEGER,                          -- NULL: it is not registered
    lifetime     INTEGER,                           -- all durations are milliseconds
    win          INTEGER,
    observed_at  INTEGER,                           -- NULL: it does not observe
    remote       BLOB,
    local        BLOB,
    token        BLOB,
    block_size   INTEGER,
    suspended    INTEGER,
    ack_timeout  INTEGER,
    awake        INTEGER,
    created_at   INTEGER,
    removed_at   INTEGER,
    labels       TEXT,                              -- JSON object; NULL: none
    params       TEXT,                              -- likewise
    links        TEXT
) STRICT;

-- What commands have in common: type, policy and clocks, except the two
-- clocks that a command may set for itself. Rows never change, so a command
-- keeps what it was issued with whatever becomes of types and defaults.
CREATE TABLE kind (
    n            INTEGER PRIMARY KEY,
    type         TEXT    NOT NULL,
    type_version INTEGER NOT NULL,
    terms        BLOB    NOT NULL,
    UNIQUE (type, type_version, terms)
) STRICT;

-- Who asks, by name.
CREATE TABLE who (
    n    INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- Commands and executions. A command on one device is one row: intent and
-- execution. A command on many is a row with the intent and no device, its
-- head, and a row per device with no intent.
CREATE TABLE command (
    n          INTEGER PRIMARY KEY,
    head       INTEGER REFERENCES command (n),  -- NULL: this row has an intent
    device     INTEGER REFERENCES device (handle), -- NULL: this row has no execution

    version    INTEGER,
    seq        INTEGER,                         -- NULL: not released
    state      INTEGER NOT NULL,                -- command.State; 0: no execution
    effect     INTEGER NOT NULL,
    settled    INTEGER NOT NULL,
    deadline   INTEGER,                         -- NULL: no clock runs
    course     BLOB,                            -- how it went: course.go
    report     BLOB,                            -- the last report that counted: report.go

    id         BLOB CHECK (length(id) = 16),
    kind       INTEGER REFERENCES kind (n),
    who        INTEGER REFERENCES who (n),
    created_at INTEGER,
    intent     BLOB,                            -- intent.go
    extra      TEXT,                            -- JSON: what few commands have; NULL: nothing

    CHECK ((head IS NULL) = (id IS NOT NULL)),
    CHECK (head IS NULL OR device IS NOT NULL),
    CHECK ((device IS NULL) = (state = 0))
) STRICT;

CREATE UNIQUE INDEX command_id ON command (id) WHERE id IS NOT NULL;
-- A device's numbers, and its history.
CREATE UNIQUE INDEX command_seq ON command (device, seq) WHERE device IS NOT NULL;
-- What is open; 8 is command.Succeeded, the first state that has ended.
CREATE INDEX command_open ON command (device) WHERE device IS NOT NULL AND state < 8;
CREATE INDEX command_deadline ON command (deadline) WHERE deadline IS NOT NULL;
-- The executions of a head, and its tally without touching a row.
CREATE INDEX command_head ON command (head, state, effect, settled) WHERE head IS NOT NULL;

-- Reports that a younger one replaced.
CREATE TABLE report (
    execution INTEGER NOT NULL REFERENCES command (n),
    k         INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    body      BLOB    NOT NULL,
    PRIMARY KEY (execution, k)
) STRICT, WITHOUT ROWID;

-- The log: a row per commit that had events, sealed in that commit.
CREATE TABLE log (
    n      INTEGER PRIMARY KEY, -- number of its first event; without a gap
    count  INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    events BLOB    NOT NULL,    -- event.go
    hash   BLOB    NOT NULL     -- SHA-256 of the hash before and all of this row
) STRICT;
