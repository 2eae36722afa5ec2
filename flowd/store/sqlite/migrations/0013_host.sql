-- On which host an attempt ran. In here it is this one, and nothing is written; but a history may have been copied.

ALTER TABLE attempts ADD COLUMN host TEXT;
