-- Events, runs, attempts. `seq` is the order of acceptance; lists go by it, newest first.

CREATE TABLE events (
    seq           INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    type          TEXT    NOT NULL,
    source        TEXT,
    occurred_at   TEXT,
    received_at   TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    fingerprint   BLOB    NOT NULL,   -- of the content without receivedAt: duplicate or conflict
    body          TEXT    NOT NULL    -- the normalised event as JSON
) STRICT;
CREATE INDEX events_by_type ON events (type, seq);

-- Pinned step definitions, one row for all runs that share one.
CREATE TABLE definitions (
    id   TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    seq              INTEGER PRIMARY KEY,
    id               TEXT    NOT NULL UNIQUE,
    event_seq        INTEGER NOT NULL REFERENCES events (seq),
    definition_id    TEXT    NOT NULL REFERENCES definitions (id),
    flow_name        TEXT    NOT NULL,
    flow_version     ANY     NOT NULL,
    step_name        TEXT    NOT NULL,
    runner           TEXT    NOT NULL,
    package_hash     TEXT    NOT NULL,
    replay_of        TEXT,
    status           TEXT    NOT NULL,
    attempt_count    INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    not_before_ms    INTEGER NOT NULL DEFAULT 0,   -- a queued run waits until then
    created_at_ms    INTEGER NOT NULL,
    updated_at_ms    INTEGER NOT NULL,
    started_at_ms    INTEGER,
    completed_at_ms  INTEGER,
    reason           TEXT,
    exit_code        INTEGER,
    signal           INTEGER,
    result_status    TEXT,
    result           TEXT,                          -- JSON
    reported_status  TEXT,
    reported_result  TEXT,                          -- JSON
    error            TEXT
) STRICT;
CREATE INDEX runs_by_event ON runs (event_seq, seq);
CREATE INDEX runs_by_flow ON runs (flow_name, seq);
-- Partial: most runs are completed and in neither. SQLite uses them for literal statuses only.
CREATE INDEX runs_active ON runs (status, seq) WHERE status IN ('queued', 'running');
CREATE INDEX runs_ended_badly ON runs (status, seq) WHERE status IN ('failed', 'canceled');
CREATE INDEX runs_by_result ON runs (result_status, seq) WHERE result_status IS NOT NULL;

CREATE TABLE attempts (
    run_seq         INTEGER NOT NULL REFERENCES runs (seq),
    number          INTEGER NOT NULL,
    status          TEXT    NOT NULL,
    worker_id       TEXT    NOT NULL,
    boot_id         TEXT    NOT NULL,               -- a process of another boot is gone for certain
    started_at_ms   INTEGER NOT NULL,
    completed_at_ms INTEGER,
    reason          TEXT,
    exit_code       INTEGER,
    signal          INTEGER,
    pid             INTEGER,
    command         TEXT,                           -- JSON array
    cwd             TEXT,
    leftovers       TEXT,                           -- JSON array
    survivors       TEXT,                           -- JSON array
    max_rss_bytes   INTEGER,
    cpu_ms          INTEGER,
    stdout_bytes    INTEGER NOT NULL DEFAULT 0,
    stderr_bytes    INTEGER NOT NULL DEFAULT 0,
    truncated       INTEGER NOT NULL DEFAULT 0,
    error           TEXT,
    stdout          BLOB,                           -- NULL after the end: it stays a file
    stderr          BLOB,
    PRIMARY KEY (run_seq, number)
) STRICT;

-- What happened, in order: the cursor of subscriptions. The oldest rows are dropped now and then.
CREATE TABLE journal (
    cursor    INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms     INTEGER NOT NULL,
    kind      TEXT    NOT NULL,                     -- 'event', 'run' or 'flow'
    event_seq INTEGER,
    run_seq   INTEGER,
    flow_name TEXT,
    status    TEXT,                                 -- as it became then
    attempt   INTEGER                               -- that began or ended then
) STRICT;

-- The flow packages as the journal told them last, so that what changes while no daemon runs is told, too.
CREATE TABLE flows_told (
    name         TEXT PRIMARY KEY,
    status       TEXT NOT NULL,
    package_hash TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Nonces of signed HTTP requests, so that each counts once.
CREATE TABLE nonces (
    nonce         TEXT PRIMARY KEY,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_by_expiry ON nonces (expires_at_ms);

-- Kept by triggers, because counting a million rows takes a second.
CREATE TABLE counts (
    name TEXT PRIMARY KEY,
    n    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counts (name, n)
VALUES ('events', 0), ('queued', 0), ('running', 0), ('completed', 0), ('failed', 0), ('canceled', 0);
CREATE TRIGGER events_counted AFTER INSERT ON events BEGIN
    UPDATE counts SET n = n + 1 WHERE name = 'events';
END;
CREATE TRIGGER runs_counted AFTER INSERT ON runs BEGIN
    UPDATE counts SET n = n + 1 WHERE name = new.status;
END;
CREATE TRIGGER runs_recounted AFTER UPDATE OF status ON runs WHEN old.status <> new.status BEGIN
    UPDATE counts SET n = n - 1 WHERE name = old.status;
    UPDATE counts SET n = n + 1 WHERE name = new.status;
END;
