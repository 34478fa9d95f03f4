//! Tunnels, each around the same packet.

use super::build::*;
use crate::config::{DecodeConfig, Track, TunnelPorts};
use crate::decode::{Layer, LinkProtocol, Other, Reason, Undecoded};
use crate::model::{FlowKey, Side};

fn inner() -> Vec<u8> {
    ethernet(0x0800, &packet())
}

/// In IPv4 in Ethernet.
fn over_ip(protocol: u8, payload: &[u8]) -> String {
    carries_text(ETHERNET, &ethernet(0x0800, &ipv4(protocol, payload)))
}

#[test]
fn ip_in_ip_in_all_pairings() {
    assert_eq!(over_ip(4, &packet()), "4in4");
    assert_eq!(over_ip(41, &packet6()), "6in4");
    assert_eq!(carries_text(229, &ipv6(4, &packet())), "4in6");
    assert_eq!(carries_text(229, &ipv6(41, &packet6())), "6in6");
    assert_eq!(over_ip(4, &ipv4(41, &ipv6(4, &packet()))), "4in4,6in4,4in6");
}

#[test]
fn gre_with_every_flag() {
    let cases: &[(&[u8], Vec<u8>)] = &[
        (&[0, 0, 8, 0], packet()),
        (&[0, 0, 0x86, 0xdd], packet6()),
        (&[0, 0, 0x65, 0x58], inner()),
        (&[0x80, 0, 8, 0, 1, 2, 0, 0], packet()),
        (&[0x20, 0, 8, 0, 0, 0, 0, 9], packet()),
        (
            &[0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1],
            packet(),
        ),
        (&[0x40, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0], packet()),
        (&[0, 0, 0x88, 0x47, 0, 0, 1, 64], packet()),
        (&[0, 0, 0x88, 0x3e, 0, 0, 0, 0], packet()),
        (&[0, 0, 0x88, 0x3e], packet()),
        (
            &[
                0x30, 0x81, 0x88, 0x0b, 0, 47, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0x21,
            ],
            packet(),
        ),
    ];
    for (header, carried) in cases {
        assert_eq!(over_ip(47, &cat![header, carried]), "gre");
    }
    let wifi = cat![
        [0x08, 2, 0, 0],
        [1; 18],
        [0x10, 0],
        [0xaa, 0xaa, 3, 0, 0, 0, 8, 0]
    ];
    assert_eq!(
        over_ip(47, &cat![[0, 0, 0x82, 0x10], wifi, packet()]),
        "gre"
    );
}

#[test]
fn erspan_of_all_types() {
    let one = cat![[0, 0, 0x88, 0xbe], inner()];
    assert_eq!(over_ip(47, &one), "erspan:0");
    let two = cat![
        [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1],
        [0x10, 1, 0x04, 0x05, 0, 0, 0, 0],
        inner()
    ];
    assert_eq!(over_ip(47, &two), "erspan:5");
    let three = cat![
        [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1],
        [0x20, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1],
        [0; 8],
        inner()
    ];
    assert_eq!(over_ip(47, &three), "erspan:7");
}

fn nsh(next: u8) -> [u8; 8] {
    [0, 2, 1, next, 0, 0, 1, 255]
}

/// A data frame from an access point, up to IPv4.
fn wifi() -> Vec<u8> {
    cat![[0x08, 2, 0, 0], [1; 18], [0x10, 0], snap(0x0800, &[])]
}

/// Tunnels over UDP: port, header and what it carries, name.
fn over_udp() -> Vec<(u16, Vec<u8>, &'static str)> {
    let vxlan = [8, 0, 0, 0, 0, 0, 100, 0];
    let gpe = [0x0c, 0, 0, 2, 0, 0, 100, 0];
    let geneve = [2, 0, 0x65, 0x58, 0, 1, 0, 0, 1, 2, 3, 1, 0, 0, 0, 0];
    let gtp = [0x30, 255, 0, 45, 0, 0, 0x12, 0x34];
    let gtp_extended = cat![
        [0x36, 255, 0, 57, 0, 0, 0, 7],
        [0, 1, 0, 0x85],
        [1, 0, 9, 0xc0],
        [1, 0, 0, 0]
    ];
    let gtp_0 = cat![[0x1e, 255, 0, 45, 0, 1, 0, 5], [0; 12]];
    let teredo = cat![[0, 1, 1, 1, 9, 9], [0; 9], [0, 0, 1, 2, 3, 4, 5, 6]];
    let ayiya = cat![[0x41, 0x52, 1, 41], [0; 4], [0; 16], [0; 20]];
    // Address of the radio, and wireless information: both counted in the header's length.
    let capwap_of_radio = cat![
        [0, 0x28, 0x43, 0x30, 0, 0, 0, 0],
        [6, 1, 2, 3, 4, 5, 6, 0],
        [2, 9, 9, 0]
    ];
    let mut swapped = wifi();
    swapped.swap(0, 1);
    let l2tp = [0x40, 2, 0, 55, 0, 1, 0, 2, 0xff, 3, 0, 0x21];
    vec![
        (4789, cat![vxlan, inner()], "vxlan:100"),
        (8472, cat![vxlan, inner()], "vxlan:100"),
        (4790, cat![gpe, packet6()], "vxlan:100"),
        (6081, cat![geneve, inner()], "geneve:256"),
        (6081, cat![[0, 0, 8, 0, 0, 0, 9, 0], packet()], "geneve:9"),
        (2152, cat![gtp, packet()], "gtp:0x1234"),
        (2152, cat![gtp_extended, packet6()], "gtp:0x7"),
        (3386, cat![gtp_0, packet()], "gtp:0x5"),
        (3544, packet6(), "teredo"),
        (3544, cat![teredo, packet6()], "teredo"),
        (5072, cat![ayiya, packet6()], "ayiya"),
        (1701, cat![l2tp, packet()], ""),
        (6635, cat![[0, 0, 1, 64], packet()], ""),
        // Reserved flags; a payload that a flag of an extension announces.
        (
            4789,
            cat![[0xff, 1, 2, 3, 0, 0, 100, 9], inner()],
            "vxlan:100",
        ),
        (
            4789,
            cat![[0x0c, 0, 0, 1, 0, 0, 100, 0], packet()],
            "vxlan:100",
        ),
        (
            4790,
            cat![[0x0c, 0, 0, 4, 0, 0, 100, 0], nsh(1), packet()],
            "vxlan:100",
        ),
        (
            4790,
            cat![[0x0c, 0, 0, 3, 0, 0, 100, 0], inner()],
            "vxlan:100",
        ),
        (
            6081,
            cat![[0, 0, 0x89, 0x4f, 0, 0, 9, 0], nsh(3), inner()],
            "geneve:9",
        ),
        (
            6081,
            cat![[0, 0, 0x88, 0x47, 0, 0, 9, 0], [0, 0, 1, 64], packet()],
            "geneve:9",
        ),
        (2152, cat![gtp, inner()], "gtp:0x1234"),
        (4341, cat![[0xc0, 0, 0, 1, 0, 0, 0, 1], packet()], "lisp"),
        (4341, cat![[0x08, 0, 0, 0, 0, 0, 7, 0], packet6()], "lisp:7"),
        (4341, cat![[0x04, 0, 0, 3, 0, 0, 0, 0], inner()], "lisp"),
        (37008, cat![[1, 0, 0, 1, 1], inner()], "tzsp"),
        (
            37008,
            cat![[1, 1, 0, 1, 0, 10, 1, 200, 41, 2, 0, 90, 0, 1], inner()],
            "tzsp",
        ),
        (
            37008,
            cat![[1, 0, 0, 18, 18, 1, 6, 1], wifi(), packet()],
            "tzsp",
        ),
        (37008, cat![[1, 0, 0, 7, 1], packet()], "tzsp"),
        (5247, cat![[0, 0x10, 0, 0, 0, 0, 0, 0], inner()], "capwap"),
        (5247, cat![capwap_of_radio, wifi(), packet()], "capwap"),
        (5247, cat![capwap_of_radio, swapped, packet()], "capwap"),
    ]
}

#[test]
fn tunnels_over_udp() {
    for (port, payload, name) in over_udp() {
        assert_eq!(over_ip(17, &udp(port, &payload)), name);
    }
}

#[test]
fn ordinary_udp_on_a_tunnel_port_stays_udp() {
    for (port, mut payload, _) in over_udp() {
        // A frame of 802.11 has enough in its own header, and may be encrypted.
        if payload.windows(8).any(|bytes| bytes == snap(0x0800, &[])) {
            continue;
        }
        // No version that IP has.
        let at = [packet(), packet6()]
            .iter()
            .find_map(|packet| payload.strip_suffix(&packet[..]).map(<[u8]>::len));
        payload[at.unwrap()] = 0x75;
        let frame = ethernet(0x0800, &ipv4(17, &udp(port, &payload)));
        let run = decode(&raw(ETHERNET, &frame));
        assert_eq!(run.stats.other(Other::Ip(17)), 1, "{port}");
        assert!(run.segments.is_empty());
    }
}

/// A mirror cut the packet and then encapsulated it: all outer lengths are those of what it left.
#[test]
fn a_packet_that_was_cut_before_it_was_encapsulated_is_what_it_was() {
    for (port, whole, name) in over_udp() {
        for missing in 1..TEXT.len() {
            let payload = &whole[..whole.len() - missing];
            let frame = ethernet(0x0800, &ipv4(17, &udp(port, payload)));
            let run = decode(&raw(ETHERNET, &frame));
            let [segment] = &run.segments[..] else {
                panic!("{name} on {port}: {} segments", run.segments.len());
            };
            assert_eq!(text(segment, &frame), TEXT[..TEXT.len() - missing]);
            assert_eq!(segment.truncated as usize, missing, "{name}");
        }
    }
}

/// What is longer than what is here, is of no usual protocol and has a wrong checksum is no packet.
#[test]
fn a_length_beyond_the_tunnel_wants_other_evidence() {
    let count = |protocol: u8, checksum: [u8; 2]| {
        let mut inner = ipv4(protocol, &[0; 20]);
        inner[2] = 1;
        inner[10..12].copy_from_slice(&checksum);
        let gtp = cat![[0x30, 255, 0, 45, 0, 0, 0, 1], inner];
        let stats = decode(&raw(228, &ipv4(17, &udp(2152, &gtp)))).stats;
        (stats.other(Other::Ip(17)), stats.other(Other::Ip(protocol)))
    };
    assert_eq!(count(200, [0, 0]), (1, 0));
    // 4500 0128 0001 0000 40c8 .... 0a00 0001 0a00 0002, summed and inverted.
    assert_eq!(count(200, [0x65, 0x0b]), (0, 1));
    assert_eq!(count(132, [0, 0]), (0, 1));
}

/// Whatever the decoder reads outside of tunnels, it reads inside.
#[test]
fn every_ethernet_type_inside_a_tunnel() {
    let session = cat![[0x11, 0, 0, 1, 0, 47, 0, 0x21], packet()];
    let frames = [
        ethernet(0x8864, &session),
        ethernet(0x88a8, &cat![[0, 5, 0x88, 0x64], session]),
        ethernet(0x9100, &cat![[0, 5, 0x81, 0, 0, 6, 8, 0], packet()]),
        ethernet(0x8847, &cat![[0, 0, 0x11, 64], packet()]),
        ethernet(0x893f, &cat![[0; 6], [8, 0], packet()]),
        ethernet(0xd28b, &cat![[0, 1, 0, 0x10], [0; 8], [8, 0], packet()]),
        ethernet(0x8926, &cat![[0; 4], [8, 0], packet()]),
        ethernet(0x894f, &cat![nsh(1), packet()]),
        ethernet(0x6558, &inner()),
        ethernet(0x88e5, &cat![[0, 0, 0, 0, 0, 1], [8, 0], packet(), [7; 16]]),
        ethernet(0x8903, &cat![[0, 1], inner()]),
        ethernet(0x88e7, &cat![[0, 0, 1, 0], inner()]),
        ethernet(0x4305, &cat![[0x40, 15, 64, 1], [9; 6], inner()]),
        ethernet(
            u16::try_from(8 + packet().len()).unwrap(),
            &snap(0x0800, &packet()),
        ),
    ];
    for frame in frames {
        for (port, header) in [
            (4789, &[8, 0, 0, 0, 0, 0, 1, 0][..]),
            (6081, &[0, 0, 0x65, 0x58, 0, 0, 1, 0]),
            (37008, &[1, 0, 0, 1, 1]),
        ] {
            let names = over_ip(17, &udp(port, &cat![header, frame]));
            assert!(!names.is_empty(), "{port}");
        }
        assert!(over_ip(47, &cat![[0, 0, 0x65, 0x58], frame]).starts_with("gre"));
        assert_eq!(over_ip(143, &frame), over_ip(97, &cat![[0x30, 0], frame]));
    }
    // What carries no IP is what it is, too.
    let vxlan = cat![[8, 0, 0, 0, 0, 0, 1, 0], ethernet(0x88cc, &[0; 20])];
    let stats = decode(&raw(228, &ipv4(17, &udp(4789, &vxlan)))).stats;
    assert_eq!(stats.other(Other::Link(LinkProtocol::Lldp)), 1);
}

#[test]
fn tunnels_on_ports_that_the_user_named() {
    let names = ["vxlan=14789", "geneve=9001", "gtp=9002", "lisp=9003"];
    let config = DecodeConfig {
        tunnel_ports: TunnelPorts::new(names.map(|name| name.parse().unwrap())),
        ..DecodeConfig::default()
    };
    for (port, named) in [(4789, 14789), (6081, 9001), (2152, 9002), (4341, 9003)] {
        for (_, payload, _) in over_udp().into_iter().filter(|(own, ..)| *own == port) {
            let frame = ipv4(17, &udp(named, &payload));
            let run = decode_by(config.clone(), &raw(228, &frame));
            assert_eq!(run.stats.tcp, 1, "{named}");
            assert_eq!(decode(&raw(228, &frame)).stats.other(Other::Ip(17)), 1);
            // The registered port is still one.
            let frame = ipv4(17, &udp(port, &payload));
            assert_eq!(decode_by(config.clone(), &raw(228, &frame)).stats.tcp, 1);
        }
    }
}

#[test]
fn ethernet_over_ip_of_mikrotik() {
    let length = u16::try_from(inner().len()).unwrap().to_be_bytes();
    let eoip = |length: [u8; 2], frame: &[u8]| cat![[0x20, 1, 0x64, 0], length, [7, 1], frame];
    assert_eq!(over_ip(47, &eoip(length, &inner())), "eoip:263");
    let stats = decode(&raw(228, &ipv4(47, &eoip([0, 0], &[])))).stats;
    assert_eq!(stats.other(Other::Link(LinkProtocol::TunnelControl)), 1);
    // Over IPv6: the tunnel's number in EtherIP's reserved bits; old systems exchanged the halves.
    assert_eq!(over_ip(97, &cat![[0x31, 7], inner()]), "");
    assert_eq!(over_ip(97, &cat![[0x03, 0], inner()]), "");
}

#[test]
fn batman_of_both_versions() {
    let unicast = |kind, version| cat![[kind, version, 64, 1], [9; 6]];
    let four = |kind, version| cat![unicast(kind, version), [8; 6], [1, 0]];
    let broadcast = |kind, version| cat![[kind, version, 64, 0], [0; 4], [9; 6]];
    for header in [
        unicast(0x40, 15),
        four(0x42, 15),
        broadcast(0x01, 15),
        cat![[0x05, 15, 64, 0, 0, 4], [9; 4]],
        unicast(3, 14),
        four(9, 14),
        broadcast(4, 14),
    ] {
        let frame = ethernet(0x4305, &cat![header, inner()]);
        assert_eq!(carries_text(ETHERNET, &frame), "batman");
    }
    let stopped = |header: &[u8], reason| {
        let frame = ethernet(0x4305, &cat![header, [0; 30]]);
        let layer = Layer::Batman;
        let stats = decode(&raw(ETHERNET, &frame)).stats;
        assert_eq!(stats.undecoded(Undecoded { layer, reason }), 1);
    };
    stopped(&[0x41, 15], Reason::LinkFragment);
    stopped(&[6, 14], Reason::LinkFragment);
    stopped(&[0x40, 13], Reason::BadVersion);
    let stats = decode(&raw(ETHERNET, &ethernet(0x4305, &[0, 15, 0, 0]))).stats;
    assert_eq!(stats.other(Other::Link(LinkProtocol::TunnelControl)), 1);
}

#[test]
fn a_piece_of_a_frame_in_capwap_is_counted() {
    let header = [0, 0x10, 0, 0x80, 0, 1, 0, 0];
    let stats = decode(&raw(228, &ipv4(17, &udp(5247, &cat![header, inner()])))).stats;
    let (layer, reason) = (Layer::Capwap, Reason::LinkFragment);
    assert_eq!(stats.undecoded(Undecoded { layer, reason }), 1);
}

#[test]
fn backbone_and_fabric_headers() {
    let pbb = ethernet(0x88e7, &cat![[0, 0, 1, 0], inner()]);
    assert_eq!(carries_text(ETHERNET, &pbb), "pbb:256");
    let fabric = ethernet(0x8903, &cat![[0, 1], inner()]);
    assert_eq!(carries_text(ETHERNET, &fabric), "fabricpath");
    let trill = ethernet(0x22f3, &cat![[0, 0x40, 0, 1, 0, 2], [0; 4], inner()]);
    assert_eq!(carries_text(ETHERNET, &trill), "");
    assert_eq!(over_ip(97, &cat![[0x30, 0], inner()]), "");
    assert_eq!(over_ip(137, &cat![[0, 0, 1, 64], packet()]), "");
}

#[test]
fn only_the_outermost_vlan_tags_are_recorded() {
    let tagged = |id: u8, carried: &[u8]| ethernet(0x8100, &cat![[0, id, 8, 0], carried]);
    let vxlan = cat![[8, 0, 0, 0, 0, 0, 1, 0], tagged(9, &packet())];
    let frame = tagged(7, &ipv4(17, &udp(4789, &vxlan)));
    let run = decode(&raw(ETHERNET, &frame));
    let found = run.table.resolve(run.segments[0].encapsulation);
    assert_eq!((found.vlan, found.inner_vlan), (Some(7), None));
    let frame = ethernet(0x0800, &ipv4(17, &udp(4789, &vxlan)));
    let run = decode(&raw(ETHERNET, &frame));
    let found = run.table.resolve(run.segments[0].encapsulation);
    assert_eq!((found.vlan, found.inner_vlan), (None, None));
}

#[test]
fn compressed_payload_is_decompressed() {
    let segment = tcp(&[], TEXT);
    // A stored block (RFC 1951, 3.2.4): the inflater's other paths are its own business.
    let length = u16::try_from(segment.len()).unwrap();
    let stored = cat![[1], length.to_le_bytes(), (!length).to_le_bytes(), segment];
    for index in [[0, 2], [0xee, 0xd1]] {
        let frame = ipv4(108, &cat![[6, 0], index, stored]);
        let run = decode(&raw(228, &frame));
        assert_eq!(text(&run.segments[0], &frame), TEXT);
        assert_eq!(run.stats.tcp, 1);
    }
    let bad = ipv4(108, &cat![[6, 0, 0, 2], [7; 9]]);
    let (layer, reason) = (Layer::IpComp, Reason::BadHeader);
    let stats = decode(&raw(228, &bad)).stats;
    assert_eq!(stats.undecoded(Undecoded { layer, reason }), 1);
}

#[test]
fn a_decompression_bomb_is_refused() {
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![0; 1 << 20], 9);
    let frame = ipv4(108, &cat![[6, 0, 0, 2], bomb]);
    let (layer, reason) = (Layer::IpComp, Reason::BadHeader);
    let stats = decode(&raw(228, &frame)).stats;
    assert_eq!(stats.undecoded(Undecoded { layer, reason }), 1);
}

/// A packet of a few hundred bytes that grows to a full one.
fn bomb() -> Vec<u8> {
    let grown = tcp(&[], &vec![b'a'; 65_000]);
    let compressed = miniz_oxide::deflate::compress_to_vec(&grown, 9);
    ipv4(108, &cat![[6, 0, 0, 2], compressed])
}

/// One aggregate of 802.11, and one that was itself compressed: whatever is in it, a frame grows to a
/// mebibyte.
#[test]
fn what_the_packets_of_one_frame_grow_to_is_bounded() {
    const BOUND: u32 = 1 << 20;
    let part = || {
        let body = snap(0x0800, &bomb());
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let padding = vec![0; (14 + body.len()).next_multiple_of(4) - 14 - body.len()];
        cat![[5; 12], length, body, padding]
    };
    let aggregate = cat![
        [0x88, 2, 0, 0],
        [1; 18],
        [0x10, 0],
        [0x80, 0],
        (0..40).flat_map(|_| part()).collect::<Vec<u8>>()
    ];
    let inside = cat![[0, 0, 0x82, 0x10], aggregate];
    let compressed = miniz_oxide::deflate::compress_to_vec(&inside, 9);
    for (link, frame) in [
        (105, aggregate),
        (228, ipv4(108, &cat![[47, 0, 0, 2], compressed])),
    ] {
        let run = decode(&raw(link, &frame));
        let grown: u32 = run
            .segments
            .iter()
            .map(|segment| segment.payload.len())
            .sum();
        assert!((BOUND - 140_000..BOUND).contains(&grown), "{grown}");
    }
}

#[test]
fn nesting_is_bounded() {
    let mut frame = packet();
    for _ in 0..40 {
        frame = ipv4(4, &frame);
    }
    let (layer, reason) = (Layer::Ipv4, Reason::TooDeep);
    let stats = decode(&raw(228, &frame)).stats;
    assert_eq!(stats.undecoded(Undecoded { layer, reason }), 1);
}

/// Decodes a frame with tunnels tracked: their names, and the key of the segment inside.
fn tracked(frame: &[u8]) -> (String, FlowKey) {
    let config = DecodeConfig {
        track: Track {
            vlan: false,
            tunnel: true,
        },
        ..DecodeConfig::default()
    };
    let run = decode_by(config, &raw(ETHERNET, frame));
    let [segment] = &run.segments[..] else {
        panic!("{} segments", run.segments.len());
    };
    let encapsulation = run.table.resolve(segment.encapsulation);
    (encapsulation.tunnel_text().unwrap_or_default(), segment.key)
}

#[test]
fn keys_of_gre_are_read_where_tunnels_are_tracked() {
    let gre = |ethertype: u16, key: u32, carried: &[u8]| {
        let header = cat![
            [0x20, 0],
            ethertype.to_be_bytes(),
            key.to_be_bytes(),
            carried
        ];
        tracked(&ethernet(0x0800, &ipv4(47, &header)))
    };
    assert_eq!(gre(0x0800, 9, &packet()).0, "gre:9");
    assert_ne!(gre(0x0800, 9, &packet()).1, gre(0x0800, 8, &packet()).1);
    // Around Ethernet the lowest byte is NVGRE's mark of a flow, unless the network is a reserved
    // one.
    assert_eq!(gre(0x0800, 0x12_3456, &packet()).0, "gre:1193046");
    assert_eq!(gre(0x6558, 0x12_3456, &inner()).0, "gre:1192960");
    assert_eq!(gre(0x6558, 0x0f_ffff, &inner()).0, "gre:1048575");
    // The call ids of PPTP differ by direction.
    let call = |id| {
        let header = [0x30, 1, 0x88, 0x0b, 0, 47, 0, id, 0, 0, 0, 1, 0, 0x21];
        tracked(&ethernet(0x0800, &ipv4(47, &cat![header, packet()])))
    };
    assert_eq!(call(1), call(2));
    assert_eq!(call(1).0, "gre");
}

#[test]
fn a_tracked_tunnel_makes_another_flow_of_the_same_ends() {
    let plain = tracked(&ethernet(0x0800, &packet())).1;
    assert_eq!(
        plain,
        decode(&raw(ETHERNET, &ethernet(0x0800, &packet()))).segments[0].key
    );
    let inside = |vni| {
        let vxlan = cat![[8, 0, 0, 0, 0, 0, vni, 0], inner()];
        ethernet(0x0800, &ipv4(17, &udp(4789, &vxlan)))
    };
    assert_ne!(tracked(&inside(1)).1, plain);
    assert_ne!(tracked(&inside(1)).1, tracked(&inside(2)).1);
    assert_eq!(
        tracked(&inside(1)).1.end(Side::Lower),
        plain.end(Side::Lower)
    );
    let untracked = |vni| decode(&raw(ETHERNET, &inside(vni))).segments[0].key;
    assert_eq!(untracked(1), plain);
}
