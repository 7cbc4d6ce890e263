-- +goose Up

-- Commands that are being removed in more than one commit. Nobody is shown
-- them any more: half of a fleet would tell another outcome.
CREATE TABLE going (
    command INTEGER PRIMARY KEY REFERENCES command (n)
) STRICT;

-- The log up to event n is gone: what goes on from there is chained to hash,
-- and the signature says that the chain was whole up to there. One row or
-- none.
CREATE TABLE checkpoint (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    n         INTEGER NOT NULL, -- of the last event that is gone
    epoch     INTEGER NOT NULL,
    at        INTEGER NOT NULL, -- when it was sealed
    hash      BLOB    NOT NULL CHECK (length(hash) = 32),
    signed_at INTEGER NOT NULL,
    key       BLOB    NOT NULL CHECK (length(key) = 32), -- Ed25519
    signature BLOB    NOT NULL CHECK (length(signature) = 64)
) STRICT;

-- Commands that were over before then may have been removed. 0: none was.
INSERT INTO meta (name, value) VALUES ('removed', 0);

-- An answer is kept as long as one of the commands that it is about, whose
-- rows are those from first to last. NULL: it is about none that is known.
ALTER TABLE answer ADD COLUMN first INTEGER;
ALTER TABLE answer ADD COLUMN last INTEGER;
CREATE INDEX answer_at ON answer (at);
