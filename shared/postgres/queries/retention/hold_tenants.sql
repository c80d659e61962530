-- Until the transaction ends no tenant comes, goes, or changes what it wants.
lock table tenants in share mode
