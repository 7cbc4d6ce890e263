-- +goose Up

-- Command types: a row per version. Rows never change, except that live ends.
CREATE TABLE type (
    n          INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    version    INTEGER NOT NULL CHECK (version >= 1), -- of a name, without a gap
    live       INTEGER NOT NULL CHECK (live IN (0, 1)), -- 1: the youngest of its name, and not retired
    wire_code  INTEGER CHECK (wire_code BETWEEN 1 AND 65535), -- NULL: the name goes on the wire
    who        INTEGER REFERENCES who (n),
    created_at INTEGER NOT NULL,
    rules      BLOB    NOT NULL,                      -- type.go
    UNIQUE (name, version)
) STRICT;

-- The list of what can be issued.
CREATE UNIQUE INDEX type_live ON type (name) WHERE live = 1;
-- A device must not have to guess what a number means.
CREATE UNIQUE INDEX type_wire_code ON type (wire_code) WHERE live = 1 AND wire_code IS NOT NULL;
