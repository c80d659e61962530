-- No hash: whatever an upload says of the row is news.
insert into price_history (tenant_id, id, product_id, price, effective_from, flagged, payload_hash)
select $1, id, product_id, cents::numeric / 100, since, flagged, ''
from
    unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::timestamptz[], $6::boolean[])
        as settled (id, product_id, cents, since, flagged)
