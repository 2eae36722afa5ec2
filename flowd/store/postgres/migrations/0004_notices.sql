-- What notifiers tell people, and have told: the outbox. Written in the transaction of the outcome that it tells.

CREATE FUNCTION next_notice() RETURNS BIGINT LANGUAGE plpgsql AS
$$ BEGIN RETURN coalesce((SELECT seq FROM notices ORDER BY seq DESC LIMIT 1), 0) + 1; END $$;

CREATE TABLE notices (
    seq           BIGINT PRIMARY KEY DEFAULT next_notice(),
    id            TEXT   COLLATE "C" NOT NULL UNIQUE,
    notifier      TEXT   COLLATE "C" NOT NULL,                     -- by its name in the settings
    what          TEXT   COLLATE "C" NOT NULL,
    created_at_ms BIGINT NOT NULL,
    root_seq      BIGINT,                                          -- the tree whose further failures are counted in this one
    failures      BIGINT NOT NULL DEFAULT 1,
    told          TEXT   COLLATE "C" NOT NULL,                     -- JSON: what it tells, as it was then
    state         TEXT   COLLATE "C" NOT NULL DEFAULT 'waiting',   -- or sent, or failed: given up
    tries         BIGINT NOT NULL DEFAULT 0,
    first_try_ms  BIGINT,                                          -- as due_ms, by the server's clock
    due_ms        BIGINT NOT NULL DEFAULT 0,
    held_by       TEXT   COLLATE "C",                              -- the host that sends it just now
    held_until_ms BIGINT NOT NULL DEFAULT 0,
    ended_at_ms   BIGINT,
    error         TEXT   COLLATE "C"
);
CREATE UNIQUE INDEX notices_of_tree ON notices (root_seq, notifier) WHERE root_seq IS NOT NULL;
CREATE INDEX notices_waiting ON notices (notifier, due_ms, seq) WHERE state = 'waiting';
CREATE INDEX notices_failed ON notices (seq) WHERE state = 'failed';
CREATE INDEX notices_ended ON notices (ended_at_ms) WHERE ended_at_ms IS NOT NULL;

-- Flows of which a notifier was told a failure, and no recovery since.

CREATE TABLE notice_troubles (
    notifier  TEXT   COLLATE "C" NOT NULL,
    flow_name TEXT   COLLATE "C" NOT NULL,
    since_ms  BIGINT NOT NULL,
    PRIMARY KEY (flow_name, notifier)
);

-- The notifiers of each host: whichever host records an outcome, it writes the notices of all of them.

CREATE TABLE host_notifiers (
    host TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    rule TEXT COLLATE "C" NOT NULL,   -- JSON: on, flows
    PRIMARY KEY (host, name)
);
