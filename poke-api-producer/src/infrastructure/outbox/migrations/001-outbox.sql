-- The last sequence that was given: a row of its own, because numbering by the table of events would start at 1 again when it is empty (rule P2).
CREATE TABLE counter (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  last_sequence INTEGER NOT NULL
) STRICT;
INSERT INTO counter VALUES (1, 0);

-- Events that Kafka has not acknowledged yet, of all runs.
CREATE TABLE event (
  sequence INTEGER PRIMARY KEY,
  source TEXT NOT NULL,
  partition INTEGER,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  time TEXT NOT NULL,
  origin TEXT NOT NULL CHECK (origin IN ('live', 'bundled'))
) STRICT;

-- The progress of the current sweep, as JSON; no row: there is no sweep.
CREATE TABLE sweep (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  progress TEXT NOT NULL
) STRICT;
