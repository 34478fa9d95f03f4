#!/usr/bin/env python3
"""Runs a comparison with independent results and fails on anything but the known differences.

    check_captures.py SCRIPT.PY --bin PROGRAM [ARGUMENT ...]

A difference is a line that begins with two blanks, or a check with the two lines below it. Each known one has
its reason here.
"""
import subprocess
import sys

KNOWN = [
    # A fraction of 1,000,000 microseconds: the reference took the text "…370.1000000" for 370.1 seconds; 371 is what the
    # record says.
    "tcpdump__timestamp_invalid_micro.pcap: stream 0 frame 1: last_ts_ns 1418145371000000000 wanted 1418145370100000000",
    # A SYN with another number before the handshake is over, which the server does not answer: it goes on with the first. The
    # reference, Wireshark's convention, begins a conversation there.
    "arkime__tcp_handshake_synthetic.pcap: stream 3 frame 11: no flow starts there",
    "arkime__tcp_handshake_synthetic.pcap: stream 2 frame 9: c2s_packets 2 wanted 1",
    # A segment made by a fuzzer, with SYN and other flags, in a live connection that goes on (RFC 5961, 4.2).
    "nDPI__fuzz-2006-09-29-28586.pcap: stream 8 frame 27: no flow starts there",
    "nDPI__fuzz-2006-09-29-28586.pcap: stream 1 frame 6: c2s_packets 8 wanted 5",
    # The connection is picked up in the middle, and the end with port 80 is the server; the reference named the sender of the first
    # frame the client.
    "b9_midstream_keepalive_acked.pcap",
]

done = subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
print(done.stdout, end="")
lines = done.stdout.splitlines()
cases = [line for line, below in zip(lines, lines[1:]) if below.startswith("    expected ")]
facts = [line for line in lines if line.startswith("  ") and not line.startswith("    ")]
differences = cases + facts
unknown = [line for line in differences if not any(known in line for known in KNOWN)]
for line in unknown:
    print(f"not known: {line}")
if unknown or (done.returncode != 0 and not differences):
    sys.exit(1)
