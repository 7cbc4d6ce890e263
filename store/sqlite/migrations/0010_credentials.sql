-- +goose Up

-- How devices prove themselves. What is secret is sealed: package vault.
CREATE TABLE credential (
    device     INTEGER NOT NULL REFERENCES device (handle),
    n          INTEGER NOT NULL CHECK (n >= 1),     -- counts a device's
    kind       INTEGER NOT NULL CHECK (kind IN (1, 2)), -- device.CredentialKind
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    key        INTEGER CHECK (key >= 1),            -- version of the key that it is sealed with
    seal       BLOB,                                -- NULL: it was revoked
    created_at INTEGER NOT NULL,
    who        INTEGER REFERENCES who (n),          -- who made it
    expires_at INTEGER,                             -- NULL: never
    used_at    INTEGER,                             -- to the hour or so; NULL: never
    revoked_at INTEGER,                             -- NULL: it counts
    revoked_by INTEGER REFERENCES who (n),
    CHECK ((seal IS NULL) = (key IS NULL)),
    CHECK ((seal IS NULL) = (revoked_at IS NOT NULL)),
    PRIMARY KEY (device, n)
) STRICT, WITHOUT ROWID;

-- A secret is one device's, once.
CREATE UNIQUE INDEX credential_digest ON credential (digest);
-- What is to be sealed anew.
CREATE INDEX credential_key ON credential (key) WHERE key IS NOT NULL;

-- The key of the digests, sealed like the rest. A row, once there is a credential.
CREATE TABLE digest_key (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    key  INTEGER NOT NULL CHECK (key >= 1),
    seal BLOB    NOT NULL
) STRICT;
