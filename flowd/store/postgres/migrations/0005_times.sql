-- Times: the same as migration 0018 of flowd.store.sqlite, where every column is explained.
-- min_reader: 2

ALTER TABLE runs
    ADD COLUMN timing        TEXT COLLATE "C",
    ADD COLUMN expires_at_ms BIGINT,
    ADD COLUMN queue_left_ms BIGINT;
CREATE INDEX runs_at_instant ON runs (not_before_ms, seq) WHERE waits_for = 'instant';
CREATE INDEX runs_expiring ON runs (expires_at_ms, seq)
WHERE expires_at_ms IS NOT NULL AND status = 'queued' AND called_off IS NULL;

CREATE TABLE bursts (
    seq       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    flow_name TEXT   COLLATE "C" NOT NULL,
    step_name TEXT   COLLATE "C" NOT NULL,
    key       TEXT   COLLATE "C" NOT NULL,
    run_seq   BIGINT NOT NULL,
    latest_ms BIGINT,
    earlier   BIGINT NOT NULL DEFAULT 0,
    is_open   BIGINT NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX bursts_open ON bursts (flow_name, step_name, key) WHERE is_open = 1;
CREATE INDEX bursts_by_run ON bursts (run_seq);

CREATE TABLE burst_events (
    burst_seq BIGINT NOT NULL,
    place     BIGINT NOT NULL,
    event_id  TEXT   COLLATE "C" NOT NULL,
    PRIMARY KEY (burst_seq, place)
);
