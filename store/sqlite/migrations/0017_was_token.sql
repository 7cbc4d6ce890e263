-- +goose Up

-- The token of the observation that was replaced: over plain UDP it tells who
-- comes back with it from a device that observes anew.
ALTER TABLE device ADD COLUMN was_token BLOB;
