-- What a database says of itself: which flowd brought its schema here, for an older one that cannot use it.
CREATE TABLE about (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How long an attempt took, by a clock that nobody sets; NULL where that was not seen.
ALTER TABLE attempts ADD COLUMN duration_ms INTEGER;
