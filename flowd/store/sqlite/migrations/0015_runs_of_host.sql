-- Runs by the host on which they ran. In here no attempt names one, unless its history was copied.

CREATE INDEX attempts_by_host ON attempts (host, run_seq) WHERE host IS NOT NULL;
