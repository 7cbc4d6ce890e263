-- +goose Up

-- A command on many devices is written out in groups: what is not yet is a
-- list of handles, packed as varints of the differences.
CREATE TABLE pending (
    command INTEGER NOT NULL REFERENCES command (n),
    k       INTEGER NOT NULL,
    handles BLOB    NOT NULL,
    PRIMARY KEY (command, k)
) STRICT, WITHOUT ROWID;

-- Devices that had no room for a command on many.
CREATE TABLE refused (
    command INTEGER NOT NULL REFERENCES command (n),
    device  INTEGER NOT NULL REFERENCES device (handle),
    code    TEXT    NOT NULL,
    PRIMARY KEY (command, device)
) STRICT, WITHOUT ROWID;

-- What was answered to requests that bore an idempotency key.
CREATE TABLE answer (
    key     BLOB    PRIMARY KEY CHECK (length(key) = 32), -- of user, route and the client's key
    request BLOB    NOT NULL CHECK (length(request) = 32), -- digest of what was asked
    at      INTEGER NOT NULL,
    body    BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
