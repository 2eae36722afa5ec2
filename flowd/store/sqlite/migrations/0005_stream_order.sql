-- The order between the two streams of an attempt (flowd.keeper.stream_order); NULL where it is unknown or stays a file.
ALTER TABLE attempts ADD COLUMN stream_order BLOB;
