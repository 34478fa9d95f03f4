#!/usr/bin/env python3
"""Runs the comparison with independent results and fails on anything but the known difference.

    check_captures.py CHECK.PY --bin PROGRAM -v

The known difference: in a capture whose second record has a fraction of 1,000,000 microseconds, the
reference took the text "…370.1000000" for 370.1 seconds; 371 is what the record says.
"""
import subprocess
import sys

KNOWN = "tcpdump__timestamp_invalid_micro.pcap: stream 0 frame 1: last_ts_ns 1418145371000000000 wanted 1418145370100000000"

done = subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
print(done.stdout, end="")
differences = [line for line in done.stdout.splitlines() if line.startswith("  ")]
unknown = [line for line in differences if KNOWN not in line]
if unknown or (done.returncode != 0 and not differences):
    sys.exit(1)
