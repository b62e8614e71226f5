-- Dead letters may be millions: what is asked again and again is answered without reading all of them.
DROP INDEX dead_letters_to_publish;
CREATE INDEX dead_letters_to_publish ON dead_letters (partition_id, record_offset, leader_epoch) WHERE state = 'kept';
DROP INDEX dead_letters_by_reason;
CREATE INDEX dead_letters_newest ON dead_letters (partition_id, id) WHERE state IN ('kept', 'published');

-- How many dead letters of a partition are kept or published, by reason. The triggers keep it, also under programs of the version before.
CREATE TABLE letter_reasons (
  partition_id INTEGER NOT NULL REFERENCES partitions,
  reason TEXT NOT NULL,
  letters INTEGER NOT NULL,
  PRIMARY KEY (partition_id, reason)
) STRICT, WITHOUT ROWID;
INSERT INTO letter_reasons
SELECT partition_id, reason, count(*) FROM dead_letters WHERE state IN ('kept', 'published') GROUP BY partition_id, reason;

CREATE TRIGGER letter_kept AFTER INSERT ON dead_letters WHEN new.state IN ('kept', 'published') BEGIN
  INSERT INTO letter_reasons VALUES (new.partition_id, new.reason, 1) ON CONFLICT DO UPDATE SET letters = letters + 1;
END;
CREATE TRIGGER letter_changed AFTER UPDATE OF state, reason ON dead_letters
WHEN (old.state IN ('kept', 'published')) <> (new.state IN ('kept', 'published')) OR old.reason <> new.reason BEGIN
  UPDATE letter_reasons SET letters = letters - 1
  WHERE partition_id = old.partition_id AND reason = old.reason AND old.state IN ('kept', 'published');
  INSERT INTO letter_reasons SELECT new.partition_id, new.reason, 1 WHERE new.state IN ('kept', 'published')
  ON CONFLICT DO UPDATE SET letters = letters + 1;
END;
