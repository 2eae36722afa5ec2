-- Trees: what a run causes.

-- NULL where no run caused the event. The ids are kept as they are, for a tree is forgotten in several transactions.
ALTER TABLE events ADD COLUMN cause_run_id TEXT;
ALTER TABLE events ADD COLUMN cause_event_id TEXT;
ALTER TABLE events ADD COLUMN root_id TEXT;
ALTER TABLE events ADD COLUMN root_seq INTEGER;                  -- of the tree; NULL: of its own
ALTER TABLE events ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;  -- below the root
ALTER TABLE events ADD COLUMN parent_seq INTEGER;                -- the event whose run caused it
CREATE INDEX events_by_parent ON events (parent_seq, seq) WHERE parent_seq IS NOT NULL;
CREATE INDEX events_by_root ON events (root_seq, seq) WHERE root_seq IS NOT NULL;

-- How large trees are in which something was caused.
CREATE TABLE trees (
    root_seq INTEGER PRIMARY KEY,
    events   INTEGER NOT NULL      -- the root included
) STRICT;

-- Which rounds have caused an event, the first one and those that have repeated it: each gave it a round of its own.
CREATE TABLE causes (
    seq             INTEGER PRIMARY KEY,
    event_seq       INTEGER NOT NULL REFERENCES events (seq),
    cause_event_seq INTEGER NOT NULL,  -- the round is one of this event,
    cause_flow      TEXT    NOT NULL,  -- of this flow,
    cause_round     INTEGER NOT NULL,  -- with this number,
    cause_run_seq   INTEGER NOT NULL,  -- and this run of it caused the event
    body            TEXT               -- of the event this time; NULL: as it was first
) STRICT;
CREATE UNIQUE INDEX causes_once ON causes (event_seq, cause_event_seq, cause_flow, cause_round);
CREATE INDEX causes_by_run ON causes (cause_run_seq);

-- Of a run in a round that repeats: its cause. NULL in others.
ALTER TABLE runs ADD COLUMN cause_seq INTEGER;
