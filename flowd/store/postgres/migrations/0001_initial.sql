-- The tables of flowd.store.sqlite after its migration 0014, where every column is explained, as PostgreSQL has them.
--
-- Numbers are given as SQLite gives them, one more than the largest there is: everybody who writes holds the schema's
-- lock, so they are the order of the commits, without a gap. Foreign keys are left out, as SQLite does not look at them
-- either: each insert would lock the row that it refers to. Texts are ordered by their code points.

CREATE TABLE schema_version (
    version    BIGINT NOT NULL,
    min_reader BIGINT NOT NULL,   -- the lowest schema that a flowd must know to work with this one
    changed_by TEXT   NOT NULL    -- the version of flowd
);

-- Ids may be longer than what a B-tree takes, so what is unique by them is a hash.

CREATE FUNCTION next_event() RETURNS BIGINT LANGUAGE plpgsql AS
$$ BEGIN RETURN coalesce((SELECT seq FROM events ORDER BY seq DESC LIMIT 1), 0) + 1; END $$;

CREATE TABLE events (
    seq            BIGINT PRIMARY KEY DEFAULT next_event(),
    id             TEXT   COLLATE "C" NOT NULL,
    type           TEXT   COLLATE "C" NOT NULL,
    source         TEXT   COLLATE "C",
    occurred_at    TEXT   COLLATE "C",
    received_at    TEXT   COLLATE "C" NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    fingerprint    BYTEA  NOT NULL,
    body           TEXT   COLLATE "C" NOT NULL,
    left_out       TEXT   COLLATE "C",
    cause_run_id   TEXT   COLLATE "C",
    cause_event_id TEXT   COLLATE "C",
    root_id        TEXT   COLLATE "C",
    root_seq       BIGINT,
    depth          BIGINT NOT NULL DEFAULT 0,
    parent_seq     BIGINT,
    traceparent    TEXT   COLLATE "C",
    CONSTRAINT events_once EXCLUDE USING hash (id WITH =)
);
CREATE INDEX events_by_type ON events (type, seq);
CREATE INDEX events_by_parent ON events (parent_seq, seq) WHERE parent_seq IS NOT NULL;
CREATE INDEX events_by_root ON events (root_seq, seq) WHERE root_seq IS NOT NULL;

CREATE TABLE definitions (
    id   TEXT COLLATE "C" PRIMARY KEY,
    body TEXT COLLATE "C" NOT NULL
);

CREATE FUNCTION next_run() RETURNS BIGINT LANGUAGE plpgsql AS
$$ BEGIN RETURN coalesce((SELECT seq FROM runs ORDER BY seq DESC LIMIT 1), 0) + 1; END $$;

CREATE TABLE runs (
    seq              BIGINT  PRIMARY KEY DEFAULT next_run(),
    id               TEXT    COLLATE "C" NOT NULL,
    event_seq        BIGINT  NOT NULL,
    flow_name        TEXT    COLLATE "C" NOT NULL,
    flow_version     NUMERIC NOT NULL,
    step_name        TEXT    COLLATE "C" NOT NULL,
    runner           TEXT    COLLATE "C" NOT NULL,
    package_hash     TEXT    COLLATE "C" NOT NULL,
    replay_of        TEXT    COLLATE "C",
    status           TEXT    COLLATE "C" NOT NULL,
    attempt_count    BIGINT  NOT NULL DEFAULT 0,
    cancel_requested BIGINT  NOT NULL DEFAULT 0,
    not_before_ms    BIGINT  NOT NULL DEFAULT 0,
    created_at_ms    BIGINT  NOT NULL,
    updated_at_ms    BIGINT  NOT NULL,
    started_at_ms    BIGINT,
    completed_at_ms  BIGINT,
    reason           TEXT    COLLATE "C",
    exit_code        BIGINT,
    signal           BIGINT,
    result_status    TEXT    COLLATE "C",
    result           TEXT    COLLATE "C",
    reported_status  TEXT    COLLATE "C",
    reported_result  TEXT    COLLATE "C",
    error            TEXT    COLLATE "C",
    waits_for        TEXT    COLLATE "C",
    wait_why         TEXT    COLLATE "C",
    wait_ms          BIGINT  NOT NULL DEFAULT 0,
    ready_seq        BIGINT  NOT NULL DEFAULT 0,
    round            BIGINT  NOT NULL DEFAULT 1,
    round_seq        BIGINT,
    run_when         TEXT    COLLATE "C",
    needs_left       BIGINT  NOT NULL DEFAULT 0,
    failed_above     BIGINT  NOT NULL DEFAULT 0,
    cause_seq        BIGINT,
    wants_person     BIGINT  NOT NULL DEFAULT 0,
    resolution       TEXT    COLLATE "C",
    answer           TEXT    COLLATE "C",
    attempts_before  BIGINT  NOT NULL DEFAULT 0,
    waits_on         TEXT    COLLATE "C",
    step_key         TEXT    COLLATE "C",
    priority         BIGINT  NOT NULL DEFAULT 0,
    superseded_by    TEXT    COLLATE "C",
    called_off       TEXT    COLLATE "C",
    labels           TEXT    COLLATE "C",
    progress         TEXT    COLLATE "C",
    CONSTRAINT runs_once EXCLUDE USING hash (id WITH =)
) WITH (fillfactor = 80);
CREATE INDEX runs_by_event ON runs (event_seq, seq);
CREATE INDEX runs_by_flow ON runs (flow_name, seq);
CREATE INDEX runs_by_step ON runs (step_name, seq);
CREATE INDEX runs_by_reason ON runs (reason, seq) WHERE reason IS NOT NULL;
CREATE INDEX runs_active ON runs (status, seq) WHERE status IN ('queued', 'running');
CREATE INDEX runs_ended_badly ON runs (status, seq) WHERE status IN ('failed', 'canceled');
CREATE INDEX runs_by_result ON runs (result_status, seq) WHERE result_status IS NOT NULL;
CREATE INDEX runs_of_flow_ended_badly ON runs (flow_name, status, seq) WHERE status IN ('failed', 'canceled');
CREATE INDEX runs_of_flow_by_result ON runs (flow_name, result_status, seq)
WHERE result_status IN ('failed', 'skipped', 'blocked', 'needs_intervention', 'canceled');
CREATE INDEX runs_ready ON runs (priority DESC, ready_seq)
WHERE status = 'queued' AND waits_for IS NULL AND called_off IS NULL;
CREATE INDEX runs_timed ON runs (not_before_ms, seq) WHERE waits_for = 'time';
CREATE INDEX runs_without_package ON runs (flow_name, step_name, seq) WHERE waits_for = 'package';
CREATE INDEX runs_paused ON runs (waits_on, seq) WHERE waits_for = 'pause';
CREATE INDEX runs_wanting ON runs (seq) WHERE wants_person = 1;
CREATE INDEX runs_called_off ON runs (seq) WHERE called_off IS NOT NULL AND (status = 'queued' OR wants_person = 1);
CREATE INDEX runs_by_round ON runs (round_seq, seq) WHERE round_seq IS NOT NULL;

CREATE TABLE attempts (
    run_seq         BIGINT NOT NULL,
    number          BIGINT NOT NULL,
    status          TEXT   COLLATE "C" NOT NULL,
    worker_id       TEXT   COLLATE "C" NOT NULL,
    boot_id         TEXT   COLLATE "C" NOT NULL,
    started_at_ms   BIGINT NOT NULL,
    completed_at_ms BIGINT,
    reason          TEXT   COLLATE "C",
    exit_code       BIGINT,
    signal          BIGINT,
    pid             BIGINT,
    command         TEXT   COLLATE "C",
    cwd             TEXT   COLLATE "C",
    leftovers       TEXT   COLLATE "C",
    survivors       TEXT   COLLATE "C",
    max_rss_bytes   BIGINT,
    cpu_ms          BIGINT,
    duration_ms     BIGINT,
    stdout_bytes    BIGINT NOT NULL DEFAULT 0,
    stderr_bytes    BIGINT NOT NULL DEFAULT 0,
    truncated       BIGINT NOT NULL DEFAULT 0,
    error           TEXT   COLLATE "C",
    stdout          BYTEA,
    stderr          BYTEA,
    stream_order    BYTEA,
    definition_id   TEXT   COLLATE "C",
    package_hash    TEXT   COLLATE "C",
    result_status   TEXT   COLLATE "C",
    result          TEXT   COLLATE "C",
    resolution      TEXT   COLLATE "C",
    answer          TEXT   COLLATE "C",
    PRIMARY KEY (run_seq, number)
) WITH (fillfactor = 80);
CREATE INDEX attempts_by_definition ON attempts (definition_id) WHERE definition_id IS NOT NULL;

-- Output of steps, for hosts that have no file of it, in chunks of 64 KiB: only the last of a stream may be shorter. Where
-- some are missing in the middle, only the host that ran the step has these. They go with their attempts.

CREATE TABLE output_chunks (
    run_seq BIGINT NOT NULL,
    number  BIGINT NOT NULL,
    stream  TEXT   COLLATE "C" NOT NULL,   -- stdout, stderr, or order: the record of the order between these
    at      BIGINT NOT NULL,               -- where the chunk begins, in bytes
    at_ms   BIGINT NOT NULL,               -- when the last of it came, by the clock of the server
    data    BYTEA  NOT NULL,
    PRIMARY KEY (run_seq, number, stream, at)
);
ALTER TABLE output_chunks ALTER COLUMN data SET STORAGE EXTERNAL;  -- a part of it is read without the rest

CREATE TABLE output_wanted (
    run_seq  BIGINT NOT NULL,
    number   BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,   -- somebody reads what this attempt prints up to then, and says so again
    PRIMARY KEY (run_seq, number)
);

CREATE FUNCTION next_round() RETURNS BIGINT LANGUAGE plpgsql AS
$$ BEGIN RETURN coalesce((SELECT seq FROM rounds ORDER BY seq DESC LIMIT 1), 0) + 1; END $$;

CREATE TABLE rounds (
    seq       BIGINT PRIMARY KEY DEFAULT next_round(),
    event_seq BIGINT NOT NULL,
    number    BIGINT NOT NULL,
    flow_name TEXT   COLLATE "C" NOT NULL,
    open      BIGINT NOT NULL DEFAULT 0,
    cancels   BIGINT NOT NULL DEFAULT 0,
    UNIQUE (event_seq, number, flow_name)
) WITH (fillfactor = 80);

CREATE TABLE needs (
    need_seq BIGINT NOT NULL,
    run_seq  BIGINT NOT NULL,
    place    BIGINT NOT NULL,
    PRIMARY KEY (need_seq, run_seq)
);
CREATE INDEX needs_of_run ON needs (run_seq, place);

CREATE TABLE frozen (
    run_seq      BIGINT NOT NULL,
    need         TEXT   COLLATE "C" NOT NULL,
    run_id       TEXT   COLLATE "C" NOT NULL,
    status       TEXT   COLLATE "C" NOT NULL,
    reason       TEXT   COLLATE "C",
    result       TEXT   COLLATE "C",
    failed_above BIGINT NOT NULL,
    is_asked     BIGINT NOT NULL,
    PRIMARY KEY (run_seq, need)
);

CREATE TABLE trees (
    root_seq BIGINT PRIMARY KEY,
    events   BIGINT NOT NULL
);

CREATE FUNCTION next_cause() RETURNS BIGINT LANGUAGE plpgsql AS
$$ BEGIN RETURN coalesce((SELECT seq FROM causes ORDER BY seq DESC LIMIT 1), 0) + 1; END $$;

CREATE TABLE causes (
    seq             BIGINT PRIMARY KEY DEFAULT next_cause(),
    event_seq       BIGINT NOT NULL,
    cause_event_seq BIGINT NOT NULL,
    cause_flow      TEXT   COLLATE "C" NOT NULL,
    cause_round     BIGINT NOT NULL,
    cause_run_seq   BIGINT NOT NULL,
    body            TEXT   COLLATE "C"
);
CREATE UNIQUE INDEX causes_once ON causes (event_seq, cause_event_seq, cause_flow, cause_round);
CREATE INDEX causes_by_run ON causes (cause_run_seq);

CREATE TABLE pauses (
    flow_name TEXT   COLLATE "C" NOT NULL,
    step_name TEXT   COLLATE "C" NOT NULL,
    said_by   TEXT   COLLATE "C" NOT NULL,
    at_ms     BIGINT NOT NULL,
    is_over   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (flow_name, step_name)
);

CREATE TABLE round_keys (
    round_seq BIGINT PRIMARY KEY,
    key       TEXT   COLLATE "C" NOT NULL,
    priority  BIGINT NOT NULL
);

CREATE TABLE lanes (
    id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT   COLLATE "C" NOT NULL,
    grp  TEXT   COLLATE "C" NOT NULL,
    key  TEXT   COLLATE "C" NOT NULL,   -- may be longer than what a B-tree takes
    lim  BIGINT NOT NULL,
    used BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
CREATE INDEX lanes_by_key ON lanes USING hash (key);

CREATE TABLE lane_members (
    lane_id  BIGINT NOT NULL,
    has      BIGINT NOT NULL,
    priority BIGINT NOT NULL,
    owner    BIGINT NOT NULL,
    kind     TEXT   COLLATE "C" NOT NULL,
    on_busy  TEXT   COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX lane_members_in_order ON lane_members (lane_id, has, priority DESC, owner);
CREATE UNIQUE INDEX lane_members_by_owner ON lane_members (kind, owner);

CREATE TABLE labels (
    name    TEXT   COLLATE "C" NOT NULL,
    value   TEXT   COLLATE "C" NOT NULL,
    run_seq BIGINT NOT NULL,
    PRIMARY KEY (name, value, run_seq)
);

CREATE FUNCTION next_cursor() RETURNS BIGINT LANGUAGE plpgsql AS
$$ BEGIN RETURN coalesce((SELECT cursor FROM journal ORDER BY cursor DESC LIMIT 1), 0) + 1; END $$;

CREATE TABLE journal (
    cursor    BIGINT PRIMARY KEY DEFAULT next_cursor(),
    at_ms     BIGINT NOT NULL,
    kind      TEXT   COLLATE "C" NOT NULL,
    event_seq BIGINT,
    run_seq   BIGINT,
    flow_name TEXT   COLLATE "C",
    status    TEXT   COLLATE "C",
    attempt   BIGINT,
    host      TEXT   COLLATE "C"
);

CREATE TABLE flows_told (
    host         TEXT COLLATE "C" NOT NULL DEFAULT '',
    name         TEXT COLLATE "C" NOT NULL,
    status       TEXT COLLATE "C" NOT NULL,
    package_hash TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (host, name)
);

CREATE TABLE nonces (
    nonce         TEXT   COLLATE "C" PRIMARY KEY,
    expires_at_ms BIGINT NOT NULL
);
CREATE INDEX nonces_by_expiry ON nonces (expires_at_ms);

-- What triggers count: how many there are, and the last number among those that are ready. A transaction may change each
-- ten thousand times, and the versions of a row that one transaction makes are a list that is read from its beginning. So
-- what a transaction has added is a setting of its own until it is committed, when a trigger adds it up.

CREATE TABLE tallies (
    name TEXT   COLLATE "C" PRIMARY KEY,
    n    BIGINT NOT NULL
) WITH (fillfactor = 20);
INSERT INTO tallies (name, n)
VALUES ('events', 0), ('queued', 0), ('running', 0), ('completed', 0), ('failed', 0), ('canceled', 0), ('waiting', 0), ('ready', 0);

CREATE FUNCTION pending(name TEXT) RETURNS BIGINT LANGUAGE sql STABLE AS
$$ SELECT coalesce(nullif(current_setting('flowd.' || name, TRUE), ''), '0')::BIGINT $$;

CREATE FUNCTION tally(of_name TEXT, more BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    done TEXT;
BEGIN
    IF coalesce(current_setting('flowd.is_pending', TRUE), '') <> 'yes' THEN
        done := set_config('flowd.is_pending', 'yes', TRUE);
        UPDATE tallies SET n = n WHERE name = 'ready';  -- so that the trigger is called at the commit
    END IF;
    done := set_config('flowd.' || of_name,
        (coalesce(nullif(current_setting('flowd.' || of_name, TRUE), ''), '0')::BIGINT + more)::TEXT, TRUE);
END $$;

CREATE FUNCTION add_up() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('flowd.is_pending', TRUE) = 'yes' THEN
        PERFORM set_config('flowd.is_pending', '', TRUE);
        UPDATE tallies SET n = n + pending(name) WHERE pending(name) <> 0;
        PERFORM set_config('flowd.' || name, '', TRUE) FROM tallies;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER add_up AFTER UPDATE ON tallies DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION add_up();

CREATE VIEW counts AS SELECT name, n + pending(name) AS n FROM tallies WHERE name <> 'ready';
CREATE FUNCTION count_changed() RETURNS TRIGGER LANGUAGE plpgsql AS
$$ BEGIN PERFORM tally(new.name, new.n - old.n); RETURN new; END $$;
CREATE TRIGGER count_changed INSTEAD OF UPDATE ON counts FOR EACH ROW EXECUTE FUNCTION count_changed();

CREATE VIEW ready_numbers AS SELECT n + pending(name) AS last FROM tallies WHERE name = 'ready';
CREATE FUNCTION ready_number_given() RETURNS TRIGGER LANGUAGE plpgsql AS
$$ BEGIN PERFORM tally('ready', new.last - old.last); RETURN new; END $$;
CREATE TRIGGER ready_number_given INSTEAD OF UPDATE ON ready_numbers FOR EACH ROW EXECUTE FUNCTION ready_number_given();

CREATE TABLE spans (
    kind       TEXT   COLLATE "C" NOT NULL,
    block      BIGINT NOT NULL,
    first_tick BIGINT NOT NULL,
    last_tick  BIGINT NOT NULL,
    PRIMARY KEY (kind, block)
) WITH (fillfactor = 50);

CREATE FUNCTION date_row(of_kind TEXT, seq BIGINT, created_at_ms BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM spans WHERE kind = of_kind AND block = seq >> 9
                   AND created_at_ms >> 12 BETWEEN first_tick AND last_tick) THEN
        INSERT INTO spans VALUES (of_kind, seq >> 9, created_at_ms >> 12, created_at_ms >> 12)
        ON CONFLICT (kind, block) DO UPDATE
        SET first_tick = least(spans.first_tick, excluded.first_tick), last_tick = greatest(spans.last_tick, excluded.last_tick);
    END IF;
END $$;

CREATE FUNCTION event_inserted() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tally('events', 1);
    PERFORM date_row('event', new.seq, new.created_at_ms);
    RETURN NULL;
END $$;
CREATE TRIGGER event_inserted AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION event_inserted();

CREATE FUNCTION run_inserted() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tally(new.status, 1);
    PERFORM tally('ready', 1);
    IF new.status = 'queued' AND new.waits_for IS NOT NULL THEN
        PERFORM tally('waiting', 1);
    END IF;
    IF new.round_seq IS NOT NULL AND new.status IN ('queued', 'running') THEN
        UPDATE rounds SET open = open + 1 WHERE seq = new.round_seq;
    END IF;
    PERFORM date_row('run', new.seq, new.created_at_ms);
    RETURN NULL;
END $$;
CREATE TRIGGER run_inserted AFTER INSERT ON runs FOR EACH ROW EXECUTE FUNCTION run_inserted();

CREATE FUNCTION run_changed() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    waited BOOLEAN := old.status = 'queued' AND old.waits_for IS NOT NULL;
    waits  BOOLEAN := new.status = 'queued' AND new.waits_for IS NOT NULL;
BEGIN
    IF old.status <> new.status THEN
        PERFORM tally(old.status, -1);
        PERFORM tally(new.status, 1);
        IF new.round_seq IS NOT NULL
            AND (old.status IN ('queued', 'running')) <> (new.status IN ('queued', 'running')) THEN
            UPDATE rounds SET open = open + CASE WHEN new.status IN ('queued', 'running') THEN 1 ELSE -1 END
            WHERE seq = new.round_seq;
        END IF;
    END IF;
    IF waited <> waits THEN
        PERFORM tally('waiting', CASE WHEN waits THEN 1 ELSE -1 END);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER run_changed AFTER UPDATE OF status, waits_for ON runs FOR EACH ROW
WHEN (old.status IS DISTINCT FROM new.status OR old.waits_for IS DISTINCT FROM new.waits_for)
EXECUTE FUNCTION run_changed();

-- What SQLite has and PostgreSQL has not, so that both are asked in the same words.

CREATE FUNCTION json_valid(doc TEXT) RETURNS BOOLEAN LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN doc::jsonb IS NOT NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN FALSE;
END $$;
CREATE FUNCTION json_extract(doc TEXT, path TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS
$$ SELECT jsonb_path_query_first(doc::jsonb, path::jsonpath) #>> '{}' $$;
