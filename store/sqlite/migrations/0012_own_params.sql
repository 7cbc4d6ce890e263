-- +goose Up

-- What a device that is pending has for itself: of a restore that was approved,
-- the value that it gets back.
CREATE TABLE own_params (
    command INTEGER NOT NULL REFERENCES command (n),
    device  INTEGER NOT NULL REFERENCES device (handle),
    params  BLOB,                               -- NULL: nobody knows a value
    PRIMARY KEY (command, device)
) STRICT, WITHOUT ROWID;
