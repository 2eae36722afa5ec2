-- Labels of runs, and what the filters of lists go by.

ALTER TABLE runs ADD COLUMN labels TEXT;   -- JSON: value by name, as when it was made; NULL: it has none

-- The same to be found by; runs without labels have no rows here.
CREATE TABLE labels (
    name    TEXT    NOT NULL,
    value   TEXT    NOT NULL,
    run_seq INTEGER NOT NULL REFERENCES runs (seq),
    PRIMARY KEY (name, value, run_seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX runs_by_step ON runs (step_name, seq);
-- Partial: what ended well has no reason.
CREATE INDEX runs_by_reason ON runs (reason, seq) WHERE reason IS NOT NULL;
-- A flow's runs that ended in a way that people look for. Partial: most runs are in neither.
CREATE INDEX runs_of_flow_ended_badly ON runs (flow_name, status, seq) WHERE status IN ('failed', 'canceled');
CREATE INDEX runs_of_flow_by_result ON runs (flow_name, result_status, seq)
WHERE result_status IN ('failed', 'skipped', 'blocked', 'needs_intervention', 'canceled');

-- When the rows of a block were made, so that a time becomes a part of a list, which goes by seq. Clocks step, so blocks
-- may overlap in time. A block is 512 rows (seq >> 9), a tick 4.096 s (ms >> 12): few rows have to write here.
CREATE TABLE spans (
    kind       TEXT    NOT NULL,             -- 'run' or 'event'
    block      INTEGER NOT NULL,
    first_tick INTEGER NOT NULL,
    last_tick  INTEGER NOT NULL,
    PRIMARY KEY (kind, block)
) STRICT, WITHOUT ROWID;

INSERT INTO spans (kind, block, first_tick, last_tick)
SELECT 'run', seq >> 9, min(created_at_ms) >> 12, max(created_at_ms) >> 12 FROM runs GROUP BY seq >> 9;
INSERT INTO spans (kind, block, first_tick, last_tick)
SELECT 'event', seq >> 9, min(created_at_ms) >> 12, max(created_at_ms) >> 12 FROM events GROUP BY seq >> 9;

CREATE TRIGGER runs_dated AFTER INSERT ON runs WHEN NOT EXISTS (
    SELECT 1 FROM spans WHERE kind = 'run' AND block = new.seq >> 9
    AND new.created_at_ms >> 12 BETWEEN first_tick AND last_tick
) BEGIN
    INSERT INTO spans VALUES ('run', new.seq >> 9, new.created_at_ms >> 12, new.created_at_ms >> 12)
    ON CONFLICT (kind, block) DO UPDATE
    SET first_tick = min(first_tick, excluded.first_tick), last_tick = max(last_tick, excluded.last_tick);
END;
CREATE TRIGGER events_dated AFTER INSERT ON events WHEN NOT EXISTS (
    SELECT 1 FROM spans WHERE kind = 'event' AND block = new.seq >> 9
    AND new.created_at_ms >> 12 BETWEEN first_tick AND last_tick
) BEGIN
    INSERT INTO spans VALUES ('event', new.seq >> 9, new.created_at_ms >> 12, new.created_at_ms >> 12)
    ON CONFLICT (kind, block) DO UPDATE
    SET first_tick = min(first_tick, excluded.first_tick), last_tick = max(last_tick, excluded.last_tick);
END;
