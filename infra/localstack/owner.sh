#!/bin/bash
# The owner is what Aurora's master user is: it may make roles, and is no superuser.
set -euo pipefail
psql --set=ON_ERROR_STOP=1 --set=password="$OWNER_PASSWORD" --username="$POSTGRES_USER" <<'SQL'
create role intake_owner login createrole nosuperuser nobypassrls password :'password';
create database intake owner intake_owner;
SQL
