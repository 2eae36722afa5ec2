-- Times: delays and instants, how long a run may stand in the queue, and bursts of events that come to one run.

-- JSON: what its step and its event asked of times when the run was made; NULL: nothing.
ALTER TABLE runs ADD COLUMN timing TEXT;

-- Runs that wait for an instant by the wall clock: waits_for is 'instant', and not_before_ms is that instant.
CREATE INDEX runs_at_instant ON runs (not_before_ms, seq) WHERE waits_for = 'instant';

-- Until when it may wait for a key or a place; NULL while it waits for neither, and where it may for ever. And how much
-- time it had for that when it last began to.
ALTER TABLE runs ADD COLUMN expires_at_ms INTEGER;
ALTER TABLE runs ADD COLUMN queue_left_ms INTEGER;
CREATE INDEX runs_expiring ON runs (expires_at_ms, seq)
WHERE expires_at_ms IS NOT NULL AND status = 'queued' AND called_off IS NULL;

-- Events that come to one run of a step, that of the last of them.
CREATE TABLE bursts (
    seq       INTEGER PRIMARY KEY,
    flow_name TEXT    NOT NULL,
    step_name TEXT    NOT NULL,
    key       TEXT    NOT NULL,             -- a JSON array
    run_seq   INTEGER NOT NULL,             -- of the last event
    latest_ms INTEGER,                      -- it starts then though it is not quiet; NULL: it waits for quiet
    earlier   INTEGER NOT NULL DEFAULT 0,   -- how many events came before the last one
    is_open   INTEGER NOT NULL DEFAULT 1    -- others may still come
) STRICT;
CREATE UNIQUE INDEX bursts_open ON bursts (flow_name, step_name, key) WHERE is_open = 1;
CREATE INDEX bursts_by_run ON bursts (run_seq);

-- The first of these earlier events.
CREATE TABLE burst_events (
    burst_seq INTEGER NOT NULL REFERENCES bursts (seq),
    place     INTEGER NOT NULL,
    event_id  TEXT    NOT NULL,
    PRIMARY KEY (burst_seq, place)
) STRICT, WITHOUT ROWID;
