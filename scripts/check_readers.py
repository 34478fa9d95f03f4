#!/usr/bin/env python3
"""Checks what other programs read from an output directory.

usage: check_readers.py DIR...

DuckDB, pandas, Polars and pyarrow read flows, gaps, conflicts and, where it is there, segments, each in
its own way, and Python's csv module reads flows.csv where there is one. Names, types, nulls, times and values must
be as published. A directory whose tables are empty is checked like any other.

Where payload is in a table (--payload parquet), all four read its parts, too, and the queries of the
README find what stands in them. Where there are digests (--hash sha256), payload files must have
them, and so must what the table's rows come to when they are put together.

One line is printed per reader; the exit status is 1 if anything failed, 2 on wrong usage.

All four libraries must be installed; a missing one is a failure, not a reader that passed.
"""

import csv
import hashlib
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

HALF = """
    packets i64, ip_bytes i64, payload_bytes i64, stream_bytes i64, stream_span i64,
    gap_bytes i64, gaps i64, retrans_packets i64, retrans_bytes i64, ooo_packets i64,
    dup_acks i64, zero_windows i64, keepalives i64, overlap_bytes i64, conflict_bytes i64,
    truncated_bytes i64, rejected_bytes i64, isn u32?, tcp_flags u8, mss u16?, wscale u8?, sack_permitted bool?,
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
CONFLICTS = parse("""
    flow_id i64, direction name, stream_offset i64, length i64, differing_bytes i64, kept bytes,
    refused bytes, kept_frame i64, refused_frame i64, policy name
""")
SEGMENTS = parse("""
    flow_id i64, direction name, kind name, kept bool, stream_offset i64?, length i64, seq i64,
    frame i64, file_id i32, file_offset i64?, ts time?, ts_ns i64?, tcp_flags u8,
    client_total i64, server_total i64, total i64, since_last_ns i64?,
    since_last_same_direction_ns i64?, elapsed_ns i64?
""")
TABLES = {"flows": FLOWS, "gaps": GAPS, "conflicts": CONFLICTS, "segments": SEGMENTS}
PAYLOAD = parse("flow_id i64, direction name, stream_offset i64, data bytes")
TIMES = [("first_ts", "first_ts_ns"), ("last_ts", "last_ts_ns")]


def tables_of(directory):
    """The tables that a run wrote: segments only where they were asked for."""
    return {
        name: columns
        for name, columns in TABLES.items()
        if name != "segments" or (directory / "segments.parquet").exists()
    }


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
        "bytes": pa.binary(),
    }
    tables = {}
    for table, columns in tables_of(directory).items():
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
        "bytes": "BLOB",
    }
    db = duckdb.connect()
    for table, columns in tables_of(directory).items():
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
    for table, columns in tables_of(directory).items():
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
        "bytes": pl.Binary,
    }
    for table, columns in tables_of(directory).items():
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


def payload_parts(directory):
    return sorted((directory / "payload").glob("*.parquet"))


def payload_pyarrow(directory):
    """The rows of the payload table, sorted: (flow_id, direction, stream_offset, data)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = [pa.int64(), pa.dictionary(pa.int8(), pa.string()), pa.int64(), pa.binary()]
    rows = []
    for part in payload_parts(directory):
        data = pq.ParquetFile(part).read()
        got = [(field.name, field.type, field.nullable) for field in data.schema]
        wanted = [(name, kind, False) for (name, _, _), kind in zip(PAYLOAD, types)]
        expect_equal(got, wanted, f"{part.name}: names and types")
        data.validate(full=True)
        expect(b"bulkreasm.config" in (data.schema.metadata or {}), f"{part.name}: no footer key")
        rows += zip(*(data[name].to_pylist() for name, _, _ in PAYLOAD))
    return sorted(rows)


# The query of the README: the string in a row, or from a row into the next.
ACROSS_ROWS = """
    SELECT flow_id, direction, stream_offset FROM (
        SELECT *, CASE WHEN lead(stream_offset) OVER w = stream_offset + octet_length(data)
                       THEN lead(data) OVER w END AS next
        FROM payload WINDOW w AS (PARTITION BY flow_id, direction ORDER BY stream_offset))
    WHERE contains((data || coalesce(next[:{rest}], ''::BLOB))::VARCHAR, ?::BLOB::VARCHAR)
"""


def payload_duckdb(directory, rows):
    import duckdb

    db = duckdb.connect()
    path = str(directory / "payload" / "*.parquet").replace("'", "''")
    db.execute(f"CREATE VIEW payload AS SELECT * FROM read_parquet('{path}')")
    got = [row[:2] for row in db.execute("DESCRIBE payload").fetchall()]
    types = ["BIGINT", "VARCHAR", "BIGINT", "BLOB"]
    expect_equal(got, [(name, kind) for (name, _, _), kind in zip(PAYLOAD, types)], "types")
    for row, after in list(zip(rows, rows[1:]))[:: max(1, len(rows) // 3)]:
        middle = len(row[3]) // 2
        string = row[3][middle : middle + 12]
        query = "SELECT flow_id, direction, stream_offset FROM payload WHERE "
        query += "contains(data::VARCHAR, ?::BLOB::VARCHAR)"
        expect(row[:3] in db.execute(query, [string]).fetchall(), f"{string!r} not found")
        if after[:2] == row[:2] and after[2] == row[2] + len(row[3]):
            string = row[3][-6:] + after[3][:6]
            query = ACROSS_ROWS.format(rest=len(string) - 1)
            expect(row[:3] in db.execute(query, [string]).fetchall(), f"{string!r} not found")
    return sorted(db.execute("SELECT * FROM payload").fetchall())


def payload_pandas(directory, _):
    import pandas as pd

    rows = []
    for part in payload_parts(directory):
        frame = pd.read_parquet(part)
        rows += zip(*(frame[name] for name, _, _ in PAYLOAD))
    return sorted(rows)


def payload_polars(directory, _):
    import polars as pl

    path = str(directory / "payload" / "*.parquet")
    frame = pl.read_parquet(path, hive_partitioning=False)
    expect(frame.schema["data"] == pl.Binary, f"data: {frame.schema['data']}")
    return sorted(frame.rows())


def expect_digests(directory, flows, contents):
    """Each half-stream's content has the digest of its row, where the run took digests."""
    count = 0
    for direction in ("c2s", "s2c"):
        columns = (flows["flow_id"], flows[f"{direction}_path"], flows[f"{direction}_sha256"])
        for flow_id, path, digest in zip(*columns):
            if path is not None and digest is not None:
                got = hashlib.sha256(contents(flow_id, direction, path)).hexdigest()
                expect(got == digest, f"{flow_id}.{direction}: other bytes than its digest")
                count += 1
    return count


def put_together(rows, gaps):
    """What the payload files would hold, by half-stream: holes as zeros, elided ones closed up."""
    elided = {}
    for gap in zip(gaps["flow_id"], gaps["direction"], gaps["stream_offset"], gaps["length"],
                   gaps["elided"]):
        if gap[4]:
            elided.setdefault(gap[:2], []).append(gap[2:4])
    contents = {}
    for flow_id, direction, offset, data in rows:
        content = contents.setdefault((flow_id, direction), bytearray())
        closed = elided.get((flow_id, direction), [])
        position = offset - sum(length for start, length in closed if start < offset)
        expect(position >= len(content), f"{flow_id}.{direction}: rows overlap at {offset}")
        content.extend(bytes(position - len(content)))
        content.extend(data)
    return contents


def check_payload(directory, wanted):
    """Checks the payload table and digests; yields (reader, what came of it)."""
    flows = wanted["flows"]
    if not payload_parts(directory):
        count = expect_digests(
            directory, flows, lambda _flow, _direction, path: (directory / path).read_bytes()
        )
        yield "payload files", f"{count} digests"
        return
    rows = payload_pyarrow(directory)
    contents = put_together(rows, wanted["gaps"])
    count = expect_digests(
        directory, flows, lambda flow_id, direction, _: contents[flow_id, direction]
    )
    written = [
        (flow_id, direction)
        for direction in ("c2s", "s2c")
        for flow_id, path in zip(flows["flow_id"], flows[f"{direction}_path"])
        if path is not None
    ]
    expect_equal(sorted(contents), sorted(written), "half-streams with rows")
    yield "payload table, pyarrow", f"{len(rows)} rows, {count} digests"
    readers = {"duckdb": payload_duckdb, "pandas": payload_pandas, "polars": payload_polars}
    for reader, read in readers.items():
        expect_equal(read(directory, rows), rows, reader)
        yield f"payload table, {reader}", "the same rows"


def check(directory):
    """Checks one directory; answers whether all readers passed."""
    try:
        version, wanted = read_pyarrow(directory)
    except Exception as error:  # a reader may fail in any way, and the report is the point
        print(f"{directory}: pyarrow: FAILED: {error!r}")
        return False
    sizes = ", ".join(f"{len(wanted[table]['flow_id'])} {table}" for table in wanted)
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
    try:
        for reader, result in check_payload(directory, wanted):
            print(f"{directory}: {reader}: ok ({result})")
    except Exception as error:
        print(f"{directory}: payload: FAILED: {error!r}")
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
