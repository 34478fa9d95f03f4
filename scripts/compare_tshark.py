#!/usr/bin/env python3
"""Compares flows with the TCP conversations of tshark.

usage: compare_tshark.py [--bin PROGRAM] [--known FILE] [--verbose] CAPTURE...

A CAPTURE is a file, or a folder for the files in it; each is compared by itself. Per capture:
the number of flows and conversations (tcp.stream), and for each pair of a flow and the conversation
that begins in the same frame, both directions' packets, IP and payload bytes, and counters of
analysis. What is counted here is checked against the table that `tshark -z conv,tcp` prints.

Each capture that differs is printed with its differences (three, all with --verbose), as counted by
bulkreasm and by tshark. Lines of --known are `NAME: REASON`; a capture so named may differ, and the
reason is printed with it. Files that neither reads are counted apart.
The exit status is 0 if no other capture differs, 1 if one does, 2 on wrong usage.

Needs tshark and pyarrow. The user's settings do not apply. Other than by default, tshark does not
put streams together for higher protocols, resolves no names, and looks for Teredo on all ports; and
in bulkreasm no timeout ends a flow, since tshark has none.
docs/COMPARISON.md says what the two mean alike, and what they do not.
"""

import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq

SETTINGS = {
    "tcp.desegment_tcp_streams": "FALSE",  # what higher protocols want is not compared
    "tcp.analyze_sequence_numbers": "TRUE",
    "tcp.check_checksum": "FALSE",
    "ip.check_checksum": "FALSE",
    "ip.defragment": "TRUE",
    "ipv6.defragment": "TRUE",
    "ip.tso_support": "TRUE",
}
HEURISTICS = ("teredo_udp",)
NO_TIMEOUTS = ("--idle-timeout", "--handshake-timeout", "--close-linger")
# Column of flows.parquet, behind c2s_ or s2c_: the flags any of which tshark gives such a segment.
COUNTERS = {
    "retrans_packets": ("retransmission", "fast_retransmission", "spurious_retransmission"),
    "ooo_packets": ("out_of_order",),
    "dup_acks": ("duplicate_ack",),
    "zero_windows": ("zero_window",),
    "keepalives": ("keep_alive",),
}
# Fields that are in a frame where ip.len is not all that was sent.
FRAGMENTS = ("ip.fragment.count", "ipv6.fragment.count")
ADDRESSES = ("ip.src", "ipv6.src", "ip.dst", "ipv6.dst")
FIELDS = (
    "frame.number frame.protocols _ws.malformed _ws.short ip.len ipv6.plen".split()
    + "tcp.stream tcp.srcport tcp.dstport tcp.len tcp.options.sack_le".split()
    + ["tcp.analysis.window_update"]
    + list(ADDRESSES + FRAGMENTS)
    + [f"tcp.analysis.{flag}" for flags in COUNTERS.values() for flag in flags]
)
COLUMNS = ("packets", "ip_bytes", "payload", *COUNTERS)


class Conversation:
    """The segments of one tcp.stream: (sources, destinations, ports, counts)."""

    def __init__(self, first_frame):
        self.first_frame = first_frame
        self.segments = []

    def halves(self, flow):
        """COLUMNS by direction, as seen from the flow's client."""
        sums = {direction: collections.Counter() for direction in ("c2s", "s2c")}
        client = (flow["client_port"], flow["server_port"])
        for sources, targets, ports, counts in self.segments:
            from_client = ports == client
            if from_client and client[0] == client[1]:
                from_client = flow["client_ip"] in sources and flow["server_ip"] in targets
            sums["c2s" if from_client else "s2c"].update(counts)
        return sums


def run_tshark(capture):
    """(conversations by number, frames in the printed table, frames cut short, complaint)."""
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-z", "conv,tcp"]
    for name, value in SETTINGS.items():
        command += ["-o", f"{name}:{value}"]
    for name in HEURISTICS:
        command += ["--enable-heuristic", name]
    for field in FIELDS:
        command += ["-e", field]
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "WIRESHARK_CONFIG_DIR": empty, "HOME": empty, "LC_ALL": "C"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    lines, _, table = done.stdout.partition("\n" + "=" * 80)
    conversations, unfinished = {}, 0
    for line in lines.splitlines():
        row = dict(zip(FIELDS, line.split("\t")))
        if row.get("tcp.stream") and ":icmp" not in row["frame.protocols"]:
            add_segments(conversations, row)
            unfinished += bool(row["_ws.malformed"] or row["_ws.short"])
    frames = sum(map(int, re.findall(r"<->(?:.*?\s(\d+) [\d,]+ \w+){3}", table)))
    complaint = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    return conversations, frames, unfinished, "".join(complaint)


def add_segments(conversations, row):
    """Adds a frame's segments; of several, the first has what cannot be told apart."""
    frame = int(row["frame.number"])
    sources = {a for name in ADDRESSES[:2] for a in row[name].split(",")}
    targets = {a for name in ADDRESSES[2:] for a in row[name].split(",")}
    layers = row["frame.protocols"].partition(":tcp")[0].split(":")
    inner = [layer for layer in layers if layer in ("ip", "ipv6")][-1]
    header, size = (40, "ipv6.plen") if inner == "ipv6" else (0, "ip.len")
    ip_bytes = header + int(row[size].split(",")[-1] or 0)
    partial = any(row[name] for name in FRAGMENTS)
    several = [row[f"tcp.{name}"].split(",") for name in ("stream", "srcport", "dstport", "len")]
    for place, (stream, source, target, length) in enumerate(zip(*several)):
        counts = collections.Counter(packets=1, ip_bytes=ip_bytes, payload=int(length or 0))
        counts["partial"] = partial or len(several[0]) > 1
        for column, flags in COUNTERS.items():
            if place == 0 and any(row[f"tcp.analysis.{flag}"] for flag in flags):
                counts[column] = 1
        # Today's guide counts it, and older versions do not.
        if row["tcp.analysis.window_update"] and row["tcp.options.sack_le"]:
            counts["dup_acks"] = 1
        conversation = conversations.setdefault(int(stream), Conversation(frame))
        conversation.segments.append((sources, targets, (int(source), int(target)), counts))


def run_bulkreasm(program, capture):
    """(flows as dicts, complaint, whether it refused the capture)."""
    with tempfile.TemporaryDirectory() as out:
        command = [program, str(capture), "--out", out, "--payload", "none", "--quiet"]
        command += [part for name in NO_TIMEOUTS for part in (name, "1000000h")]
        done = subprocess.run(command, capture_output=True, text=True)
        table = Path(out) / "flows.parquet"
        flows = pq.ParquetFile(table).read().to_pylist() if table.exists() else []
    complaint = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    return flows, "".join(complaint), done.returncode not in (0, 3)


def differences(flows, conversations):
    """One text per difference."""
    waiting = collections.defaultdict(list)
    for number, conversation in conversations.items():
        waiting[conversation.first_frame].append((number, conversation))
    for flow in flows:
        name = f"flow {flow['flow_id']}"
        if not waiting[flow["first_frame"]]:
            yield f"{name}: no conversation begins there"
            continue
        number, conversation = waiting[flow["first_frame"]].pop(0)
        for direction, sums in conversation.halves(flow).items():
            for column in COLUMNS:
                if column == "ip_bytes" and sums["partial"]:
                    continue
                if column == "payload":
                    names = ("payload_bytes", "truncated_bytes")
                else:
                    names = (column,)
                got = sum(flow[f"{direction}_{part}"] for part in names)
                if got != sums[column]:
                    yield f"{name}, stream {number}: {direction}_{column} {got}, {sums[column]}"
    for frame, rest in waiting.items():
        for number, _ in rest:
            yield f"stream {number}: no flow begins in frame {frame}"


def compare(program, capture):
    """(kind, differences, complaints of both, sums of what was compared)."""
    flows, damage, refused = run_bulkreasm(program, capture)
    conversations, table, unfinished, complaint = run_tshark(capture)
    found = list(differences(flows, conversations))
    segments = sum(len(conversation.segments) for conversation in conversations.values())
    # A frame whose dissection breaks off in the TCP header is in a stream, but not in the table.
    if not segments - unfinished <= table <= segments:
        found.append(f"tshark's own table: {table} frames, not {segments}")
    sums = collections.Counter({
        "captures": 1,
        "captures with flows": int(bool(flows)),
        "flows": len(flows),
        "conversations": len(conversations),
    })
    for conversation in conversations.values():
        for *_, counts in conversation.segments:
            sums.update({column: counts[column] for column in COLUMNS})
    complaints = [text for text in (damage, complaint) if text]
    kind = "different" if found else "unread" if refused else "alike"
    return kind, found, complaints, sums


def files_of(path):
    return sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("--bin", default="target/release/bulkreasm")
    parser.add_argument("--known", type=Path)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("captures", nargs="+", type=Path)
    options = parser.parse_args()
    known = {}
    if options.known:
        lines = options.known.read_text(encoding="utf-8").splitlines()
        known = dict(re.split(r":\s*", line, maxsplit=1) for line in lines if ":" in line)
    captures = [file for path in options.captures for file in files_of(path)]
    kinds = ("alike", "unread", "known", "different")
    totals = {kind: collections.Counter() for kind in kinds}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda capture: compare(options.bin, capture), captures)
        for capture, (kind, found, complaints, sums) in zip(captures, results):
            reason = known.get(capture.name)
            if kind == "different" and reason:
                kind = "known"
            totals[kind].update(sums)
            if found or (complaints and options.verbose):
                print("; ".join([f"{capture.name}: {len(found)} differences", *complaints]))
                shown = found if options.verbose else found[:3]
                print(*(f"    {text}\n" for text in shown), sep="", end="")
            if kind == "known":
                print(f"    reason: {reason}")
    for kind, sums in totals.items():
        terms = [f"{count} {name}" for name, count in sums.items() if count]
        print(f"{kind}:", ", ".join(terms) or "none")
    return 1 if totals["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
