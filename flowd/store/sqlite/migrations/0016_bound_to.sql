-- The host that has the folder of a run's round, and alone can start it. Always empty here, where there is one host: a
-- database that hosts share has the same column.

ALTER TABLE runs ADD COLUMN bound_to TEXT NOT NULL DEFAULT '';
