//! What becomes of packets whose checksum is wrong.

use super::build::*;
use crate::decode::{Layer, Reason, Undecoded};
use crate::model::RawFrame;

const RAW: u16 = 228;
const RAW6: u16 = 229;

const BAD_TCP: Undecoded = Undecoded {
    layer: Layer::Tcp,
    reason: Reason::BadChecksum,
};
const BAD_IPV4: Undecoded = Undecoded {
    layer: Layer::Ipv4,
    reason: Reason::BadChecksum,
};

/// RFC 1071, 16 bits at a time.
fn sum(bytes: &[u8]) -> [u8; 2] {
    let mut total: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    (!u16::try_from(total).unwrap()).to_be_bytes()
}

/// A segment whose checksum is right between these ends.
fn sealed(source: &[u8], destination: &[u8]) -> Vec<u8> {
    let mut segment = tcp(&[], TEXT);
    let length = u32::try_from(segment.len()).unwrap().to_be_bytes();
    let checksum = sum(&cat![source, destination, length, [0, 0, 0, 6], segment]);
    segment[16..18].copy_from_slice(&checksum);
    segment
}

/// An IPv4 packet whose checksum is right, with these options and this payload.
fn sealed_ipv4(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(6, &cat![options, payload]);
    let header = 20 + options.len();
    packet[0] = 0x40 | u8::try_from(header / 4).unwrap();
    let checksum = sum(&packet[..header]);
    packet[10..12].copy_from_slice(&checksum);
    packet
}

const SOURCE: [u8; 4] = [10, 0, 0, 1];
const DESTINATION: [u8; 4] = [10, 0, 0, 2];

fn sound() -> Vec<u8> {
    sealed_ipv4(&[], &sealed(&SOURCE, &DESTINATION))
}

fn segments(link: u16, frame: &[u8]) -> usize {
    verify(&raw(link, frame)).segments.len()
}

#[test]
fn a_packet_with_right_checksums_is_kept_and_one_wrong_bit_drops_it() {
    let frame = sound();
    assert_eq!(segments(RAW, &frame), 1);
    for bit in 0..frame.len() * 8 {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let run = verify(&raw(RAW, &damaged));
        assert!(run.segments.is_empty(), "bit {bit}");
        match bit / 8 {
            // Version and lengths make headers of them; without them they may be none.
            0 | 32 => {}
            1..20 => assert_eq!(run.stats.undecoded(BAD_IPV4), 1, "bit {bit}"),
            _ => {
                assert_eq!(run.stats.undecoded(BAD_TCP), 1, "bit {bit}");
                assert_eq!(run.stats.bad_tcp_checksums, 1);
                assert_eq!(run.stats.bad_checksum_payload, 5);
            }
        }
        assert_eq!(run.stats.tcp, 0);
    }
}

#[test]
fn nothing_is_dropped_unless_asked_for() {
    let mut frame = sound();
    frame[44] ^= 1;
    frame[10] ^= 1;
    let run = decode(&raw(RAW, &frame));
    assert_eq!((run.segments.len(), run.stats.tcp), (1, 1));
    assert_eq!(run.stats.bad_tcp_checksums, 0);
}

/// What network cards have yet to fill in: zeros, or the sum of the pseudo-header alone.
#[test]
fn checksums_left_to_the_card_are_wrong() {
    let mut frame = sound();
    frame[36..38].fill(0);
    assert_eq!(verify(&raw(RAW, &frame)).stats.undecoded(BAD_TCP), 1);
    let partial = sum(&cat![SOURCE, DESTINATION, [0, 6, 0, 25]]);
    frame[36..38].copy_from_slice(&partial.map(|byte| !byte));
    assert_eq!(verify(&raw(RAW, &frame)).stats.undecoded(BAD_TCP), 1);
    let mut frame = sound();
    frame[10..12].fill(0);
    assert_eq!(verify(&raw(RAW, &frame)).stats.undecoded(BAD_IPV4), 1);
}

#[test]
fn padding_takes_no_part_and_a_cut_segment_is_not_judged() {
    let frame = cat![sound(), [0xee; 20]];
    assert_eq!(segments(RAW, &frame), 1);
    // Cut by the snap length, or shorter on the wire than its header says.
    let frame = sound();
    let short = raw(RAW, &frame[..42]);
    let snapped = RawFrame {
        original_len: 45,
        ..short
    };
    for frame in [short, snapped] {
        assert_eq!(verify(&frame).segments.len(), 1);
    }
}

#[test]
fn ipv6_has_no_checksum_of_its_own() {
    let addr = |last| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let segment = sealed(&addr(1), &addr(2));
    assert_eq!(segments(RAW6, &ipv6(6, &segment)), 1);
    // Behind options that fill eight bytes, too.
    let options = [6, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(segments(RAW6, &ipv6(60, &cat![options, segment])), 1);
    let wrong = tcp(&[], TEXT);
    let run = verify(&raw(RAW6, &ipv6(6, &wrong)));
    assert_eq!(run.stats.undecoded(BAD_TCP), 1);
    let run = verify(&raw(RAW6, &ipv6(60, &cat![options, wrong])));
    assert_eq!(run.stats.undecoded(BAD_TCP), 1);
}

/// The checksum covers other addresses than those in the header, so nothing can be told.
#[test]
fn what_is_on_its_way_through_others_is_not_judged() {
    let wrong = tcp(&[], TEXT);
    let route = |kind, pointer| [kind, 7, pointer, 10, 0, 0, 9, 0];
    for kind in [131, 137] {
        assert_eq!(segments(RAW, &sealed_ipv4(&route(kind, 4), &wrong)), 1);
        assert_eq!(segments(RAW, &sealed_ipv4(&route(kind, 8), &wrong)), 0);
    }
    // Behind other options.
    let options = cat![[1, 148, 4, 0, 0], route(131, 4), [0, 0, 0]];
    assert_eq!(segments(RAW, &sealed_ipv4(&options, &wrong)), 1);
    // Lengths that make no sense, and a route behind the end of the options.
    for options in [[148, 0, 131, 4], [148, 200, 131, 4], [0, 131, 7, 4]] {
        assert_eq!(segments(RAW, &sealed_ipv4(&options, &wrong)), 0);
    }

    let routing = |left| cat![[6, 2, 0, left, 0, 0, 0, 0], [9; 16]];
    assert_eq!(segments(RAW6, &ipv6(43, &cat![routing(1), wrong])), 1);
    assert_eq!(segments(RAW6, &ipv6(43, &cat![routing(0), wrong])), 0);
    // A mobile node's home address, behind four bytes of padding.
    let home = cat![[6, 2, 1, 2, 0, 0, 0xc9, 16], [9; 16]];
    assert_eq!(segments(RAW6, &ipv6(60, &cat![home, wrong])), 1);
}

/// A tunnel's own header is verified like any other.
#[test]
fn outer_headers_are_verified_too() {
    let mut outer = sealed_ipv4(&[], &sound());
    outer[9] = 4;
    assert_eq!(verify(&raw(RAW, &outer)).stats.undecoded(BAD_IPV4), 1);
    outer[10..12].fill(0);
    let checksum = sum(&outer[..20]);
    outer[10..12].copy_from_slice(&checksum);
    assert_eq!(segments(RAW, &outer), 1);
}
