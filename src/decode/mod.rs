//! Link layers, tunnels, IP, defragmentation and TCP: a frame in, a segment out.
