-- Whose chunks the plan of an unpacked file names. Each try writes its own: where objects are encrypted by a key of one's own,
-- equal bytes are not an equal version, and of two who write the same object one would take it from the other. Files that were
-- planned before have none.
alter table files add column unpacked_by uuid;

-- Of an export that failed or was cancelled, too, what is left of a file goes when its time is over; it stays what it was.
alter table exports add column is_removed boolean not null default false;
