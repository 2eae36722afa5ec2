-- What counts of the slots of schedules, whatever becomes of their events; and since when each is in force on each host.
-- min_reader: 2

CREATE TABLE schedules (
    flow_name TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    rule      TEXT COLLATE "C" NOT NULL,   -- of its definition: an edited schedule is another row
    spans     TEXT COLLATE "C" NOT NULL,   -- JSON: the times all of whose slots are decided, [from_ms, to_ms] each
    last      TEXT COLLATE "C" NOT NULL,   -- JSON: the slots that were told last, the newest telling first
    PRIMARY KEY (flow_name, name, rule)
);

CREATE TABLE schedules_of_hosts (
    host      TEXT   COLLATE "C" NOT NULL DEFAULT '',
    flow_name TEXT   COLLATE "C" NOT NULL,
    name      TEXT   COLLATE "C" NOT NULL,
    rule      TEXT   COLLATE "C" NOT NULL,
    since_ms  BIGINT NOT NULL,
    PRIMARY KEY (host, flow_name, name, rule)
);
