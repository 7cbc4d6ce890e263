-- +goose Up

-- Over DTLS an endpoint is a session: of the observation, and of the one that it
-- replaced. A session's number is good for one life of the server.
ALTER TABLE device ADD COLUMN session INTEGER;          -- NULL: plain UDP
ALTER TABLE device ADD COLUMN secured INTEGER;          -- its registration was made over one
ALTER TABLE device ADD COLUMN was_remote BLOB;          -- where it observed before
ALTER TABLE device ADD COLUMN was_session INTEGER;
