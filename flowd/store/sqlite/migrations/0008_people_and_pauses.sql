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
