"""Reads a Parquet file with pyarrow and with DuckDB, and prints one JSON object: of each its types by column, and its rows with
values as texts that do not depend on the reader."""

import datetime
import decimal
import json
import sys
import uuid

import duckdb
import pyarrow.parquet


def plain(value):
    if isinstance(value, bytes):
        return str(uuid.UUID(bytes=value))
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, datetime.datetime):
        value = value.astimezone(datetime.timezone.utc)
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if value.microsecond else "%Y-%m-%dT%H:%M:%SZ")
    return value


def with_pyarrow(path):
    table = pyarrow.parquet.read_table(path)
    rows = [[plain(value) for value in row.values()] for row in table.to_pylist()]
    return {field.name: str(field.type) for field in table.schema}, rows


def with_duckdb(path):
    duckdb.sql("set timezone = 'UTC'")
    found = duckdb.sql(f"select * from read_parquet('{path}')")
    types = {name: str(kind) for name, kind in zip(found.columns, found.types)}
    return types, [[plain(value) for value in row] for row in found.fetchall()]


(path,) = sys.argv[1:]
read = {"pyarrow": with_pyarrow(path), "duckdb": with_duckdb(path)}
print(json.dumps({name: {"types": types, "rows": rows} for name, (types, rows) in read.items()}))
