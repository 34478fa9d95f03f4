//! Writes capture files: pcap in both byte orders and both resolutions, and pcapng.

use std::io::{self, Write};

/// A capture file format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Classic pcap.
    Pcap {
        /// Big-endian headers.
        big_endian: bool,
        /// Nanoseconds rather than microseconds.
        nanos: bool,
    },
    /// pcapng with one interface, nanoseconds, enhanced packet blocks.
    Pcapng {
        /// Big-endian headers.
        big_endian: bool,
    },
}

impl Format {
    /// Every format, for tests that go through them.
    pub const ALL: [Format; 6] = [
        Format::Pcap {
            big_endian: false,
            nanos: false,
        },
        Format::Pcap {
            big_endian: false,
            nanos: true,
        },
        Format::Pcap {
            big_endian: true,
            nanos: false,
        },
        Format::Pcap {
            big_endian: true,
            nanos: true,
        },
        Format::Pcapng { big_endian: false },
        Format::Pcapng { big_endian: true },
    ];

    fn big_endian(self) -> bool {
        match self {
            Format::Pcap { big_endian, .. } | Format::Pcapng { big_endian } => big_endian,
        }
    }

    fn word(self, value: u32) -> [u8; 4] {
        if self.big_endian() {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn half(self, value: u16) -> [u8; 2] {
        if self.big_endian() {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }
}

/// Writes frames with Ethernet headers to a capture file.
#[derive(Debug)]
pub struct CaptureWriter<W> {
    out: W,
    format: Format,
    frames: u64,
    bytes: u64,
}

impl<W: Write> CaptureWriter<W> {
    /// Starts a file and writes its header.
    pub fn new(mut out: W, format: Format, snaplen: u32) -> io::Result<CaptureWriter<W>> {
        let mut header = Vec::new();
        match format {
            Format::Pcap { nanos, .. } => {
                let magic = if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
                header.extend_from_slice(&format.word(magic));
                header.extend_from_slice(&format.half(2));
                header.extend_from_slice(&format.half(4));
                header.extend_from_slice(&[0; 8]);
                header.extend_from_slice(&format.word(snaplen));
                header.extend_from_slice(&format.word(1));
            }
            Format::Pcapng { .. } => {
                header.extend_from_slice(&format.word(0x0a0d_0d0a));
                header.extend_from_slice(&format.word(28));
                header.extend_from_slice(&format.word(0x1a2b_3c4d));
                header.extend_from_slice(&format.half(1));
                header.extend_from_slice(&format.half(0));
                header.extend_from_slice(&[0xff; 8]);
                header.extend_from_slice(&format.word(28));
                // The interface: Ethernet, and option 9 (time resolution) with value 9, nanoseconds.
                header.extend_from_slice(&format.word(1));
                header.extend_from_slice(&format.word(32));
                header.extend_from_slice(&format.half(1));
                header.extend_from_slice(&[0; 2]);
                header.extend_from_slice(&format.word(snaplen));
                header.extend_from_slice(&format.half(9));
                header.extend_from_slice(&format.half(1));
                header.extend_from_slice(&[9, 0, 0, 0]);
                header.extend_from_slice(&[0; 4]);
                header.extend_from_slice(&format.word(32));
            }
        }
        out.write_all(&header)?;
        let bytes = header.len() as u64;
        Ok(CaptureWriter {
            out,
            format,
            frames: 0,
            bytes,
        })
    }

    /// Appends a frame of which `data` was captured and `original_len` bytes were on the wire.
    /// Answers its number, from 1.
    pub fn frame(&mut self, ts_ns: u64, data: &[u8], original_len: usize) -> io::Result<u64> {
        let format = self.format;
        let (captured, original) = (data.len() as u32, original_len as u32);
        match format {
            Format::Pcap { nanos, .. } => {
                let fraction = ts_ns % 1_000_000_000 / if nanos { 1 } else { 1000 };
                let mut header = [0; 16];
                header[..4].copy_from_slice(&format.word((ts_ns / 1_000_000_000) as u32));
                header[4..8].copy_from_slice(&format.word(fraction as u32));
                header[8..12].copy_from_slice(&format.word(captured));
                header[12..].copy_from_slice(&format.word(original));
                self.out.write_all(&header)?;
                self.out.write_all(data)?;
                self.bytes += 16 + data.len() as u64;
            }
            Format::Pcapng { .. } => {
                let padding = data.len().wrapping_neg() % 4;
                let length = format.word((32 + data.len() + padding) as u32);
                let mut header = [0; 28];
                header[..4].copy_from_slice(&format.word(6));
                header[4..8].copy_from_slice(&length);
                header[12..16].copy_from_slice(&format.word((ts_ns >> 32) as u32));
                header[16..20].copy_from_slice(&format.word(ts_ns as u32));
                header[20..24].copy_from_slice(&format.word(captured));
                header[24..].copy_from_slice(&format.word(original));
                self.out.write_all(&header)?;
                self.out.write_all(data)?;
                self.out.write_all(&[0; 3][..padding])?;
                self.out.write_all(&length)?;
                self.bytes += 32 + (data.len() + padding) as u64;
            }
        }
        self.frames += 1;
        Ok(self.frames)
    }

    /// Frames written.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the file.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A pcapng block, little-endian. Both its lengths are `length`, or what its body needs.
pub fn block(kind: u32, body: &[u8], length: Option<u32>) -> Vec<u8> {
    let length = length.unwrap_or(body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}

/// An enhanced packet block of an interface, at so many units of its time, which claims to hold
/// `captured` bytes, or all of the frame.
pub fn packet_block(interface: u32, units: u64, captured: Option<u32>, frame: &[u8]) -> Vec<u8> {
    let captured = captured.unwrap_or(frame.len() as u32);
    let [high, low] = [(units >> 32) as u32, units as u32];
    let mut body: Vec<u8> = [interface, high, low, captured, captured]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    body.extend_from_slice(frame);
    body.resize(body.len().next_multiple_of(4), 0);
    block(6, &body, None)
}
