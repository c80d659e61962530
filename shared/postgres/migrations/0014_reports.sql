-- What finding and counting need of the tables that uploads fill.

-- the items of an order, and the orders that have a product
create index order_items_of_order on order_items (tenant_id, order_id);
create index order_items_of_product on order_items (tenant_id, product_id, order_id);

-- A plan over forty months costs enough to be compiled, and the compilation takes longer than the query.
alter role intake_api set jit = off;
alter role intake_loader set jit = off;
