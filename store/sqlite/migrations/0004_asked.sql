-- +goose Up

-- Targets as they were asked for, of commands on many devices. A list of
-- 100,000 names is not read with each of its 100,000 executions.
CREATE TABLE asked (
    command INTEGER PRIMARY KEY REFERENCES command (n),
    targets TEXT NOT NULL                       -- JSON
) STRICT;

INSERT INTO asked (command, targets)
    SELECT n, json_extract(extra, '$.targets') FROM command WHERE json_extract(extra, '$.targets') IS NOT NULL;
UPDATE command SET extra = nullif(json_remove(extra, '$.targets'), '{}') WHERE json_extract(extra, '$.targets') IS NOT NULL;
