-- +goose Up

-- What was sent, by number. Numbers follow the clock, so that those of one
-- command are neighbours, and a report finds the pages of the last one warm.
DROP INDEX command_seq;
CREATE UNIQUE INDEX command_seq ON command (seq, device) WHERE seq IS NOT NULL;
-- A device's history, in spans of 4,096 rows: what comes changes a dozen pages
-- again and again, not one for every device, however much is old. Who reads a
-- history looks into each span (history.go).
DROP INDEX command_unsent;
CREATE INDEX command_history ON command (n >> 12, device) WHERE device IS NOT NULL;
