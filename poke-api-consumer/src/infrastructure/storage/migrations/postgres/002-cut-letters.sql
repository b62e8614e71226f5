-- Of a dead letter's key, headers or value that is too long to be kept whole there are its first bytes, and here its length and SHA-256:
-- {"value":{"bytes":2000000,"sha256":"…"}}, null where all of it is kept.
ALTER TABLE dead_letters ADD COLUMN cut text;
