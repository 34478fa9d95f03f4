//! Packets whose payload is compressed (IPComp): what they grow to is bounded, and changes no output.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;

use support::output::{Results, division, files_below, reassemble};
use support::wire::data_packet as tcp;

/// Bytes of IPv4 header in [`tcp`].
const IP_HEADER: usize = 20;
/// Bytes of stream that a [`bomb`] grows to.
const GROWN: u32 = 65_000;

/// A packet of some 130 bytes that grows to a segment of [`GROWN`] bytes of one letter.
fn bomb(port: u16, seq: u32, letter: u8) -> Vec<u8> {
    let mut packet = tcp(port, seq, &[]);
    let mut segment = packet.split_off(IP_HEADER);
    segment.extend(vec![letter; GROWN as usize]);
    // DEFLATE by its well-known index (RFC 3173, 3.3).
    packet.extend([6, 0, 0, 2]);
    packet.extend(miniz_oxide::deflate::compress_to_vec(&segment, 9));
    let length = u16::try_from(packet.len()).unwrap();
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[9] = 108;
    packet
}

/// A pcap of raw IP.
fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 101] {
        bytes.extend(word.to_le_bytes());
    }
    for (number, packet) in (0u32..).zip(packets) {
        let len = u32::try_from(packet.len()).unwrap();
        for word in [
            1_700_000_000 + number / 1_000_000,
            number % 1_000_000,
            len,
            len,
        ] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(packet);
    }
    bytes
}

fn extract(input: &Path, out: &Path, args: &[&str]) -> Results {
    let args: Vec<String> = args.iter().copied().map(String::from).collect();
    reassemble(input, out, &args).unwrap()
}

/// Half a gigabyte of stream from a megabyte of capture.
#[test]
fn memory_does_not_grow_with_what_packets_grow_to() {
    const PACKETS: u32 = 8_000;
    const BOUND: u64 = 320 << 20;
    let packets: Vec<Vec<u8>> = (0..PACKETS)
        .map(|number| bomb(1000, 100 + number * GROWN, b'a'))
        .collect();
    let base = tempfile::tempdir().unwrap();
    let (input, out) = (base.path().join("in.pcap"), base.path().join("out"));
    fs::write(&input, capture(&packets)).unwrap();
    let results = extract(&input, &out, &["--payload", "none"]);
    let [row] = &results.flows[..] else {
        panic!("{} flows", results.flows.len());
    };
    let grown = u64::from(PACKETS) * u64::from(GROWN);
    assert_eq!(row.int("c2s_stream_bytes").cast_unsigned(), grown);
    let peak = results.manifest["timings"]["peak_rss_bytes"]
        .as_u64()
        .unwrap();
    assert!(grown > BOUND + BOUND / 2 && peak < BOUND, "{peak} bytes");
}

/// More than the shards take at a time, in a batch that has the end of an epoch, between whole segments and
/// fragments of the same flows: the output is that of batches which hold few packets each.
#[test]
fn where_a_batch_pauses_does_not_show() {
    const EPOCH: usize = 1 << 18;
    let mut packets = Vec::new();
    let (mut seq, mut divided) = ([100u32; 7], 0);
    for number in 0..EPOCH + 900 {
        let port = number % 7;
        let letter = b'a' + u8::try_from(number % 23).unwrap();
        let near_the_end = number + 900 > EPOCH;
        let next = &mut seq[port];
        let port = 1000 + u16::try_from(port).unwrap();
        if near_the_end && number % 4 != 0 {
            packets.push(bomb(port, *next, letter));
            *next += GROWN;
        } else if near_the_end && number % 8 == 0 {
            let whole = tcp(port, *next, &[letter; 20]);
            let id = u8::try_from(number / 8 % 200).unwrap();
            packets.extend(fragments(&whole, id));
            divided += 1;
            *next += 20;
        } else {
            packets.push(tcp(port, *next, &[letter]));
            *next += 1;
        }
    }
    let base = tempfile::tempdir().unwrap();
    let input = base.path().join("in.pcap");
    fs::write(&input, capture(&packets)).unwrap();
    let mut first = None;
    for [threads, batch, chunk] in [["1", "64M", "4M"], ["2", "64M", "1M"], ["2", "50K", "20K"]] {
        let out = base.path().join(batch.to_owned() + chunk);
        let options = ["--payload", "parquet", "--hash", "sha256", "--segments"];
        let args = [&options[..], &division(threads, batch, chunk)].concat();
        let results = extract(&input, &out, &args);
        assert_eq!(results.flows.len(), 7);
        // The first of two completes nothing.
        assert_eq!(results.manifest["frames"]["fragments"], divided);
        let mut files = files_below(&out);
        files.remove(Path::new("manifest.json"));
        let first = first.get_or_insert_with(|| files.clone());
        assert!(files.keys().eq(first.keys()));
        for (name, bytes) in &files {
            assert!(first[name] == *bytes, "{args:?}: {}", name.display());
        }
        fs::remove_dir_all(&out).unwrap();
    }
}

/// Cuts a packet in two behind the first 24 bytes of what IP carries.
fn fragments(packet: &[u8], id: u8) -> [Vec<u8>; 2] {
    let cut = IP_HEADER + 24;
    let fragment = |range: &[u8], field: u16| {
        let mut all = [&packet[..IP_HEADER], range].concat();
        let length = u16::try_from(all.len()).unwrap();
        all[2..4].copy_from_slice(&length.to_be_bytes());
        all[4..6].copy_from_slice(&[1, id]);
        all[6..8].copy_from_slice(&field.to_be_bytes());
        all
    };
    [
        fragment(&packet[IP_HEADER..cut], 0x2000),
        fragment(&packet[cut..], 3),
    ]
}
