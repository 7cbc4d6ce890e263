-- +goose Up

-- People, and programs that act like them.
CREATE TABLE user (
    n          INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    version    INTEGER NOT NULL CHECK (version >= 1),
    disabled   INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    about      TEXT    NOT NULL,                -- JSON: user.go
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    who        INTEGER REFERENCES who (n)       -- who changed it
) STRICT;

-- Tokens: what recognises them, never what uses them.
CREATE TABLE token (
    user       INTEGER NOT NULL REFERENCES user (n),
    k          INTEGER NOT NULL CHECK (k >= 1), -- counts a user's
    id         TEXT    NOT NULL UNIQUE CHECK (length(id) = 8),
    hash       BLOB    NOT NULL CHECK (length(hash) = 32), -- SHA-256 of the secret
    note       TEXT,
    created_at INTEGER NOT NULL,
    who        INTEGER REFERENCES who (n),      -- who made it
    expires_at INTEGER,                         -- NULL: never
    used_at    INTEGER,                         -- to the hour or so; NULL: never
    revoked_at INTEGER,                         -- NULL: it works
    PRIMARY KEY (user, k)
) STRICT, WITHOUT ROWID;
