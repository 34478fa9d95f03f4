//! Inputs that are hard to bear, made by hand: the first ones of `tests/regressions/`.

use std::net::SocketAddr;

use super::capture_file::{CaptureWriter, Format, block, packet_block};
use super::wire::{self, Link, TcpPacket};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
/// 2024-01-01T00:00:00Z.
const START_NS: u64 = 1_704_067_200_000_000_000;
const PCAP: Format = Format::Pcap {
    big_endian: false,
    nanos: false,
};
const MORE_FRAGMENTS: u16 = 0x2000;

/// Inputs of less than 2 KB, by file name.
pub fn small() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = files();
    all.extend(blocks());
    all.extend(headers());
    all.extend(fragments());
    all.extend(nested());
    all.extend(streams());
    all
}

/// Inputs too large to be kept, by name.
pub fn large() -> Vec<(&'static str, Vec<u8>)> {
    let reverse: Vec<_> = (0..2_000)
        .rev()
        .map(|at| segment(0, ACK, 1_001 + at, 1, b"x"))
        .collect();
    let apart: Vec<_> = (0..3_000)
        .map(|at| segment(0, ACK, 2 * at + (at % 2) * 100_000, 1, b"x"))
        .collect();
    let syns: Vec<_> = (0..3_000u32)
        .map(|at| segment(0, SYN, at.wrapping_mul(70_001), 0, b"data"))
        .collect();
    let wild: Vec<_> = (0..3_000u32)
        .map(|at| {
            segment(
                0,
                ACK,
                at.wrapping_mul(0x2800_0001),
                at.wrapping_mul(0x1700_0001),
                b"wild",
            )
        })
        .collect();
    let datagrams: Vec<_> = (0..3_000)
        .map(|ident| ethernet(&ipv4(TCP, MORE_FRAGMENTS | (ident % 9), ident, &[1; 8])))
        .collect();
    vec![
        (
            "2000 bytes, each its own segment, last first",
            pcap(&reverse),
        ),
        ("3000 bytes with holes between them", pcap(&apart)),
        ("3000 different SYNs of one pair of ports", pcap(&syns)),
        ("3000 segments and acknowledgements all apart", pcap(&wild)),
        ("3000 datagrams that never complete", pcap(&datagrams)),
    ]
}

/// A short connection in this format: a capture with nothing wrong.
pub fn sound(format: Format) -> Vec<u8> {
    let mut frames = handshake();
    frames.push(segment(0, ACK, 1_001, 5_001, b"ask"));
    frames.push(segment(1, ACK, 5_001, 1_004, b"answer"));
    frames.push(segment(0, FIN | ACK, 1_004, 5_007, b""));
    frames.push(segment(1, FIN | ACK, 5_007, 1_005, b""));
    capture(format, &frames)
}

fn ends() -> [SocketAddr; 2] {
    [
        "192.0.2.1:40000".parse().unwrap(),
        "198.51.100.1:80".parse().unwrap(),
    ]
}

fn packet(from: usize, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> TcpPacket<'_> {
    TcpPacket {
        src: ends()[from],
        dst: ends()[1 - from],
        seq,
        ack,
        flags,
        window: 64_000,
        options: &[],
        payload,
        ident: 1,
    }
}

fn segment(from: usize, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    wire::frame(
        &packet(from, flags, seq, ack, payload),
        Link::default(),
        &mut frame,
    );
    frame
}

/// The client's first byte has number 1001, the server's 5001.
fn handshake() -> Vec<Vec<u8>> {
    vec![
        segment(0, SYN, 1_000, 0, b""),
        segment(1, SYN | ACK, 5_000, 1_001, b""),
        segment(0, ACK, 1_001, 5_001, b""),
    ]
}

fn capture(format: Format, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = CaptureWriter::new(Vec::new(), format, 262_144).unwrap();
    for (index, frame) in frames.iter().enumerate() {
        let time = START_NS + index as u64 * 1_000_000;
        writer.frame(time, frame, frame.len()).unwrap();
    }
    writer.finish().unwrap()
}

fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    capture(PCAP, frames)
}

fn after_handshake(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut all = handshake();
    all.extend(frames);
    pcap(&all)
}

/// A sound capture with other bytes at an offset.
fn patched(format: Format, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut capture = sound(format);
    capture[at..at + bytes.len()].copy_from_slice(bytes);
    capture
}

/// A frame of `segment` with other bytes at an offset, between frames with nothing wrong.
fn frame_patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = segment(0, ACK, 1_001, 5_001, b"some payload");
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    after_handshake([frame, segment(0, ACK, 1_001, 5_001, b"other")])
}

fn ethernet(ip: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Link::default().header(ends()[0], ends()[1], &mut frame);
    frame.extend_from_slice(ip);
    frame
}

/// An IPv4 packet; `fragment` is its whole field of flags and offset.
fn ipv4(protocol: u8, fragment: u16, ident: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x45, 0];
    out.extend_from_slice(&((20 + body.len()) as u16).to_be_bytes());
    out.extend_from_slice(&ident.to_be_bytes());
    out.extend_from_slice(&fragment.to_be_bytes());
    out.extend_from_slice(&[64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1]);
    let check = wire::internet_checksum(&out);
    out[10..12].copy_from_slice(&check);
    out.extend_from_slice(body);
    out
}

/// A TCP segment without its IP header.
fn tcp(payload: &[u8]) -> Vec<u8> {
    segment(0, ACK, 1_001, 5_001, payload).split_off(14 + 20)
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let header = pcap(&[]);
    let mut captured_more = sound(PCAP);
    captured_more[24 + 12..24 + 16].copy_from_slice(&1u32.to_le_bytes());
    let mut times = sound(PCAP);
    times[24..32].fill(0xff);
    times[24 + 16 + 54..][..8].fill(0);
    vec![
        ("empty.pcap", Vec::new()),
        ("half_header.pcap", header[..23].to_vec()),
        ("header_only.pcap", header),
        ("magic_only.pcap", vec![0xd4, 0xc3, 0xb2, 0xa1]),
        ("huge_caplen.pcap", patched(PCAP, 24 + 8, &[0xff; 4])),
        ("caplen_half.pcap", patched(PCAP, 24 + 8, &[0, 0, 0, 0x80])),
        ("caplen_zero.pcap", patched(PCAP, 24 + 8, &[0; 8])),
        ("captured_more_than_sent.pcap", captured_more),
        ("unknown_link.pcap", patched(PCAP, 20, &[0xff, 0xff, 0, 0])),
        ("times.pcap", times),
        ("all_ones.pcap", [&pcap(&[])[..], &[0xff; 400]].concat()),
    ]
}

/// A pcapng section with one Ethernet interface and these blocks.
fn section(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = capture(Format::Pcapng { big_endian: false }, &[]);
    out.extend(blocks.concat());
    out
}

fn blocks() -> Vec<(&'static str, Vec<u8>)> {
    let frame = segment(0, SYN, 1_000, 0, b"");
    let sound = packet_block(0, 0, None, &frame);
    let interface = |option: u8, value: &[u8]| {
        let mut body = vec![1, 0, 0, 0, 0, 0, 4, 0];
        body.extend_from_slice(&[option, 0, value.len() as u8, 0]);
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
        block(1, &body, None)
    };
    let finest = [interface(9, &[0x7f]), packet_block(1, 0, None, &frame)].concat();
    let binary = [interface(9, &[0xff]), packet_block(2, 0, None, &frame)].concat();
    let shifted = [
        interface(14, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        packet_block(3, 0, None, &frame),
    ]
    .concat();
    let mut option_beyond = vec![1, 0, 0, 0, 0, 0, 4, 0];
    option_beyond.extend_from_slice(&[9, 0, 0xff, 0xff]);
    let headers: Vec<u8> = (0..40).flat_map(|_| section(&[])[..28].to_vec()).collect();
    let mut wrong_order = section(std::slice::from_ref(&sound));
    wrong_order[8..12].fill(0x55);
    vec![
        (
            "block_of_no_length.pcapng",
            section(&[block(6, &[], Some(0)), sound.clone()]),
        ),
        (
            "block_of_odd_length.pcapng",
            section(&[block(6, &[0; 21], Some(33)), sound.clone()]),
        ),
        (
            "block_of_all_length.pcapng",
            section(&[block(6, &[0; 20], Some(0xffff_fffc)), sound.clone()]),
        ),
        (
            "block_too_short_for_a_packet.pcapng",
            section(&[
                block(6, &[0; 4], Some(16)),
                block(3, &[], Some(12)),
                sound.clone(),
            ]),
        ),
        (
            "packet_larger_than_its_block.pcapng",
            section(&[packet_block(0, 0, Some(u32::MAX), &frame), sound.clone()]),
        ),
        (
            "packet_of_no_interface.pcapng",
            section(&[packet_block(u32::MAX, 0, None, &frame), sound.clone()]),
        ),
        (
            "option_beyond_its_block.pcapng",
            section(&[block(1, &option_beyond, Some(24)), sound.clone()]),
        ),
        ("extreme_times.pcapng", section(&[finest, binary, shifted])),
        ("sections_only.pcapng", headers),
        ("no_byte_order.pcapng", wrong_order),
    ]
}

fn headers() -> Vec<(&'static str, Vec<u8>)> {
    let (ip, tcp) = (14, 34);
    let mut options = segment(0, SYN, 1_000, 0, &[2, 0, 3, 1, 8, 255, 3, 3, 255, 2, 4, 0]);
    options[tcp + 12] = 0x80;
    // Only the fixed part of a header of 60 bytes was captured.
    let mut cut = sound(PCAP);
    let mut long = segment(0, ACK, 1_001, 5_001, &[7; 60]);
    long[tcp + 12] = 0xf0;
    cut.extend_from_slice(&[0; 8]);
    cut.extend_from_slice(&60u32.to_le_bytes());
    cut.extend_from_slice(&(long.len() as u32).to_le_bytes());
    cut.extend_from_slice(&long[..60]);
    vec![
        ("tcp_offset_0.pcap", frame_patched(tcp + 12, &[0])),
        ("tcp_offset_15.pcap", frame_patched(tcp + 12, &[0xf0])),
        ("tcp_offset_15_cut.pcap", cut),
        ("tcp_options.pcap", pcap(&[options])),
        ("ip_header_0.pcap", frame_patched(ip, &[0x40])),
        ("ip_header_60.pcap", frame_patched(ip, &[0x4f])),
        ("ip_length_0.pcap", frame_patched(ip + 2, &[0, 0])),
        ("ip_length_19.pcap", frame_patched(ip + 2, &[0, 19])),
        ("ip_length_65535.pcap", frame_patched(ip + 2, &[0xff, 0xff])),
        ("ip_version_15.pcap", frame_patched(ip, &[0xf5])),
        ("ether_length.pcap", frame_patched(12, &[5, 0xdc])),
    ]
}

fn fragments() -> Vec<(&'static str, Vec<u8>)> {
    let whole = tcp(&[b'f'; 76]);
    let piece = |offset: u16, more: bool, body: &[u8]| {
        let field = (offset / 8) | if more { MORE_FRAGMENTS } else { 0 };
        ethernet(&ipv4(TCP, field, 77, body))
    };
    let mut atomic = segment(0, SYN, 1, 0, b"");
    atomic.truncate(12);
    atomic.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 48, 44, 64]);
    atomic.extend_from_slice(&[0x20; 32]);
    for next in [44, 44, 44, 44, 44, TCP] {
        atomic.extend_from_slice(&[next, 0, 0, 0, 0, 0, 0, 9]);
    }
    vec![
        (
            "teardrop.pcap",
            pcap(&[
                piece(0, true, &whole[..48]),
                piece(24, false, &whole[24..32]),
                piece(8, true, &whole[..40]),
                piece(48, false, &whole[48..]),
            ]),
        ),
        (
            "fragments_past_the_end.pcap",
            pcap(&[
                piece(0, true, &whole[..24]),
                piece(65_528, false, &[1; 64]),
                piece(65_528, true, &[1; 64]),
                piece(24, false, &whole[24..]),
            ]),
        ),
        (
            "fragments_of_nothing.pcap",
            pcap(&[
                piece(0, true, &[]),
                piece(8, false, &[]),
                piece(0, true, &whole[..7]),
                piece(0, true, &whole[..8]),
            ]),
        ),
        (
            "fragments_with_two_ends.pcap",
            pcap(&[
                piece(64, false, &whole[64..]),
                piece(32, false, &whole[32..40]),
                piece(0, true, &whole[..64]),
                piece(0, true, &whole[..64]),
            ]),
        ),
        ("fragments_in_fragments.pcap", pcap(&[atomic])),
    ]
}

fn nested() -> Vec<(&'static str, Vec<u8>)> {
    let segment = ipv4(TCP, 0, 1, &tcp(b"deep"));
    let wrap = |layers: usize, around: &dyn Fn(&[u8]) -> Vec<u8>| {
        (0..layers).fold(segment.clone(), |inner, _| around(&inner))
    };
    let gre = wrap(64, &|inner| {
        ipv4(GRE, 0, 1, &[&[0, 0, 8, 0], inner].concat())
    });
    let ip_in_ip = wrap(80, &|inner| ipv4(4, 0, 1, inner));
    let vxlan = wrap(30, &|inner| {
        let body = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &ethernet(inner)].concat();
        let mut udp = vec![0xc0, 0, 0x12, 0xb5];
        udp.extend_from_slice(&((8 + body.len()) as u16).to_be_bytes());
        udp.extend_from_slice(&[0, 0]);
        udp.extend(body);
        ipv4(UDP, 0, 1, &udp)
    });
    let link = |tag: &[u8], count: usize, ether_type: &[u8]| {
        let mut frame = ethernet(&[])[..12].to_vec();
        frame.extend_from_slice(ether_type);
        frame.extend(tag.repeat(count));
        frame.extend_from_slice(&segment);
        frame
    };
    let mut extensions = ethernet(&[])[..12].to_vec();
    extensions.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 6, 0x68, 60, 64]);
    extensions.extend_from_slice(&[0x20; 32]);
    extensions.extend([60, 0, 1, 4, 0, 0, 0, 0].repeat(205));
    vec![
        ("gre_64_deep.pcap", pcap(&[ethernet(&gre)])),
        ("ip_in_ip_80_deep.pcap", pcap(&[ethernet(&ip_in_ip)])),
        ("vxlan_30_deep.pcap", pcap(&[ethernet(&vxlan)])),
        (
            "vlan_300_deep.pcap",
            pcap(&[link(&[0, 1, 0x81, 0], 300, &[0x81, 0])]),
        ),
        (
            "mpls_without_bottom.pcap",
            pcap(&[link(&[0, 1, 0, 64], 300, &[0x88, 0x47])]),
        ),
        ("ipv6_205_extensions.pcap", pcap(&[extensions])),
    ]
}

fn streams() -> Vec<(&'static str, Vec<u8>)> {
    const HALF: u32 = 1 << 31;
    let data = |seq: u32, payload: &[u8]| segment(0, ACK, seq, 5_001, payload);
    let ack = |ack: u32| segment(1, ACK, 5_001, ack, b"");
    let mut own = Vec::new();
    let loopback = TcpPacket {
        dst: ends()[0],
        ..packet(0, SYN | ACK, 1, 2, b"self")
    };
    wire::frame(&loopback, Link::default(), &mut own);
    let all_flags = segment(0, 0xff, 9_000, 9_000, b"everything at once");
    let no_flags = segment(1, 0, 9_000, 9_000, b"nothing");
    vec![
        (
            "jump_by_half.pcap",
            after_handshake([
                data(1_001, b"here"),
                data(1_001 + HALF, b"there"),
                data(1_001 + HALF - 1, b"there"),
                data(1_001 + HALF + 1, b"there"),
                data(1_005, b"here"),
            ]),
        ),
        (
            "jump_by_half_confirmed.pcap",
            after_handshake([
                data(1_001, b"here"),
                data(1_000 + HALF, b"there"),
                data(1_004 + HALF, b"there"),
                data(1_009 + HALF, b"there"),
                ack(1_014 + HALF),
                data(2_000u32.wrapping_add(HALF).wrapping_add(HALF), b"and on"),
            ]),
        ),
        (
            "acknowledgement_jumps.pcap",
            after_handshake([
                ack(1_001 + HALF),
                ack(1_000),
                ack(0),
                ack(u32::MAX),
                ack(1_001u32.wrapping_add(HALF - 1)),
                data(1_001, b"data"),
            ]),
        ),
        (
            "data_before_the_beginning.pcap",
            after_handshake([data(1, &[b'b'; 999]), data(900, &[b'b'; 300])]),
        ),
        (
            "ends_everywhere.pcap",
            after_handshake([
                segment(0, FIN | ACK, 1_101, 5_001, b"late end"),
                segment(0, FIN | ACK, 1_001, 5_001, b"early end"),
                segment(0, FIN | SYN | ACK, 1_000, 5_001, b"both"),
                segment(0, RST, 1_001, 0, b"reset"),
                segment(0, FIN | ACK, 1_050, 5_001, b""),
                data(1_200, b"after the end"),
            ]),
        ),
        ("connected_to_itself.pcap", pcap(&[own.clone(), own])),
        (
            "all_flags_and_none.pcap",
            pcap(&[all_flags.clone(), no_flags.clone(), no_flags, all_flags]),
        ),
    ]
}
