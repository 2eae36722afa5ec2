-- What the checkout of each host has: its commit, and every package by a hash of all its files.

ALTER TABLE hosts ADD COLUMN git_commit TEXT COLLATE "C";   -- NULL where its workspace is in no repository

CREATE TABLE host_packages (
    host      TEXT COLLATE "C" NOT NULL,
    flow_name TEXT COLLATE "C" NOT NULL,
    hash      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (host, flow_name)
);
CREATE INDEX host_packages_by_name ON host_packages (flow_name, host);
