-- +goose Up

-- A device's numbers, and what it was sent. What was not sent is not among it:
-- a command on many devices would change a page for each of them, at once and
-- again when it is sent.
DROP INDEX command_seq;
CREATE UNIQUE INDEX command_seq ON command (device, seq) WHERE seq IS NOT NULL;
-- What ended without being sent; 8 is command.Succeeded. Together with
-- command_open they are a device's history.
CREATE INDEX command_unsent ON command (device) WHERE seq IS NULL AND state >= 8;
