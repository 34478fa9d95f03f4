//! The floor: what no extractor can avoid, and nothing else. The yardstick for `scripts/bench`.
//!
//! It maps the capture, chases the record headers with one thread, hashes the 5-tuple, appends
//! (offset, length) to a list, and writes each direction's bytes straight from the mapping: one
//! file created, one `writev`, one close. It checks nothing: bytes stand in the order of capture,
//! copies stand twice, damage ends the walk, fragments and tunnels are passed over, memory grows
//! with the capture, and no summary is written. It uses nothing of the library, so that a change of
//! the program cannot move what the program is measured by.
//!
//! `cargo build --release --example floor`, then `floor CAPTURE --out DIR`. It prints one line of
//! JSON, so that whoever compares times can compare answers too.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test program speaks by panicking and by printing, on 64-bit machines"
)]

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use hashbrown::HashTable;
use memmap2::Mmap;
use rustix::fs::{Mode, OFlags};

/// Maps a capture, walks it, and writes each direction's payload to a file, with nothing checked.
///
/// Reads little-endian pcap with Ethernet; sees TCP over IPv4 and IPv6, with VLAN tags.
#[derive(Parser)]
struct Args {
    capture: PathBuf,
    /// Only walk and hash: no table of flows, no lists, no files.
    #[arg(long, conflicts_with = "out")]
    walk_only: bool,
    /// Write files here; made, and must not be there. Without it the lists are made and dropped.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Threads that write files. The walk has one, always.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    threads: u8,
}

/// Directions that a writer takes at a time: enough that the counter is not fought over.
const TAKE: usize = 64;

/// Most slices that one `writev` takes (`IOV_MAX` of Linux).
const MOST_SLICES: usize = 1024;

/// One segment with payload, by where it lies: file offset in the upper 48 bits, length in the
/// lower 16. An IP packet is no longer than that, and a fresh page costs more than the shifts.
#[derive(Clone, Copy)]
struct Place(u64);

impl Place {
    fn new(offset: usize, len: usize) -> Place {
        Place((offset as u64) << 16 | len as u64)
    }

    fn of(self, data: &[u8]) -> &[u8] {
        &data[(self.0 >> 16) as usize..][..(self.0 & 0xffff) as usize]
    }
}

/// A TCP segment as the floor sees it.
struct Segment {
    /// The same for both directions.
    flow: u64,
    upwards: bool,
    /// In the capture.
    payload: usize,
    len: usize,
}

/// Folded multiplication: every bit of the product depends on every bit before it.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    (product >> 64) as u64 ^ product as u64
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The segment in the frame at `start..end`; `None` where there is none.
#[inline]
fn segment(data: &[u8], start: usize, end: usize) -> Option<Segment> {
    let frame = data.get(start..end)?;
    let mut ip = 14;
    let mut kind = be16(frame, 12)?;
    while matches!(kind, 0x8100 | 0x88a8) {
        kind = be16(frame, ip + 2)?;
        ip += 4;
    }
    let (tcp, ip_end, hosts) = match kind {
        0x0800 => {
            // A fragment has no ports, or not all of its segment.
            if *frame.get(ip + 9)? != 6 || be16(frame, ip + 6)? & 0x3fff != 0 {
                return None;
            }
            let header = usize::from(frame[ip] & 15) * 4;
            let hosts = word(frame, ip + 12)?;
            let ends = [hosts & 0xffff_ffff, hosts >> 32];
            (ip + header, ip + usize::from(be16(frame, ip + 2)?), ends)
        }
        0x86dd => {
            if *frame.get(ip + 6)? != 6 {
                return None;
            }
            let end = |at| Some(mix(word(frame, at)?, word(frame, at + 8)?));
            let ip_end = ip + 40 + usize::from(be16(frame, ip + 4)?);
            (ip + 40, ip_end, [end(ip + 8)?, end(ip + 24)?])
        }
        _ => return None,
    };
    let payload = tcp + usize::from(frame.get(tcp + 12)? >> 4) * 4;
    // Ethernet pads short frames, and snap lengths cut long ones.
    let payload_end = ip_end.min(frame.len());
    let from = hosts[0] << 16 ^ u64::from(be16(frame, tcp)?);
    let to = hosts[1] << 16 ^ u64::from(be16(frame, tcp + 2)?);
    Some(Segment {
        flow: mix(from.min(to), from.max(to)),
        upwards: from < to,
        payload: start + payload,
        len: payload_end.saturating_sub(payload),
    })
}

/// Chases the record headers. Answers the number of frames.
fn walk(data: &[u8], mut each: impl FnMut(Segment)) -> u64 {
    let magic = le32(data, 0);
    assert!(
        matches!(magic, Some(0xa1b2_c3d4 | 0xa1b2_3c4d)) && le32(data, 20) == Some(1),
        "the floor reads little-endian pcap with Ethernet only"
    );
    let (mut at, mut frames) = (24, 0);
    while let Some(len) = le32(data, at + 8) {
        let (start, end) = (at + 16, at + 16 + len);
        if end > data.len() {
            break;
        }
        frames += 1;
        if let Some(segment) = segment(data, start, end) {
            each(segment);
        }
        at = end;
    }
    frames
}

/// What the walk leaves: the places of each direction's payload, in order of capture.
struct Lists {
    frames: u64,
    flows: usize,
    /// Of all directions, one after another.
    places: Vec<Place>,
    /// Where each direction's places end; they begin where those of the one before it end.
    ends: Vec<u32>,
}

impl Lists {
    fn of(data: &[u8]) -> Lists {
        // That two hashes of 64 bits are equal by chance is left unchecked: among a million flows the
        // chance is one in thirty million.
        let mut flows: HashTable<(u64, u32)> = HashTable::new();
        let mut list: Vec<(Place, u32)> = Vec::new();
        let mut counts: Vec<u32> = Vec::new();
        let frames = walk(data, |segment| {
            let new = (segment.flow, flows.len() as u32);
            let flow = flows.entry(new.0, |known| known.0 == new.0, |known| known.0);
            let direction = flow.or_insert(new).get().1 * 2 + u32::from(segment.upwards);
            counts.resize(flows.len() * 2, 0);
            if segment.len > 0 {
                counts[direction as usize] += 1;
                list.push((Place::new(segment.payload, segment.len), direction));
            }
        });
        // One flat list, sorted by counting, rather than a million small ones that each grow.
        let mut ends = counts;
        let mut total = 0;
        for end in &mut ends {
            total += std::mem::replace(end, total);
        }
        let mut places = vec![Place(0); list.len()];
        for (place, direction) in list {
            let end = &mut ends[direction as usize];
            places[*end as usize] = place;
            *end += 1;
        }
        Lists {
            frames,
            flows: flows.len(),
            places,
            ends,
        }
    }

    fn of_direction(&self, direction: usize) -> &[Place] {
        let start = direction.checked_sub(1).map_or(0, |d| self.ends[d]);
        &self.places[start as usize..self.ends[direction] as usize]
    }
}

/// Writes files until no direction is left. Answers their number.
fn write(data: &[u8], lists: &Lists, next: &AtomicUsize, directory: &Path) -> io::Result<u64> {
    // A directory of its own, so that writers do not wait for each other's locks.
    fs::create_dir(directory)?;
    let directory = File::open(directory)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut slices = Vec::with_capacity(MOST_SLICES);
    let mut files = 0;
    loop {
        let first = next.fetch_add(TAKE, Ordering::Relaxed);
        let some = first.min(lists.ends.len())..(first + TAKE).min(lists.ends.len());
        if some.is_empty() {
            return Ok(files);
        }
        for direction in some {
            let places = lists.of_direction(direction);
            if places.is_empty() {
                continue;
            }
            let file = rustix::fs::openat(&directory, direction.to_string(), flags, Mode::RUSR)?;
            files += 1;
            for places in places.chunks(MOST_SLICES) {
                slices.clear();
                slices.extend(places.iter().map(|place| IoSlice::new(place.of(data))));
                let len: usize = slices.iter().map(|slice| slice.len()).sum();
                if rustix::io::writev(&file, &slices)? != len {
                    return Err(io::Error::from(io::ErrorKind::StorageFull));
                }
            }
        }
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let file = File::open(&args.capture)?;
    #[expect(
        unsafe_code,
        reason = "the floor has a mapping too, and not the library's"
    )]
    // SAFETY: captures that are measured are not written to meanwhile.
    let map = unsafe { Mmap::map(&file)? };
    let data: &[u8] = &map;
    let began = Instant::now();
    if args.walk_only {
        let (mut bytes, mut hashes) = (0, 0u64);
        let frames = walk(data, |segment| {
            bytes += segment.len;
            hashes = hashes.wrapping_add(segment.flow);
        });
        let seconds = began.elapsed().as_secs_f64();
        // Printed, so that the compiler cannot leave the hashing out.
        println!(
            r#"{{"frames":{frames},"payload_bytes":{bytes},"hashes":{hashes},"walk_seconds":{seconds}}}"#
        );
        return Ok(());
    }
    let lists = Lists::of(data);
    let walked = began.elapsed().as_secs_f64();
    let next = AtomicUsize::new(0);
    let mut files = 0;
    if let Some(out) = &args.out {
        fs::create_dir(out)?;
        files = thread::scope(|scope| {
            let (lists, next) = (&lists, &next);
            let writers: Vec<_> = (0..args.threads)
                .map(|n| scope.spawn(move || write(data, lists, next, &out.join(n.to_string()))))
                .collect();
            let files = writers.into_iter().map(|writer| writer.join().unwrap());
            files.sum::<io::Result<u64>>()
        })?;
    }
    let bytes: usize = lists.places.iter().map(|place| place.of(data).len()).sum();
    println!(
        r#"{{"frames":{},"flows":{},"payload_bytes":{bytes},"files":{files},"walk_seconds":{walked},"write_seconds":{}}}"#,
        lists.frames,
        lists.flows,
        began.elapsed().as_secs_f64() - walked,
    );
    Ok(())
}
