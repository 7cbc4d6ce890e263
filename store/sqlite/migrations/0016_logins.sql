-- +goose Up

-- How identity providers call users. One login is one user's.
CREATE TABLE login (
    user    INTEGER NOT NULL REFERENCES user (n),
    k       INTEGER NOT NULL CHECK (k >= 1), -- counts a user's
    issuer  TEXT    NOT NULL,
    claim   TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    PRIMARY KEY (user, k),
    UNIQUE (issuer, claim, subject)
) STRICT, WITHOUT ROWID;
