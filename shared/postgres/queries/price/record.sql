-- The rows come sorted by id: two transactions that record the same ids of other products wait for each other in one order.
insert into price_events (
    tenant_id, price_event_id, product_id, old_price, new_price, source, metadata, event_time, received_at, outcome,
    pct_change, anomaly_detected, anomaly_reason, suspect, reasons, decision, decided_at, place
)
select
    $1, id, product_id, old_cents::numeric / 100, new_cents::numeric / 100, source, metadata::jsonb, event_time, received_at,
    outcome, pct_change::numeric / 100, anomaly_reason is not null, anomaly_reason, suspect, reasons::jsonb, decision,
    case when decision is not null then now() end, place
from
    unnest(
        $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[],
        $10::text[], $11::bigint[], $12::text[], $13::boolean[], $14::text[], $15::text[], $16::integer[]
    ) as recorded (
        id, product_id, old_cents, new_cents, source, metadata, event_time, received_at, outcome, pct_change, anomaly_reason,
        suspect, reasons, decision, place
    )
