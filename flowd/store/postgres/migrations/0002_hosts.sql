-- Hosts that share the store, which steps each of them can run, and the leases of what runs.
-- min_reader: 2

CREATE TABLE hosts (
    name            TEXT   COLLATE "C" PRIMARY KEY,
    host_id         TEXT   COLLATE "C" NOT NULL,   -- of its state folder: two of one name are told apart by it
    session         TEXT   COLLATE "C" NOT NULL,   -- of its daemon, since that was started
    version         TEXT   COLLATE "C" NOT NULL,
    labels          TEXT   COLLATE "C" NOT NULL,   -- a JSON array, without the one that every host has
    places          BIGINT NOT NULL DEFAULT 0,
    running         BIGINT NOT NULL DEFAULT 0,
    clock_offset_ms BIGINT NOT NULL DEFAULT 0,     -- how far its wall clock is ahead of the server's
    is_draining     BIGINT NOT NULL DEFAULT 0,     -- its daemon was told to start nothing
    wanted          TEXT   COLLATE "C" NOT NULL DEFAULT 'ready',  -- or 'draining'; outlives its daemon
    since_ms        BIGINT NOT NULL,
    left_at_ms      BIGINT NOT NULL DEFAULT 0,     -- when its daemon ended well; 0 while there is one
    seen_at_ms      BIGINT NOT NULL                -- by the server's clock, as all that is about leases
);

CREATE TABLE host_abilities (
    host      TEXT COLLATE "C" NOT NULL,
    flow_name TEXT COLLATE "C" NOT NULL,
    step_name TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (host, flow_name, step_name)
);
CREATE INDEX host_abilities_by_step ON host_abilities (flow_name, step_name);

ALTER TABLE attempts
    ADD COLUMN host           TEXT COLLATE "C",
    ADD COLUMN host_id        TEXT COLLATE "C",
    ADD COLUMN session        TEXT COLLATE "C",
    ADD COLUMN lost_after_ms  BIGINT,
    ADD COLUMN lease_until_ms BIGINT;
CREATE INDEX attempts_by_host ON attempts (host, run_seq) WHERE host IS NOT NULL;
CREATE INDEX attempts_held ON attempts (session) WHERE status = 'running';
CREATE INDEX attempts_leased ON attempts (lease_until_ms) WHERE status = 'running';

-- The host that has the folder of a run's round, and alone can start it; empty: any that can run its step.
ALTER TABLE runs ADD COLUMN bound_to TEXT COLLATE "C" NOT NULL DEFAULT '';

-- What is ready, by step: of 100,000 runs that no host here can start, a claim looks at one.
CREATE INDEX runs_ready_of_step ON runs (flow_name, step_name, bound_to, priority DESC, ready_seq)
WHERE status = 'queued' AND waits_for IS NULL AND called_off IS NULL;

CREATE FUNCTION server_ms() RETURNS BIGINT LANGUAGE sql AS
$$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Output goes with its attempt; the files that a host has of it are removed by that host, soon.

CREATE TABLE output_left (
    seq    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host   TEXT   COLLATE "C" NOT NULL,
    run_id TEXT   COLLATE "C" NOT NULL,
    number BIGINT NOT NULL
);
CREATE INDEX output_left_on_host ON output_left (host, seq);

CREATE FUNCTION attempts_deleted() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM output_chunks c USING gone g WHERE c.run_seq = g.run_seq AND c.number = g.number;
    INSERT INTO output_left (host, run_id, number)
    SELECT g.host, r.id, g.number FROM gone g JOIN runs r ON r.seq = g.run_seq
    WHERE g.host IS NOT NULL AND g.completed_at_ms IS NOT NULL
        AND (g.stdout IS NULL OR g.stderr IS NULL OR g.stream_order IS NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER attempts_deleted AFTER DELETE ON attempts REFERENCING OLD TABLE AS gone FOR EACH STATEMENT
EXECUTE FUNCTION attempts_deleted();
