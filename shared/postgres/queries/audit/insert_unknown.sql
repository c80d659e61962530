select log_unknown_caller($1, $2, $3, $4, $5, $6, $7, $8)
