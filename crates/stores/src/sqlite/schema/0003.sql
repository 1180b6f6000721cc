-- The halves of a call that are written together share their rows: the journal has one of kind 6,
-- and the reply stands beside the request.
ALTER TABLE body ADD COLUMN reply_codec INTEGER;
ALTER TABLE body ADD COLUMN reply_size INTEGER;
ALTER TABLE body ADD COLUMN reply BLOB;
