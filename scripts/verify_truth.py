#!/usr/bin/env python3
"""Checks an output directory of bulkreasm against the truth of a generated capture.

    scripts/verify_truth.py OUTDIR CAPTURE.truth.jsonl

Every flow must be there under its flow_id, with its ends, its streams (SHA-256 of each payload
file) and its gaps, and no flow more. Exit status 1 tells of differences; the first of each kind
are printed. Needs pyarrow.
"""

import argparse
import collections
import hashlib
import json
import os
import sys

import pyarrow.parquet as pq

COLUMNS = [
    "flow_id", "client_ip", "client_port", "server_ip", "server_port", "vlan", "midstream",
    "end_reason", "c2s_path", "s2c_path", "c2s_packets", "s2c_packets", "c2s_stream_bytes",
    "s2c_stream_bytes", "c2s_gap_bytes", "s2c_gap_bytes",
]


def merged(gaps):
    """Gaps that touch are one, whatever their causes."""
    out = []
    for offset, length in sorted(gaps):
        if out and out[-1][0] + out[-1][1] == offset:
            out[-1][1] += length
        else:
            out.append([offset, length])
    return out


class Report:
    def __init__(self, show):
        self.counts = collections.Counter()
        self.show = show

    def differ(self, kind, flow, wanted, got):
        self.counts[kind] += 1
        if self.counts[kind] <= self.show:
            print(f"flow {flow}: {kind}: expected {wanted}, got {got}")


def file_digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outdir")
    parser.add_argument("truth")
    parser.add_argument("--show", type=int, default=5, help="differences to print of each kind")
    parser.add_argument("--gaps-skipped", action="store_true", help="run was made with --gaps skip")
    parser.add_argument("--no-payload", action="store_true", help="run was made with --payload none")
    args = parser.parse_args()

    table = pq.read_table(os.path.join(args.outdir, "flows.parquet"), columns=COLUMNS)
    columns = [table.column(name).to_pylist() for name in COLUMNS]
    rows = {row[0]: dict(zip(COLUMNS, row)) for row in zip(*columns)}
    report = Report(args.show)
    if len(rows) != table.num_rows:
        report.differ("flow_id is unique", "-", table.num_rows, len(rows))

    gaps = collections.defaultdict(list)
    gap_table = pq.read_table(os.path.join(args.outdir, "gaps.parquet")).to_pydict()
    for flow, direction, offset, length, cause, elided in zip(
        *(gap_table[name]
          for name in ["flow_id", "direction", "stream_offset", "length", "cause", "elided"])
    ):
        gaps[flow, direction].append((offset, length, cause, elided))

    flows = streams = captured = 0
    with open(args.truth) as file:
        for line in file:
            truth = json.loads(line)
            flow = truth["flow_id"]
            flows += 1
            row = rows.pop(flow, None)
            if row is None:
                report.differ("flow is missing", flow, "a row", None)
                continue
            for name in ["client_ip", "client_port", "server_ip", "server_port", "vlan", "midstream"]:
                if row[name] != truth[name]:
                    report.differ(name, flow, truth[name], row[name])
            if truth["end"] is not None and row["end_reason"] != truth["end"]:
                report.differ("end_reason", flow, truth["end"], row["end_reason"])
            for direction in ["c2s", "s2c"]:
                streams += 1
                half = truth[direction]
                captured += half["stream_bytes"]
                check_half(args, report, flow, direction, half, row, gaps.pop((flow, direction), []))
    for flow in rows:
        report.differ("flow too many", flow, None, rows[flow]["client_ip"])
    for (flow, direction), found in gaps.items():
        report.differ("gap of no flow", flow, None, (direction, found[:3]))

    print(f"{flows} flows, {streams} streams, {captured} bytes compared; differences:",
          dict(report.counts) if report.counts else "none")
    return 1 if report.counts else 0


def check_half(args, report, flow, direction, half, row, found):
    for name in ["packets", "stream_bytes"]:
        got = row[f"{direction}_{name}"]
        if got != half[name]:
            report.differ(f"{direction} {name}", flow, half[name], got)

    wanted = merged((g["offset"], g["length"]) for g in half["gaps"])
    got = merged(g[:2] for g in found)
    if wanted != got:
        report.differ(f"{direction} gaps", flow, wanted[:4], got[:4])
    elif half["stream_bytes"]:
        # Where nothing at all was captured, start and end are the same place.
        wanted = [(g["offset"], g["length"], g["cause"]) for g in half["gaps"]]
        got = [g[:3] for g in sorted(found)]
        if wanted != got:
            report.differ(f"{direction} gap causes", flow, wanted[:4], got[:4])
    total = sum(g["length"] for g in half["gaps"])
    if row[f"{direction}_gap_bytes"] != total:
        report.differ(f"{direction} gap_bytes", flow, total, row[f"{direction}_gap_bytes"])

    if args.no_payload:
        return
    path = row[f"{direction}_path"]
    elided = args.gaps_skipped or any(g[3] for g in found)
    wanted = (half["sha256_without_gaps"] or half["sha256"]) if elided else half["sha256"]
    if path is None or wanted is None:
        if (path is None) != (wanted is None):
            report.differ(f"{direction} payload file", flow, wanted, path)
        return
    try:
        path = os.path.join(args.outdir, path)
        size = half["stream_bytes"] if elided else half["file_bytes"]
        if os.path.getsize(path) != size:
            report.differ(f"{direction} file size", flow, size, os.path.getsize(path))
        elif file_digest(path) != wanted:
            report.differ(f"{direction} content", flow, wanted, path)
    except OSError as error:
        report.differ(f"{direction} payload file", flow, "a file", error)


if __name__ == "__main__":
    sys.exit(main())
