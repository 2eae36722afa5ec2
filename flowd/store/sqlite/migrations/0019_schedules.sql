-- What counts of the slots of schedules, whatever becomes of their events; and since when each is in force here.

CREATE TABLE schedules (
    flow_name TEXT NOT NULL,
    name      TEXT NOT NULL,
    rule      TEXT NOT NULL,   -- of its definition: an edited schedule is another row
    spans     TEXT NOT NULL,   -- JSON: the times all of whose slots are decided, [from_ms, to_ms] each
    last      TEXT NOT NULL,   -- JSON: the slots that were told last, the newest telling first, [slot_ms, told_at_ms] each
    PRIMARY KEY (flow_name, name, rule)
) STRICT, WITHOUT ROWID;

CREATE TABLE schedules_of_hosts (
    host      TEXT NOT NULL DEFAULT '',
    flow_name TEXT NOT NULL,
    name      TEXT NOT NULL,
    rule      TEXT NOT NULL,
    since_ms  INTEGER NOT NULL,
    PRIMARY KEY (host, flow_name, name, rule)
) STRICT, WITHOUT ROWID;
