-- +goose Up

-- Webhooks. The columns up to changed_by are what operators change, under a
-- version; those after it move with the log, under none.
CREATE TABLE webhook (
    n             INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: what comes late is not another's
    id            TEXT    NOT NULL UNIQUE,
    version       INTEGER NOT NULL CHECK (version >= 1),
    url           TEXT    NOT NULL,
    types         TEXT,                              -- JSON array; NULL: all
    allow_private INTEGER NOT NULL CHECK (allow_private IN (0, 1)),
    reason        TEXT,                              -- why it is disabled; NULL: it is not
    salt          BLOB    NOT NULL CHECK (length(salt) = 16),
    generation    INTEGER NOT NULL CHECK (generation >= 1),
    rotated_at    INTEGER,
    created_at    INTEGER NOT NULL,
    created_by    INTEGER REFERENCES who (n),
    changed_at    INTEGER NOT NULL,
    changed_by    INTEGER REFERENCES who (n),

    epoch         INTEGER NOT NULL,                  -- its place in the log: after this event
    place         INTEGER NOT NULL,
    delivered     INTEGER NOT NULL,
    given_up      INTEGER NOT NULL,
    taken_at      INTEGER
) STRICT;

-- Deliveries that failed, or that somebody wished again. What a hook took at
-- once has no row.
CREATE TABLE delivery (
    hook     INTEGER NOT NULL REFERENCES webhook (n),
    n        INTEGER NOT NULL,                       -- the event's number
    epoch    INTEGER NOT NULL,
    type     TEXT    NOT NULL,
    state    INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3), -- command.DeliveryState
    attempts INTEGER NOT NULL,
    status   INTEGER,                                -- of the last answer; NULL: there was none
    error    TEXT,
    first_at INTEGER NOT NULL,
    last_at  INTEGER,
    next_at  INTEGER,                                -- NULL: it is over
    asked_by INTEGER REFERENCES who (n),

    CHECK ((state = 1) = (next_at IS NOT NULL)),
    PRIMARY KEY (hook, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_due ON delivery (hook, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX delivery_over ON delivery (hook, n) WHERE next_at IS NULL;
