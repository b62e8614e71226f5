-- Positions, counts, last sequences, dead letters and gaps of consumer groups, in the schema that the connection's search_path names first.
-- Public is the view type_counts alone; the tables may change with any version.

-- The store's own name: two stores under one group would count halves.
CREATE TABLE store (
  only_row integer PRIMARY KEY CHECK (only_row = 1),
  id text NOT NULL
);
INSERT INTO store VALUES (1, gen_random_uuid()::text);

-- Each topic that a group has met. A second id under a name is a topic that was made again; it is accepted once its gap is recorded.
CREATE TABLE topics (
  group_id text NOT NULL,
  topic_id text NOT NULL,
  topic text NOT NULL,
  -- Its place among the ids accepted under its name; null: not accepted yet.
  accepted integer,
  PRIMARY KEY (group_id, topic_id)
);

-- Rows of partitions, counts and last sequences change with every commit: room in their pages lets them change in place.
CREATE TABLE partitions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  group_id text NOT NULL,
  topic text NOT NULL,
  topic_id text NOT NULL,
  partition integer NOT NULL,
  -- Rises with every open: commits under older tokens are fenced.
  token bigint NOT NULL,
  owner text,
  opened_at timestamptz NOT NULL,
  -- The next offset to read; null: never read.
  position bigint,
  leader_epoch integer NOT NULL DEFAULT -1,
  first_offset bigint,
  -- Rises with everything that changes the counts, and never falls.
  revision bigint NOT NULL DEFAULT 0,
  counted bigint NOT NULL DEFAULT 0,
  duplicates bigint NOT NULL DEFAULT 0,
  -- Without those that a replay has counted: counted + duplicates + dead_letters are the records that were read.
  dead_letters bigint NOT NULL DEFAULT 0,
  committed_at timestamptz,
  UNIQUE (group_id, topic_id, partition)
) WITH (fillfactor = 30);

-- For each partition, so that instances never wait for each other.
CREATE TABLE counts (
  partition_id bigint NOT NULL REFERENCES partitions,
  type text NOT NULL,
  count bigint NOT NULL,
  PRIMARY KEY (partition_id, type)
) WITH (fillfactor = 30);

-- A source is kept as bytes: it may hold a NUL, which text may not.
CREATE TABLE last_sequences (
  partition_id bigint NOT NULL REFERENCES partitions,
  source bytea NOT NULL,
  sequence bigint NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (partition_id, source)
) WITH (fillfactor = 50);

CREATE TABLE dead_letters (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partition_id bigint NOT NULL REFERENCES partitions,
  record_offset bigint NOT NULL,
  -- A truncated log uses an offset again, under a later epoch.
  leader_epoch integer NOT NULL,
  record_timestamp bigint NOT NULL,
  reason text NOT NULL,
  state text NOT NULL CHECK (state IN ('kept', 'published', 'counted', 'purged', 'superseded')),
  kept_at timestamptz NOT NULL,
  purged_at timestamptz,
  key bytea,
  -- As in a record of format v2; null where purged.
  headers bytea,
  value bytea,
  UNIQUE (partition_id, record_offset, leader_epoch)
);
CREATE INDEX dead_letters_to_publish ON dead_letters (partition_id, record_offset) WHERE state = 'kept';
CREATE INDEX dead_letters_by_reason ON dead_letters (partition_id, state, reason);

CREATE TABLE gaps (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partition_id bigint NOT NULL REFERENCES partitions,
  kind text NOT NULL,
  message text NOT NULL,
  from_offset bigint,
  to_offset bigint,
  recorded_at timestamptz NOT NULL
);
CREATE INDEX gaps_of_partition ON gaps (partition_id);

CREATE VIEW type_counts (group_id, type, count) AS
SELECT partitions.group_id, counts.type, sum(counts.count)::bigint
FROM counts JOIN partitions ON partitions.id = counts.partition_id
GROUP BY partitions.group_id, counts.type;
COMMENT ON VIEW type_counts IS
  'Public: how many captured Pokémon have each type, for every consumer group. Its columns and their meaning stay.';
