-- The event counted last, for people to see, whichever instance counted it:
-- {"at":1700000000000,"origin":"live","id":25,"name":"pikachu","types":["electric"]}; null: none since this column, or a reset.
ALTER TABLE partitions ADD COLUMN newest TEXT;
