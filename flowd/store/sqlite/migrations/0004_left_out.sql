-- Which packages' shares of an event were left out, and why: a JSON array of [flow, step or null, why]. NULL: none.
ALTER TABLE events ADD COLUMN left_out TEXT;
