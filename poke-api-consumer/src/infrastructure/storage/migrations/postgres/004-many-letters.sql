-- Dead letters may be millions: what is asked again and again is answered without reading all of them.
DROP INDEX dead_letters_to_publish;
CREATE INDEX dead_letters_to_publish ON dead_letters (partition_id, record_offset, leader_epoch) WHERE state = 'kept';
CREATE INDEX dead_letters_newest ON dead_letters (partition_id, id) WHERE state IN ('kept', 'published');
