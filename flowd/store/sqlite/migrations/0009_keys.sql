-- Keys: how many runs of a step, or rounds of a flow, may be under way at a time for each value of a key.

ALTER TABLE runs ADD COLUMN step_key TEXT;                       -- JSON, as it was when accepted; NULL: it takes no key
ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0; -- of what could start, the higher comes first
ALTER TABLE runs ADD COLUMN superseded_by TEXT;                  -- id of the younger run for which it is to be ended

-- The keys of rounds; rounds without one are not in here.
CREATE TABLE round_keys (
    round_seq INTEGER PRIMARY KEY REFERENCES rounds (seq),
    key       TEXT    NOT NULL,      -- as a run's step_key
    priority  INTEGER NOT NULL       -- the highest of its steps'
) STRICT;

-- The keys that somebody holds. Groups of steps and groups of flows are two name spaces.
CREATE TABLE lanes (
    id   INTEGER PRIMARY KEY,
    kind TEXT    NOT NULL,           -- 'step' or 'flow'
    grp  TEXT    NOT NULL,
    key  TEXT    NOT NULL,           -- a JSON array
    lim  INTEGER NOT NULL,           -- how many may hold it
    used INTEGER NOT NULL DEFAULT 0, -- how many do
    UNIQUE (kind, grp, key)
) STRICT;

-- Who holds a key, and who waits for it in which order. A run waits for its own key or for its round's: waits_for is
-- 'key' then, and wait_why 'step' or 'flow'.
CREATE TABLE lane_members (
    lane_id  INTEGER NOT NULL REFERENCES lanes (id),
    has      INTEGER NOT NULL,       -- 1: it holds the key; 0: it waits
    priority INTEGER NOT NULL,
    owner    INTEGER NOT NULL,       -- seq of a run or of a round, by the lane's kind; also the order of acceptance
    kind     TEXT    NOT NULL,       -- the lane's
    on_busy  TEXT    NOT NULL,
    PRIMARY KEY (lane_id, has, priority DESC, owner)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX lane_members_by_owner ON lane_members (kind, owner);

-- The claim reads this index alone.
DROP INDEX runs_ready;
CREATE INDEX runs_ready ON runs (priority DESC, ready_seq) WHERE status = 'queued' AND waits_for IS NULL;
