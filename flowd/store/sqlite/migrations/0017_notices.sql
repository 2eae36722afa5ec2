-- What notifiers tell people, and have told: the outbox. Written in the transaction of the outcome that it tells.

CREATE TABLE notices (
    seq           INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    notifier      TEXT    NOT NULL,                     -- by its name in the settings
    what          TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    root_seq      INTEGER,                              -- the tree whose further failures are counted in this one
    failures      INTEGER NOT NULL DEFAULT 1,
    told          TEXT    NOT NULL,                     -- JSON: what it tells, as it was then
    state         TEXT    NOT NULL DEFAULT 'waiting',   -- or sent, or failed: given up
    tries         INTEGER NOT NULL DEFAULT 0,
    first_try_ms  INTEGER,                              -- as due_ms, by the clock that waits go by
    due_ms        INTEGER NOT NULL DEFAULT 0,
    held_by       TEXT,                                 -- the host that sends it just now
    held_until_ms INTEGER NOT NULL DEFAULT 0,
    ended_at_ms   INTEGER,
    error         TEXT
) STRICT;
CREATE UNIQUE INDEX notices_of_tree ON notices (root_seq, notifier) WHERE root_seq IS NOT NULL;
CREATE INDEX notices_waiting ON notices (notifier, due_ms, seq) WHERE state = 'waiting';
CREATE INDEX notices_failed ON notices (seq) WHERE state = 'failed';
CREATE INDEX notices_ended ON notices (ended_at_ms) WHERE ended_at_ms IS NOT NULL;

-- Flows of which a notifier was told a failure, and no recovery since.

CREATE TABLE notice_troubles (
    notifier  TEXT    NOT NULL,
    flow_name TEXT    NOT NULL,
    since_ms  INTEGER NOT NULL,
    PRIMARY KEY (flow_name, notifier)
) STRICT, WITHOUT ROWID;
