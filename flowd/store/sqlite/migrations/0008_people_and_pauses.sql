-- What people say of runs, and what they have paused.

ALTER TABLE runs ADD COLUMN wants_person INTEGER NOT NULL DEFAULT 0;   -- 1: it ended with a question that is open
ALTER TABLE runs ADD COLUMN resolution TEXT;                           -- JSON: how a person has put its end right
ALTER TABLE runs ADD COLUMN answer TEXT;                               -- JSON: what its attempts are told
ALTER TABLE runs ADD COLUMN attempts_before INTEGER NOT NULL DEFAULT 0;  -- that do not count against max_attempts

-- What an attempt that is not the run's last word any more had said, how a person put that right, and what it was told.
ALTER TABLE attempts ADD COLUMN result_status TEXT;
ALTER TABLE attempts ADD COLUMN result TEXT;
ALTER TABLE attempts ADD COLUMN resolution TEXT;
ALTER TABLE attempts ADD COLUMN answer TEXT;

-- A run that has not ended has no result, and one that was canceled then asks nothing.
UPDATE attempts SET (result_status, result) = (
    SELECT r.result_status, r.result FROM runs r WHERE r.seq = attempts.run_seq
) WHERE EXISTS (
    SELECT 1 FROM runs r WHERE r.seq = attempts.run_seq AND r.status IN ('queued', 'running', 'canceled')
    AND r.result_status IS NOT NULL AND attempts.number = (SELECT max(a.number) FROM attempts a
        WHERE a.run_seq = r.seq AND a.completed_at_ms IS NOT NULL)
);
UPDATE runs SET result_status = NULL, result = NULL
WHERE status IN ('queued', 'running', 'canceled') AND result_status IS NOT NULL;
UPDATE runs SET wants_person = 1 WHERE result_status IN ('blocked', 'needs_intervention');

CREATE INDEX runs_wanting ON runs (seq) WHERE wants_person = 1;

-- What people have paused: all ('', ''), a flow (its name, ''), or a step of it.
CREATE TABLE pauses (
    flow_name TEXT    NOT NULL,
    step_name TEXT    NOT NULL,
    said_by   TEXT    NOT NULL,             -- JSON
    at_ms     INTEGER NOT NULL,
    is_over   INTEGER NOT NULL DEFAULT 0,   -- it keeps nobody any more, and those whom it kept are being let go
    PRIMARY KEY (flow_name, step_name)
) STRICT, WITHOUT ROWID;
ALTER TABLE runs ADD COLUMN waits_on TEXT;  -- where waits_for is 'pause': '*', a flow, or flow/step
CREATE INDEX runs_paused ON runs (waits_on, seq) WHERE waits_for = 'pause';

-- How many queued runs wait for something, and so are not ready.
INSERT INTO counts (name, n)
SELECT 'waiting', count(*) FROM runs WHERE status = 'queued' AND status IN ('queued', 'running') AND waits_for IS NOT NULL;
CREATE TRIGGER waiting_counted AFTER INSERT ON runs WHEN new.status = 'queued' AND new.waits_for IS NOT NULL BEGIN
    UPDATE counts SET n = n + 1 WHERE name = 'waiting';
END;
CREATE TRIGGER waiting_recounted AFTER UPDATE OF status, waits_for ON runs
WHEN (old.status = 'queued' AND old.waits_for IS NOT NULL) <> (new.status = 'queued' AND new.waits_for IS NOT NULL) BEGIN
    UPDATE counts SET n = n + iif(new.status = 'queued' AND new.waits_for IS NOT NULL, 1, -1) WHERE name = 'waiting';
END;
