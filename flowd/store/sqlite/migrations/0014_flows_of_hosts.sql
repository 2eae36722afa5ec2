-- Of hosts that share a store each has packages of its own, which the journal tells as its. In here there is one host,
-- which has no name.

ALTER TABLE journal ADD COLUMN host TEXT;

CREATE TABLE flows_of_hosts (
    host         TEXT NOT NULL DEFAULT '',
    name         TEXT NOT NULL,
    status       TEXT NOT NULL,
    package_hash TEXT NOT NULL,
    PRIMARY KEY (host, name)
) STRICT, WITHOUT ROWID;
INSERT INTO flows_of_hosts (name, status, package_hash) SELECT name, status, package_hash FROM flows_told;
DROP TABLE flows_told;
ALTER TABLE flows_of_hosts RENAME TO flows_told;
