-- Steps that need others. A round is the runs that one accept or one replay makes of one flow for an event.

-- Only of rounds whose runs have to do with each other; runs of all others have no round_seq.
CREATE TABLE rounds (
    seq       INTEGER PRIMARY KEY,
    event_seq INTEGER NOT NULL REFERENCES events (seq),
    number    INTEGER NOT NULL,             -- among the rounds of this flow for the event, from 1
    flow_name TEXT    NOT NULL,
    open      INTEGER NOT NULL DEFAULT 0,   -- runs that have not ended, kept by triggers
    cancels   INTEGER NOT NULL DEFAULT 0,   -- how often its event was canceled since a person last retried one of its runs
    UNIQUE (event_seq, number, flow_name)
) STRICT;

ALTER TABLE runs ADD COLUMN round INTEGER NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN round_seq INTEGER REFERENCES rounds (seq);
-- 'success', 'not_failed', 'failure', 'always' or 'finally'; NULL where the run needs no other.
ALTER TABLE runs ADD COLUMN run_when TEXT;
-- Needs in its round that have not ended, while waits_for is 'needs'. It is 'question' where all have, and one asks a person.
ALTER TABLE runs ADD COLUMN needs_left INTEGER NOT NULL DEFAULT 0;
-- It was not run, because something above it failed.
ALTER TABLE runs ADD COLUMN failed_above INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_by_round ON runs (round_seq, seq) WHERE round_seq IS NOT NULL;

UPDATE runs SET round = 1 + ranked.place FROM (
    SELECT seq, dense_rank() OVER (PARTITION BY event_seq, flow_name ORDER BY created_at_ms) AS place FROM runs WHERE replay_of IS NOT NULL
) AS ranked WHERE runs.seq = ranked.seq;

CREATE TABLE needs (
    need_seq INTEGER NOT NULL REFERENCES runs (seq),
    run_seq  INTEGER NOT NULL REFERENCES runs (seq),
    place    INTEGER NOT NULL,              -- among the needs of its step
    PRIMARY KEY (need_seq, run_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX needs_of_run ON needs (run_seq, place);

-- What a replayed run needs of a step that was not replayed with it: a copy of how that step's newest run had ended.
CREATE TABLE frozen (
    run_seq      INTEGER NOT NULL REFERENCES runs (seq),
    need         TEXT    NOT NULL,
    run_id       TEXT    NOT NULL,
    status       TEXT    NOT NULL,           -- the effective one
    reason       TEXT,
    result       TEXT,                       -- JSON
    failed_above INTEGER NOT NULL,
    is_asked     INTEGER NOT NULL,           -- whether `when` asks about it: not where a person named the step
    PRIMARY KEY (run_seq, need)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER rounds_grown AFTER INSERT ON runs WHEN new.round_seq IS NOT NULL BEGIN
    UPDATE rounds SET open = open + (new.status IN ('queued', 'running')) WHERE seq = new.round_seq;
END;
CREATE TRIGGER rounds_recounted AFTER UPDATE OF status ON runs
WHEN new.round_seq IS NOT NULL AND (old.status IN ('queued', 'running')) <> (new.status IN ('queued', 'running')) BEGIN
    UPDATE rounds SET open = open + iif(new.status IN ('queued', 'running'), 1, -1) WHERE seq = new.round_seq;
END;
