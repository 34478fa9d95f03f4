//! Link types, each around the same packet.

use super::build::*;
use crate::decode::{Layer, LinkProtocol, Other, Reason, Undecoded, link_type_name};
use crate::model::{LinkType, RawFrame};

/// Every header that comes straight before an IPv4 packet.
fn plain_links() -> Vec<(u16, Vec<u8>)> {
    let sll2 = cat![[8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6], [0; 8]];
    let nflog_le = cat![[2, 0, 0, 0], [5, 0, 10, 0, b'x', 0, 0, 0], [49, 0, 9, 0]];
    let nflog_be = cat![[2, 0, 0, 0], [0, 8, 0, 1, 1, 2, 3, 4], [0, 49, 0, 9]];
    let ipnet = cat![[1, 2, 0, 4], [0; 20]];
    let enc = cat![[2, 0, 0, 0], [0; 8]];
    let mut pflog = vec![61, 2];
    pflog.resize(64, 0);
    let ppi_raw = [0, 0, 8, 0, 101, 0, 0, 0];
    let mut pktap = cat![[108, 0, 0, 0, 1, 0, 0, 0, 12, 0, 0, 0]];
    pktap.resize(108, 0);
    let erf_ipv4 = cat![[0; 8], [0x80 | 0x16], [0; 7], [0; 8]];
    let token_ring = cat![
        [0x10, 0x40],
        [1; 6],
        [0x82, 2, 2, 2, 2, 2],
        [0x04, 0x30, 0, 1],
        snap(0x0800, &[])
    ];
    vec![
        (0, vec![2, 0, 0, 0]),
        (0, vec![0, 0, 0, 2]),
        (108, vec![0, 0, 0, 2]),
        (12, vec![]),
        (14, vec![]),
        (101, vec![]),
        (228, vec![]),
        (113, cat![[0, 0, 0, 1, 0, 6], [0; 8], [8, 0]]),
        (276, sll2),
        (9, vec![0x00, 0x21]),
        (9, vec![0x21]),
        (9, vec![0xff, 0x03, 0x00, 0x21]),
        (50, vec![0xff, 0x03, 0x00, 0x21]),
        (50, vec![0x0f, 0, 8, 0]),
        (51, vec![0x11, 0, 0, 1, 0, 47, 0, 0x21]),
        (166, vec![1, 0xff, 0x03, 0x00, 0x21]),
        (204, vec![0, 0xff, 0x03, 0x00, 0x21]),
        (104, vec![0x0f, 0, 8, 0]),
        (205, vec![0, 0x0f, 0, 8, 0]),
        (239, nflog_le),
        (239, nflog_be),
        (226, ipnet),
        (149, pktap.clone()),
        (109, enc),
        (117, pflog),
        (192, ppi_raw.to_vec()),
        (258, pktap),
        (197, erf_ipv4),
        (10, cat![[0x50], [1; 12], snap(0x0800, &[])]),
        (6, token_ring),
        (6, cat![[0x10, 0x40], [1; 6], [2; 6], snap(0x0800, &[])]),
        (7, vec![1, 2, 240]),
        (7, vec![1, 2, 212, 0, 0, 1]),
        (7, vec![1, 2, 212, 0xff, 0xff, 0xff, 0, 0, 1]),
        (129, vec![1, 2, 0, 0, 212, 0, 0, 1]),
        (100, snap(0x0800, &[])),
        (11, snap(0x0800, &[])),
        (123, cat![[2, 0, 0, 1], snap(0x0800, &[])]),
        (107, vec![0x18, 0x41, 3, 0xcc]),
        (107, vec![0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0]),
        (107, vec![0x18, 0x41, 8, 0]),
        (122, cat![[0; 16], snap(0x0800, &[])]),
        (242, cat![[0; 40], [8, 0, 0, 0]]),
        (138, cat![[0; 16], [8, 0]]),
        (8, vec![0; 16]),
        (219, vec![0, 0, 0x10, 64, 0, 0, 0x21, 64]),
        (240, cat![[0; 4], ethernet(0x0800, &[])]),
        (241, cat![[0; 12], ethernet(0x0800, &[])]),
        (274, cat![[0x55; 7], [0xd5], ethernet(0x0800, &[])]),
        (284, cat![[0; 12], [0x40, 0, 0, 0], [8, 0]]),
        (
            285,
            cat![[0; 12], [0xda, 0xda, 0, 0], [0x40, 0, 0, 0], [8, 0]],
        ),
        (281, cat![[0; 12], [0, 0, 0, 0], [8, 0]]),
        (282, cat![[0; 4], ethernet(0x0800, &[])]),
        (1, snap_in_ethernet()),
    ]
}

/// Headers of Juniper's routers that come straight before an IPv4 packet.
fn juniper_links() -> Vec<(u16, Vec<u8>)> {
    vec![
        (181, cat![b"MGC\x00", [0x0f, 0, 8, 0]]),
        (
            167,
            cat![
                b"MGC\x01",
                ethernet(0x8864, &[0x11, 0, 0, 1, 0, 47, 0, 0x21])
            ],
        ),
        (168, cat![b"MGC\x01", [8, 0]]),
        (179, cat![b"MGC\x00", [0xff, 3, 0, 0x21]]),
        (180, cat![b"MGC\x00", [0x18, 0x41, 3, 0xcc]]),
        (133, cat![b"MGC\x00", [2, 0, 0, 0]]),
        (137, cat![b"MGC\x00", [0; 4], snap(0x0800, &[])]),
        (135, cat![b"MGC\x00", [0; 8], ethernet(0x0800, &[])]),
        (135, cat![b"MGC\x01", [0; 8]]),
        (136, cat![b"MGC\x01", [0; 16]]),
        (164, cat![b"MGC\x01", [0; 8]]),
        (183, cat![b"MGC\x01", [0; 18]]),
        (130, cat![b"MGC\x01", [0x54, 0, 0, 0], [0, 0x21]]),
        (131, cat![b"MGC\x01", [0x47, 0, 0, 0, 0, 0, 0, 0]]),
        (134, cat![b"MGC\x01", [0x80, 0], [3, 0xcc]]),
        (
            130,
            cat![b"MGC\x82", [0, 3, 1, 2, 3], [200, 0, 0, 0], [0, 0x21]],
        ),
        (178, cat![b"MGC\x00", ethernet(0x0800, &[])]),
        (178, cat![b"MGC\x82", [0, 3, 1, 2, 3], [2, 0, 0, 0]]),
    ]
}

fn snap_in_ethernet() -> Vec<u8> {
    ethernet(
        u16::try_from(8 + packet().len()).unwrap(),
        &snap(0x0800, &[]),
    )
}

#[test]
fn every_link_type_leads_to_the_packet() {
    for (link, header) in plain_links().into_iter().chain(juniper_links()) {
        let name = link_type_name(link);
        assert_ne!(name, "unknown");
        let frame = cat![header, packet()];
        assert_eq!(carries_text(link, &frame), "");
    }
}

/// Bridges and devices log any protocol, which the packet's header attribute names; in either byte order.
#[test]
fn netfilter_logs_of_any_family() {
    let attribute = |is_big: bool, kind: u16, value: &[u8]| {
        let length = u16::try_from(4 + value.len()).unwrap();
        let order = |field: u16| {
            if is_big {
                field.to_be_bytes()
            } else {
                field.to_le_bytes()
            }
        };
        let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
        cat![order(length), order(kind), value, padding]
    };
    for is_big in [false, true] {
        let log = |family: u8, protocol: [u8; 2], packet: &[u8]| {
            cat![
                [family, 0, 0, 1],
                attribute(is_big, 1, &cat![protocol, [3, 0]]),
                // A nested attribute, as for VLAN tags: its flag is in the upper byte of its type.
                attribute(is_big, 0x8013, &[0, 6, 0, 2, 0, 5, 0, 0]),
                attribute(is_big, 10, b"odd"),
                attribute(is_big, 9, packet)
            ]
        };
        for family in [0, 1, 2, 5, 7, 10] {
            assert_eq!(carries_text(239, &log(family, [8, 0], &packet())), "");
            let six = log(family, [0x86, 0xdd], &packet6());
            assert_eq!(carries_text(239, &six), "");
        }
        let tagged = log(7, [0x81, 0], &cat![[0, 5, 8, 0], packet()]);
        assert_eq!(carries_text(239, &tagged), "");
        let llc = log(7, [0, 4], &snap(0x0800, &packet()));
        assert_eq!(carries_text(239, &llc), "");
        let arp = decode(&raw(239, &log(3, [8, 6], &[0; 28]))).stats;
        assert_eq!(arp.other(Other::Link(LinkProtocol::Arp)), 1);
        let without = cat![[5, 0, 0, 1], attribute(is_big, 9, &packet())];
        assert_eq!(carries_text(239, &without), "");
    }
}

#[test]
fn ipnet_and_juniper_name_ipv6_by_numbers_of_their_own() {
    assert_eq!(
        carries_text(226, &cat![[1, 26, 0, 4], [0; 20], packet6()]),
        ""
    );
    let stripped = cat![b"MGC\x02", [6, 0, 0, 0], packet6()];
    assert_eq!(carries_text(178, &stripped), "");
    let magic = decode(&raw(181, &cat![b"MGD\x00", packet()])).stats;
    let at = Undecoded {
        layer: Layer::Juniper,
        reason: Reason::BadHeader,
    };
    assert_eq!(magic.undecoded(at), 1);
}

/// The number is free for private use, so only macOS's header says that it is macOS's.
#[test]
fn a_private_link_type_without_that_header_is_unknown() {
    let stats = decode(&raw(149, &[0x45; 150])).stats;
    assert_eq!(stats.unknown_link_types[&149], 1);
}

#[test]
fn families_of_all_systems_mean_ipv6() {
    for family in [10, 23, 24, 28, 30] {
        assert_eq!(carries_text(0, &cat![[family, 0, 0, 0], packet6()]), "");
        assert_eq!(carries_text(108, &cat![[0, 0, 0, family], packet6()]), "");
    }
    assert_eq!(carries_text(229, &packet6()), "");
    assert_eq!(carries_text(9, &cat![[0, 0x57], packet6()]), "");
}

/// The header of a data frame from the access point, with this subtype and these flags.
fn wifi(subtype: u8, flags: u8) -> Vec<u8> {
    cat![[0x08 | subtype << 4, flags | 2, 0, 0], [1; 18], [0x10, 0]]
}

#[test]
fn wifi_data_frames() {
    let body = snap(0x0800, &packet());
    let plain = cat![wifi(0, 0), body];
    assert_eq!(carries_text(105, &plain), "");
    let four_addresses = cat![wifi(0, 1), [3; 6], body];
    assert_eq!(carries_text(105, &four_addresses), "");
    let qos_and_ht = cat![wifi(8, 0x80), [0, 0], [0; 4], body];
    assert_eq!(carries_text(105, &qos_and_ht), "");

    let radiotap = [0, 0, 8, 0, 0, 0, 0, 0];
    assert_eq!(carries_text(127, &cat![radiotap, plain]), "");
    // Ethernet types at once, where the stations agreed on that.
    let types_at_once = cat![wifi(8, 0), [0, 0], [8, 0], packet()];
    assert_eq!(carries_text(105, &types_at_once), "");
    let tagged = cat![wifi(0, 0), [0x81, 0, 0, 5, 0x86, 0xdd], packet6()];
    assert_eq!(carries_text(105, &tagged), "");
    // Mesh control, with no, one and two more addresses; and its bit where it means something else.
    for more in 0..3u8 {
        let control = cat![[more, 31, 1, 0, 0, 0], vec![7; 6 * usize::from(more)]];
        let mesh = cat![wifi(8, 1), [3; 6], [0, 1], control, body];
        assert_eq!(carries_text(105, &mesh), "");
    }
    assert_eq!(carries_text(105, &cat![wifi(8, 0), [0, 1], body]), "");

    // Time, then flags: padded header and check sequence at the end.
    let with_flags = cat![[0, 0, 17, 0, 3, 0, 0, 0], [0; 8], [0x30]];
    let padded = cat![with_flags, wifi(8, 0), [0, 0], [0, 0], body, [0xee; 4]];
    assert_eq!(carries_text(127, &padded), "");
    // A second word of presence bits moves the time to its alignment: 12 becomes 16.
    let aligned = cat![
        [0, 0, 25, 0, 3, 0, 0, 0x80],
        [0; 4],
        [0; 4],
        [0x40; 8],
        [0x10]
    ];
    assert_eq!(carries_text(127, &cat![aligned, plain, [0xee; 4]]), "");
    let avs = cat![[0x80, 0x21, 0x10, 1, 0, 0, 0, 64], [0; 56]];
    assert_eq!(carries_text(163, &cat![avs, plain]), "");
    assert_eq!(carries_text(119, &cat![avs, plain]), "");
    let prism = cat![[0x44, 0, 0, 0, 144, 0, 0, 0], [0; 136]];
    assert_eq!(carries_text(119, &cat![prism, plain]), "");
    let ppi = cat![
        [0, 0, 32, 0, 105, 0, 0, 0],
        [2, 0, 20, 0],
        [0; 8],
        [1, 0],
        [0; 10]
    ];
    assert_eq!(carries_text(192, &cat![ppi, plain, [0xee; 4]]), "");
}

#[test]
fn wifi_frames_that_carry_nothing_readable() {
    let body = snap(0x0800, &packet());
    let stopped = |frame: &[u8], layer, reason| {
        let stats = decode(&raw(105, frame)).stats;
        assert_eq!(stats.undecoded(Undecoded { layer, reason }), 1);
    };
    stopped(&cat![wifi(0, 0x40), body], Layer::Wifi, Reason::Encrypted);
    stopped(
        &cat![wifi(0, 0x04), body],
        Layer::Wifi,
        Reason::LinkFragment,
    );
    let other = |frame: &[u8], protocol| {
        let stats = decode(&raw(105, frame)).stats;
        assert_eq!(stats.other(Other::Link(protocol)), 1);
    };
    other(&cat![wifi(4, 0)], LinkProtocol::WifiNull);
    other(&[0x80, 0], LinkProtocol::WifiManagement);
    other(&[0xb4, 0], LinkProtocol::WifiControl);
    let bad_fcs = cat![[0, 0, 9, 0, 2, 0, 0, 0, 0x40], wifi(0, 0), body];
    let stats = decode(&raw(127, &bad_fcs)).stats;
    let (layer, reason) = (Layer::Wifi, Reason::DamagedOnAir);
    assert_eq!(stats.undecoded(Undecoded { layer, reason }), 1);
}

#[test]
fn an_aggregate_is_one_frame_with_several_segments() {
    let part = |payload: &[u8]| {
        let body = snap(0x0800, &ipv4(6, &tcp(&[], payload)));
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        cat![[5; 12], length, body]
    };
    // In a mesh each part has its control.
    let with_control = cat![[0, 31, 1, 0, 0, 0], snap(0x0800, &packet())];
    let length = u16::try_from(with_control.len()).unwrap().to_be_bytes();
    let frame = cat![wifi(8, 0), [0x80, 1], [5; 12], length, with_control];
    assert_eq!(carries_text(105, &frame), "");

    // 14 + 8 + 40 + 1 bytes: one of padding.
    let frame = cat![wifi(8, 0), [0x80, 0], part(b"1"), [0], part(b"hello")];
    let run = decode(&raw(105, &frame));
    let got: Vec<_> = run.segments.iter().map(|s| text(s, &frame)).collect();
    assert_eq!(got, [b"1".to_vec(), b"hello".to_vec()]);
    assert_eq!((run.stats.frames, run.stats.tcp), (1, 1));
}

#[test]
fn tags_that_are_no_vlan() {
    for tag in [
        cat![[0x89, 0x26], [0; 4]],
        cat![[0x89, 0x3f], [0, 0, 0x10, 1, 0, 0]],
        cat![[0xd2, 0x8b], [0, 1, 0, 0x10], [0; 8]],
        cat![[0xd2, 0x8b], [0, 1, 1, 0x10], [0; 8]],
        cat![[0xd2, 0x8b], [0, 1, 1, 0x21], [0; 6]],
        cat![[0x89, 0x09], [1, 1, 0, 1, 0, 9]],
        cat![[0x89, 0x2f], [0; 4]],
        cat![[0x81, 0x00], [0, 5]],
        cat![[0x91, 0x00], [0, 5], [0x92, 0x00], [0, 6]],
        cat![[0x88, 0x64], [0x11, 0, 0, 1, 0, 47]],
        cat![[0x88, 0xe5], [0, 0, 0, 0, 0, 1]],
        cat![[0x89, 0x4f], [0, 2, 1, 1], [0; 4]],
    ] {
        let then: &[u8] = match tag[..2] {
            [0x88, 0x64] => &[0, 0x21],
            [0x89, 0x4f] => &[],
            _ => &[8, 0],
        };
        let icv: &[u8] = if tag[..2] == [0x88, 0xe5] {
            &[7; 16]
        } else {
            &[]
        };
        let frame = cat![[2; 12], tag, then, packet(), icv];
        assert_eq!(carries_text(ETHERNET, &frame), "");
    }
}

#[test]
fn mpls_around_ip_and_ethernet() {
    let label = [0, 1, 0x01, 64];
    let inner = ethernet(0x0800, &packet());
    let control_word = [0; 4];
    for carried in [
        packet(),
        packet6(),
        inner.clone(),
        cat![control_word, inner],
        // A MAC address that begins like an IPv4 packet.
        cat![[0x45], &inner[1..]],
    ] {
        let frame = ethernet(0x8847, &cat![[0, 0, 0x10, 64], label, carried]);
        assert_eq!(carries_text(ETHERNET, &frame), "");
    }
}

#[test]
fn frames_without_ip_are_named() {
    let named = |frame: &[u8], protocol| {
        let stats = decode(&raw(ETHERNET, frame)).stats;
        assert_eq!(stats.other(Other::Link(protocol)), 1, "{protocol:?}");
    };
    named(&ethernet(0x0806, &[0; 28]), LinkProtocol::Arp);
    named(&ethernet(0x88cc, &[0; 28]), LinkProtocol::Lldp);
    named(&ethernet(0x1234, &[0; 28]), LinkProtocol::OtherEthertype);
    named(&ethernet(38, &[0x42; 38]), LinkProtocol::Stp);
    named(&ethernet(3, &[0xf0, 0xf0, 3, 0, 0]), LinkProtocol::Llc);
    let cdp = [0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0];
    named(&ethernet(8, &cdp), LinkProtocol::Cdp);
    let lcp = cat![[0x11, 0, 0, 1, 0, 6], [0xc0, 0x21, 1, 1, 0, 4]];
    named(&ethernet(0x8864, &lcp), LinkProtocol::PppControl);
}

#[test]
fn unknown_link_types_are_counted_by_number() {
    let stats = decode(&raw(147, b"anything")).stats;
    let found: Vec<_> = stats.unknown_links().collect();
    assert_eq!(found, [(147, "user", 1)]);
    assert_eq!(link_type_name(60_000), "unknown");
}

#[test]
fn a_frame_check_sequence_is_no_payload() {
    // Under segmentation offload nothing but the frame's end bounds the payload.
    let mut packet = packet();
    packet[2..4].fill(0);
    let frame = cat![ethernet(0x0800, &packet), [0xee; 4]];
    let whole = RawFrame {
        fcs_len: 4,
        ..raw(ETHERNET, &frame)
    };
    assert_eq!(text(&decode(&whole).segments[0], &frame), TEXT);
    // The snap length cut it off, and one byte of payload with it.
    let cut = RawFrame {
        data: &frame[..frame.len() - 5],
        link: LinkType(ETHERNET),
        ..whole
    };
    let run = decode(&cut);
    assert_eq!(text(&run.segments[0], &frame), b"hell");
    assert_eq!(run.segments[0].truncated, 1);
    assert_eq!(run.stats.tcp, 1);
}
