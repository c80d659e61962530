insert into exports (export_id, tenant_id, dataset, format, compression, columns, filters, spreadsheet_safe, trace_id)
values ($2, $1, $3, $4, $5, $6, $7, $8, $9)
