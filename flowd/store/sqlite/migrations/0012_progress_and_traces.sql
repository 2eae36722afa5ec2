-- How far running steps say that they are, and the traces that events belong to.

ALTER TABLE runs ADD COLUMN progress TEXT;       -- JSON, of the attempt that runs; NULL: it says nothing
ALTER TABLE events ADD COLUMN traceparent TEXT;  -- as W3C Trace Context has it; NULL: its sender said none
