-- What may start is told by the rows alone, and an attempt says which definition of its step it ran.

-- Why a queued run may not start yet: NULL, 'time' (wait_why, not before not_before_ms, wait_ms in all) or 'package'.
ALTER TABLE runs ADD COLUMN waits_for TEXT;
ALTER TABLE runs ADD COLUMN wait_why TEXT;                        -- 'retry' or 'delay'
ALTER TABLE runs ADD COLUMN wait_ms INTEGER NOT NULL DEFAULT 0;
-- Runs start in the order in which they became ready: each gets the next number then.
ALTER TABLE runs ADD COLUMN ready_seq INTEGER NOT NULL DEFAULT 0;

ALTER TABLE attempts ADD COLUMN definition_id TEXT REFERENCES definitions (id);
ALTER TABLE attempts ADD COLUMN package_hash TEXT;

-- A run that is not queued has the definition of its last attempt. Which one an earlier attempt had is not known.
UPDATE attempts SET (definition_id, package_hash) = (
    SELECT r.definition_id, r.package_hash FROM runs r WHERE r.seq = attempts.run_seq
) WHERE EXISTS (
    SELECT 1 FROM runs r WHERE r.seq = attempts.run_seq AND r.attempt_count = attempts.number AND r.status <> 'queued'
);
ALTER TABLE runs DROP COLUMN definition_id;

UPDATE runs SET waits_for = 'time', wait_why = 'retry', wait_ms = max(0, not_before_ms - updated_at_ms)
WHERE status = 'queued' AND status IN ('queued', 'running') AND not_before_ms > 0;
UPDATE runs SET ready_seq = seq WHERE status IN ('queued', 'running');
CREATE TABLE ready_numbers (last INTEGER NOT NULL) STRICT;
INSERT INTO ready_numbers (last) SELECT max(0, coalesce(max(seq), 0)) FROM runs;
CREATE TRIGGER runs_numbered AFTER INSERT ON runs BEGIN
    UPDATE ready_numbers SET last = last + 1;
END;

-- The claim reads the first of these alone.
CREATE INDEX runs_ready ON runs (ready_seq) WHERE status = 'queued' AND waits_for IS NULL;
CREATE INDEX runs_timed ON runs (not_before_ms, seq) WHERE waits_for = 'time';
CREATE INDEX runs_without_package ON runs (flow_name, step_name, seq) WHERE waits_for = 'package';
-- So that a definition goes with its last attempt.
CREATE INDEX attempts_by_definition ON attempts (definition_id) WHERE definition_id IS NOT NULL;
