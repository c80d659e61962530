-- Whether the unpacked chunks of a file are named by the bytes that they have, and not by their numbers as those of before.
alter table files add column has_ranged_pieces boolean not null default false;

-- Of an export that failed or was cancelled, too, what is left of a file goes when its time is over; it stays what it was.
alter table exports add column is_removed boolean not null default false;
