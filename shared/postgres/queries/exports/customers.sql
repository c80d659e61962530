-- The customers from one id up to another. $3 is null where there is no upper one.
select customer_id, name, email, metadata, created_at, name as contact_name, email as contact_email, customers.xmin as row_xmin
from customers
where tenant_id = $1
    and customer_id >= $2
    and ($3::uuid is null or customer_id < $3)
    and ($4::timestamptz is null or created_at >= $4)
    and ($5::timestamptz is null or created_at < $5)
