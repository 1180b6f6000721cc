-- One row: the last record of the redo log that is written here.
CREATE TABLE redo (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    applied INTEGER NOT NULL
) STRICT;

INSERT INTO redo VALUES (1, 0);
