-- +goose Up

-- What the server made of an execution when it was accepted, with a key that is
-- not in this file. NULL: it was accepted without one.
ALTER TABLE command ADD COLUMN seal BLOB;
