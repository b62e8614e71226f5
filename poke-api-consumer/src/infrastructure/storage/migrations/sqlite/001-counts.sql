-- Positions, counts, last sequences, dead letters and gaps of consumer groups. Times are ms since 1970.
-- Public is the view `type_counts` alone; the tables may change with any version.

-- 'Poke': tells this file from other programs' databases.
PRAGMA application_id = 0x506f6b65;

-- The store's own name: two stores under one group would count halves.
CREATE TABLE store (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  id TEXT NOT NULL
) STRICT;
INSERT INTO store VALUES (1, lower(hex(randomblob(16))));

-- Each topic that a group has met. A second id under a name is a topic that was made again; it is accepted once its gap is recorded.
CREATE TABLE topics (
  group_id TEXT NOT NULL,
  topic_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  -- Its place among the ids accepted under its name; null: not accepted yet.
  accepted INTEGER,
  PRIMARY KEY (group_id, topic_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE partitions (
  id INTEGER PRIMARY KEY,
  group_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  topic_id TEXT NOT NULL,
  partition INTEGER NOT NULL,
  -- Rises with every open: commits under older tokens are fenced.
  token INTEGER NOT NULL,
  owner TEXT,
  opened_at INTEGER NOT NULL,
  -- The next offset to read; null: never read.
  position INTEGER,
  leader_epoch INTEGER NOT NULL DEFAULT -1,
  first_offset INTEGER,
  -- Rises with everything that changes the counts, and never falls.
  revision INTEGER NOT NULL DEFAULT 0,
  counted INTEGER NOT NULL DEFAULT 0,
  duplicates INTEGER NOT NULL DEFAULT 0,
  -- Without those that a replay has counted: counted + duplicates + dead_letters are the records that were read.
  dead_letters INTEGER NOT NULL DEFAULT 0,
  committed_at INTEGER,
  UNIQUE (group_id, topic_id, partition)
) STRICT;

-- For each partition, so that instances never wait for each other.
CREATE TABLE counts (
  partition_id INTEGER NOT NULL REFERENCES partitions,
  type TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (partition_id, type)
) STRICT, WITHOUT ROWID;

CREATE TABLE last_sequences (
  partition_id INTEGER NOT NULL REFERENCES partitions,
  source TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (partition_id, source)
) STRICT, WITHOUT ROWID;

-- What is small comes first: it is read without the pages of what is large.
CREATE TABLE dead_letters (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  partition_id INTEGER NOT NULL REFERENCES partitions,
  record_offset INTEGER NOT NULL,
  -- A truncated log uses an offset again, under a later epoch.
  leader_epoch INTEGER NOT NULL,
  record_timestamp INTEGER NOT NULL,
  reason TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('kept', 'published', 'counted', 'purged', 'superseded')),
  kept_at INTEGER NOT NULL,
  purged_at INTEGER,
  key BLOB,
  -- As in a record of format v2; null where purged.
  headers BLOB,
  value BLOB,
  UNIQUE (partition_id, record_offset, leader_epoch)
) STRICT;
CREATE INDEX dead_letters_to_publish ON dead_letters (partition_id, record_offset) WHERE state = 'kept';
CREATE INDEX dead_letters_by_reason ON dead_letters (partition_id, state, reason);

CREATE TABLE gaps (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  partition_id INTEGER NOT NULL REFERENCES partitions,
  kind TEXT NOT NULL,
  message TEXT NOT NULL,
  from_offset INTEGER,
  to_offset INTEGER,
  recorded_at INTEGER NOT NULL
) STRICT;
CREATE INDEX gaps_of_partition ON gaps (partition_id);

-- Public: how many captured Pokémon have each type, for every consumer group. Its columns and their meaning stay.
CREATE VIEW type_counts (group_id, type, count) AS
SELECT partitions.group_id, counts.type, sum(counts.count)
FROM counts JOIN partitions ON partitions.id = counts.partition_id
GROUP BY partitions.group_id, counts.type;
