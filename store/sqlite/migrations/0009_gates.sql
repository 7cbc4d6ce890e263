-- +goose Up

-- The executions that set a slot, command.Slot, of a device. Few commands have
-- one, and the others pay nothing for it.
CREATE TABLE slot (
    device    INTEGER NOT NULL REFERENCES device (handle),
    slot      INTEGER NOT NULL,
    execution INTEGER NOT NULL REFERENCES command (n),
    PRIMARY KEY (device, slot, execution)
) STRICT, WITHOUT ROWID;
-- What is removed is looked for in every table that refers to it.
CREATE INDEX slot_execution ON slot (execution);

-- The execution of a head on a device.
CREATE INDEX command_of ON command (head, device) WHERE head IS NOT NULL;
-- Those on one device that wait for an approval; 1 is command.AwaitingApproval.
CREATE INDEX command_awaiting ON command (state) WHERE state = 1 AND head IS NULL;

-- What holds back the rest of a command on many devices, until it is done.
CREATE TABLE gate (
    command INTEGER PRIMARY KEY REFERENCES command (n),
    version INTEGER NOT NULL,
    look    INTEGER,                            -- when to ask it again; NULL: not by time
    body    TEXT    NOT NULL                    -- JSON: gate.go
) STRICT;
CREATE INDEX gate_look ON gate (look) WHERE look IS NOT NULL;

-- What people said of a command, in the order of k.
CREATE TABLE decision (
    command INTEGER NOT NULL REFERENCES command (n),
    k       INTEGER NOT NULL,
    who     INTEGER NOT NULL REFERENCES who (n),
    approve INTEGER NOT NULL CHECK (approve IN (0, 1)),
    comment TEXT,
    at      INTEGER NOT NULL,
    digest  BLOB    NOT NULL CHECK (length(digest) = 32), -- of what was decided on
    PRIMARY KEY (command, k),
    UNIQUE (command, who)                       -- one word each
) STRICT, WITHOUT ROWID;

-- Which command undoes which.
CREATE TABLE rollback (
    original INTEGER NOT NULL REFERENCES command (n),
    command  INTEGER NOT NULL UNIQUE REFERENCES command (n),
    PRIMARY KEY (original, command)
) STRICT, WITHOUT ROWID;

-- Selectors with a name.
CREATE TABLE device_group (
    name       TEXT    PRIMARY KEY,
    version    INTEGER NOT NULL,
    selector   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    who        INTEGER REFERENCES who (n)
) STRICT, WITHOUT ROWID;
