-- What a cancel of an event or a tree means: all that had not ended when it was asked, and all that asked a person.

-- JSON: what becomes of the run's question, if it asks. NULL: its event was not canceled since it was last queued by a
-- person. What runs has cancel_requested, too; what is queued never starts.
ALTER TABLE runs ADD COLUMN called_off TEXT;

-- The claim reads this index alone.
DROP INDEX runs_ready;
CREATE INDEX runs_ready ON runs (priority DESC, ready_seq)
WHERE status = 'queued' AND waits_for IS NULL AND called_off IS NULL;

-- What is yet to be ended, or closed.
CREATE INDEX runs_called_off ON runs (seq) WHERE called_off IS NOT NULL AND (status = 'queued' OR wants_person = 1);
