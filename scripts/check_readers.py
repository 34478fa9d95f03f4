#!/usr/bin/env python3
"""Checks what other programs read from an output directory.

usage: check_readers.py DIR...

DuckDB, pandas, Polars and pyarrow read flows.parquet and gaps.parquet, each in its own way, and
Python's csv module reads flows.csv where there is one. Names, types, nulls, times and values must
be as published. A directory whose tables are empty is checked like any other. One line is printed
per reader; the exit status is 1 if anything failed, 2 on wrong usage.

All four libraries must be installed; a missing one is a failure, not a reader that passed.
"""

import csv
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

HALF = """
    packets i64, ip_bytes i64, payload_bytes i64, stream_bytes i64, stream_span i64,
    gap_bytes i64, gaps i64, retrans_packets i64, retrans_bytes i64, ooo_packets i64,
    dup_acks i64, zero_windows i64, keepalives i64, overlap_bytes i64, conflict_bytes i64,
    truncated_bytes i64, isn u32?, tcp_flags u8, mss u16?, wscale u8?, sack_permitted bool?,
    path text?, sha256 text?
"""


def parse(text, prefix=""):
    """[(name, type, nullable)] of a list as above."""
    columns = []
    for entry in text.split(","):
        name, kind = entry.split()
        columns.append((prefix + name, kind.rstrip("?"), kind.endswith("?")))
    return columns


FLOWS = (
    parse("""
    flow_id i64, community_id text, client_ip text, server_ip text, client_port u16,
    server_port u16, ip_version u8, vlan u16?, inner_vlan u16?, tunnel text?, client_by name,
    midstream bool, tuple_seq i32, first_ts time?, last_ts time?, first_ts_ns i64?,
    last_ts_ns i64?, duration_ns i64?, syn_rtt_ns i64?, ack_rtt_ns i64?, conn_state name,
    history text, end_reason name, complete bool
    """)
    + parse(HALF, "c2s_")
    + parse(HALF, "s2c_")
    + parse("first_frame i64, last_frame i64, file_id i32")
)
GAPS = parse("""
    flow_id i64, direction name, stream_offset i64, length i64, cause name, elided bool
""")
TABLES = {"flows": FLOWS, "gaps": GAPS}
TIMES = [("first_ts", "first_ts_ns"), ("last_ts", "last_ts_ns")]


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def expect_equal(got, wanted, what):
    """Compares two lists and names the first difference."""
    expect(len(got) == len(wanted), f"{what}: {len(got)} entries, not {len(wanted)}")
    for index, (left, right) in enumerate(zip(got, wanted)):
        expect(left == right, f"{what}, entry {index}: {left!r}, not {right!r}")


def expect_times(columns):
    """The microsecond columns are the nanosecond ones, floored, and null together."""
    for micros_name, nanos_name in TIMES:
        floored = [None if ns is None else ns // 1000 for ns in columns[nanos_name]]
        expect_equal(columns[micros_name], floored, micros_name)
    spans = [
        None if first is None else last - first
        for first, last in zip(columns["first_ts_ns"], columns["last_ts_ns"])
    ]
    expect_equal(columns["duration_ns"], spans, "duration_ns")


def expect_same(columns, wanted, table):
    for name, _, _ in TABLES[table]:
        expect_equal(columns[name], wanted[name], f"{table}.{name}")


def read_pyarrow(directory):
    """What pyarrow reads: {table: {column: values}}, times as microseconds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "i64": pa.int64(),
        "i32": pa.int32(),
        "u32": pa.uint32(),
        "u16": pa.uint16(),
        "u8": pa.uint8(),
        "bool": pa.bool_(),
        "text": pa.string(),
        "name": pa.dictionary(pa.int8(), pa.string()),
        "time": pa.timestamp("us", tz="UTC"),
    }
    tables = {}
    for table, columns in TABLES.items():
        # Named twice over: ParquetFile reads this file and takes nothing from the path.
        data = pq.ParquetFile(directory / f"{table}.parquet").read()
        got = [(field.name, field.type, field.nullable) for field in data.schema]
        wanted = [(name, types[kind], nullable) for name, kind, nullable in columns]
        expect_equal(got, wanted, f"{table}: names and types")
        data.validate(full=True)
        keys = data.schema.metadata or {}
        for key in (b"schema_version", b"version", b"config"):
            expect(b"bulkreasm." + key in keys, f"{table}: no footer key {key.decode()}")
        tables[table] = {
            name: (data[name].cast(pa.int64()) if kind == "time" else data[name]).to_pylist()
            for name, kind, _ in columns
        }
    expect_times(tables["flows"])
    return pa.__version__, tables


def check_duckdb(directory, wanted):
    import duckdb

    types = {
        "i64": "BIGINT",
        "i32": "INTEGER",
        "u32": "UINTEGER",
        "u16": "USMALLINT",
        "u8": "UTINYINT",
        "bool": "BOOLEAN",
        "text": "VARCHAR",
        "name": "VARCHAR",
        "time": "TIMESTAMP WITH TIME ZONE",
    }
    db = duckdb.connect()
    for table, columns in TABLES.items():
        path = str(directory / f"{table}.parquet").replace("'", "''")
        db.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{path}')")
        got = [row[:2] for row in db.execute(f"DESCRIBE {table}").fetchall()]
        expect_equal(got, [(name, types[kind]) for name, kind, _ in columns], f"{table}: types")
        # epoch_us, since a fetched time would need pytz and could not hold every year.
        terms = [f"epoch_us({name})" if kind == "time" else name for name, kind, _ in columns]
        rows = db.execute(f"SELECT {', '.join(terms)} FROM {table}").fetchall()
        data = {column[0]: [row[i] for row in rows] for i, column in enumerate(columns)}
        expect_same(data, wanted[table], table)
        if table == "flows":
            expect_times(data)
    joined = db.execute(
        """
        SELECT count(*), coalesce(sum(length) FILTER (direction = 'c2s'), 0),
               coalesce(sum(length) FILTER (direction = 's2c'), 0)
        FROM gaps JOIN flows USING (flow_id)
        """
    ).fetchone()
    flows = wanted["flows"]
    bytes_in_rows = (sum(flows["c2s_gap_bytes"]), sum(flows["s2c_gap_bytes"]))
    expect_equal(
        joined, (len(wanted["gaps"]["flow_id"]), *bytes_in_rows), "gaps joined with flows"
    )
    # A query for one value goes through bloom filters and the page index.
    for name in ("client_ip", "server_ip", "community_id"):
        for value in sorted(set(flows[name]))[:20]:
            query = f"SELECT count(*) FROM flows WHERE {name} = ?"
            found = db.execute(query, [value]).fetchone()[0]
            expect(found == flows[name].count(value), f"{name} = {value}: {found} rows")
    return duckdb.__version__


def check_pandas(directory, wanted):
    import pandas as pd

    whole = {"i64": "int64", "i32": "int32", "u32": "uint32", "u16": "uint16", "u8": "uint8"}
    for table, columns in TABLES.items():
        path = directory / f"{table}.parquet"
        frame = pd.read_parquet(path)
        expect_equal(list(frame.columns), [column[0] for column in columns], f"{table}: names")
        for name, kind, nullable in columns:
            dtype = frame[name].dtype
            nulls = wanted[table][name].count(None)
            expect(int(frame[name].isna().sum()) == nulls, f"{table}.{name}: nulls")
            expect(nullable or nulls == 0, f"{table}.{name}: null where none may be")
            if kind in whole and nulls == 0:
                expect(dtype == whole[kind], f"{table}.{name}: {dtype}, not {whole[kind]}")
            elif kind == "time":
                expect(str(dtype) == "datetime64[us, UTC]", f"{table}.{name}: {dtype}")
            elif kind == "name":
                expect(isinstance(dtype, pd.CategoricalDtype), f"{table}.{name}: {dtype}")
            elif kind == "bool" and nulls == 0:
                expect(dtype == "bool", f"{table}.{name}: {dtype}")
        # Nullable types for the values: by default a null turns whole numbers into floats.
        frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
        data = {}
        for name, kind, _ in columns:
            column = frame[name]
            if kind == "time":
                present = column.notna()
                values = column.astype("int64")
                data[name] = [int(v) if p else None for v, p in zip(values, present)]
            else:
                data[name] = [None if pd.isna(value) else value for value in column]
        expect_same(data, wanted[table], table)
        if table == "flows":
            expect_times(data)
    return pd.__version__


def check_polars(directory, wanted):
    import polars as pl

    types = {
        "i64": pl.Int64,
        "i32": pl.Int32,
        "u32": pl.UInt32,
        "u16": pl.UInt16,
        "u8": pl.UInt8,
        "bool": pl.Boolean,
        "text": pl.String,
        "time": pl.Datetime("us", "UTC"),
    }
    for table, columns in TABLES.items():
        path = directory / f"{table}.parquet"
        frame = pl.read_parquet(path, hive_partitioning=False)
        expect_equal(frame.columns, [column[0] for column in columns], f"{table}: names")
        data = {}
        for name, kind, _ in columns:
            dtype = frame.schema[name]
            if kind == "name":
                names = (pl.Categorical, pl.Enum, pl.String)
                expect(dtype in names, f"{table}.{name}: {dtype}")
            else:
                expect(dtype == types[kind], f"{table}.{name}: {dtype}, not {types[kind]}")
            column = frame[name].to_physical() if kind == "time" else frame[name]
            data[name] = column.to_list()
        expect_same(data, wanted[table], table)
        if table == "flows":
            expect_times(data)
        lazy = pl.scan_parquet(path).select(pl.len()).collect().item()
        expect(lazy == frame.height, f"{table}: {lazy} rows lazily, {frame.height} at once")
    return pl.__version__


def csv_text(value, kind):
    """The text of a value in flows.csv."""
    if value is None:
        return ""
    if kind == "bool":
        return "true" if value else "false"
    if kind == "time":
        time = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=value)
        return time.strftime(f"{time.year:04}-%m-%dT%H:%M:%S.%fZ")
    if kind == "text" and value[:1] in ("=", "+", "-", "@", "\t", "\r") and value:
        return "'" + value
    return str(value)


def check_csv(directory, wanted):
    path = directory / "flows.csv"
    if not path.exists():
        return "no flows.csv, not checked"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    expect_equal(rows[0], [column[0] for column in FLOWS], "names")
    for index, (name, kind, _) in enumerate(FLOWS):
        texts = [csv_text(value, kind) for value in wanted["flows"][name]]
        expect_equal([row[index] for row in rows[1:]], texts, name)
    return f"Python {sys.version.split()[0]}"


def check(directory):
    """Checks one directory; answers whether all readers passed."""
    try:
        version, wanted = read_pyarrow(directory)
    except Exception as error:  # a reader may fail in any way, and the report is the point
        print(f"{directory}: pyarrow: FAILED: {error!r}")
        return False
    sizes = ", ".join(f"{len(wanted[table]['flow_id'])} {table}" for table in TABLES)
    print(f"{directory}: pyarrow {version}: ok ({sizes})")
    passed = True
    readers = {
        "duckdb": check_duckdb,
        "pandas": check_pandas,
        "polars": check_polars,
        "csv": check_csv,
    }
    for reader, check_reader in readers.items():
        try:
            print(f"{directory}: {reader} {check_reader(directory, wanted)}: ok")
        except Exception as error:
            print(f"{directory}: {reader}: FAILED: {error!r}")
            passed = False
    return passed


def main(arguments):
    if not arguments or arguments[0].startswith("-"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    # Every directory is checked, also after a failure.
    results = [check(Path(argument)) for argument in arguments]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
