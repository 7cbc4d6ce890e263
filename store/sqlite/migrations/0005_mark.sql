-- +goose Up

-- The latest time that a run of the server is known to have reached. A store
-- that has been in use has reached the end of its log. 0: none is known.
INSERT INTO meta (name, value)
    VALUES ('mark', coalesce((SELECT at FROM log ORDER BY n DESC LIMIT 1), 0));
