//! IP headers, extension headers, TCP options and checksums.

use super::build::*;
use crate::decode::{Layer, Other, Reason, Undecoded};
use crate::model::{RawFrame, SynOptions};

fn stopped(link: u16, frame: &[u8], layer: Layer, reason: Reason) {
    let run = decode(&raw(link, frame));
    let all: Vec<_> = run.stats.all_undecoded().collect();
    assert_eq!(all, [(Undecoded { layer, reason }, 1)]);
    assert!(run.segments.is_empty());
}

#[test]
fn ipv4_options_are_stepped_over() {
    let mut frame = packet();
    frame[0] = 0x46;
    frame[3] += 4;
    frame.splice(20..20, [1, 1, 1, 0]);
    assert_eq!(carries_text(228, &frame), "");
}

#[test]
fn a_length_of_zero_means_the_captured_length() {
    let mut frame = packet();
    frame[2..4].fill(0);
    assert_eq!(carries_text_undeclared(228, &frame), "");
    assert_eq!(decode(&raw(228, &frame)).segments[0].ip_bytes, 45);
    let mut frame = packet6();
    frame[4..6].fill(0);
    assert_eq!(carries_text_undeclared(229, &frame), "");
    assert_eq!(decode(&raw(229, &frame)).segments[0].ip_bytes, 65);
}

#[test]
fn extension_headers_are_stepped_over() {
    let fragment_zero = |next| [next, 0, 0, 0, 0, 0, 0, 1];
    for (next, headers) in [
        (0, cat![[6, 0, 1, 4, 0, 0, 0, 0]]),
        (60, cat![[43, 1], [0; 14], [6, 0, 0, 0], [0; 4]]),
        (
            135,
            cat![[139, 0], [0; 6], [140, 0], [0; 6], [6, 0], [0; 6]],
        ),
        (51, cat![[6, 4], [0; 22]]),
        (44, cat![fragment_zero(6)]),
    ] {
        let frame = ipv6(next, &cat![headers, tcp(&[], TEXT)]);
        assert_eq!(carries_text(229, &frame), "");
    }
    let ah = ipv4(51, &cat![[6, 4], [0; 22], tcp(&[], TEXT)]);
    assert_eq!(carries_text(228, &ah), "");
    stopped(
        229,
        &ipv6(60, &[6, 9]),
        Layer::IpExtension,
        Reason::BadLength,
    );
    // In IPv4 these numbers are ordinary protocols.
    let stats = decode(&raw(228, &ipv4(60, &[6, 0]))).stats;
    assert_eq!(stats.other(Other::Ip(60)), 1);
}

#[test]
fn jumbograms_have_their_length_in_an_option() {
    let payload = vec![7u8; 70_000];
    let segment = tcp(&[], &payload);
    let length = u32::try_from(8 + segment.len()).unwrap();
    let options = cat![[6, 0, 0xc2, 4], length.to_be_bytes()];
    let mut frame = ipv6(0, &options);
    frame[4..6].fill(0);
    frame.extend_from_slice(&segment);
    frame.extend_from_slice(b"padding");
    let run = decode(&raw(229, &frame));
    assert_eq!(text(&run.segments[0], &frame), payload);
    assert_eq!(run.segments[0].ip_bytes, 40 + length);
}

#[test]
fn impossible_headers_are_refused() {
    let mut short = packet();
    short[0] = 0x44;
    stopped(228, &short, Layer::Ipv4, Reason::BadHeader);
    let mut version = packet();
    version[0] = 0x55;
    stopped(228, &version, Layer::Ipv4, Reason::BadVersion);
    let mut length = packet();
    length[3] = 19;
    stopped(228, &length, Layer::Ipv4, Reason::BadLength);
    let mut offset = packet();
    offset[20 + 12] = 0x40;
    stopped(228, &offset, Layer::Tcp, Reason::BadHeader);
    stopped(228, &ipv4(6, &[0; 19]), Layer::Tcp, Reason::BadLength);
    let whole = packet();
    let cut = RawFrame {
        data: &whole[..30],
        ..raw(228, &whole)
    };
    let at = Undecoded {
        layer: Layer::Tcp,
        reason: Reason::Truncated,
    };
    assert_eq!(decode(&cut).stats.undecoded(at), 1);
}

#[test]
fn a_tcp_header_beyond_its_datagram_leaves_no_payload() {
    let mut packet = packet();
    packet[20 + 12] = 0xf0;
    let run = decode(&raw(228, &packet));
    assert_eq!(run.stats.tcp, 1);
    let segment = &run.segments[0];
    assert_eq!((segment.payload.len(), segment.truncated), (0, 0));
}

/// Slicing tools may write the length of what they left for the original one: what the IP header declares
/// and the frame lacks is missing all the same. Padding is not, nor what segmentation offload leaves out.
#[test]
fn bytes_that_the_header_declares_and_the_frame_lacks_are_truncated() {
    for (link, mut frame, at, header) in [(228, packet(), 3, 0), (229, packet6(), 5, 40)] {
        frame[at] += 100;
        let segment = &decode(&raw(link, &frame)).segments[0];
        assert_eq!(
            (segment.truncated, segment.ip_bytes),
            (100, 145 + header / 2)
        );
        assert_eq!(text(segment, &frame), TEXT);
    }
    let padded = cat![packet(), [0; 100]];
    assert_eq!(decode(&raw(228, &padded)).segments[0].truncated, 0);
    let mut offloaded = cat![packet(), [0; 100]];
    offloaded[2..4].fill(0);
    let segment = &decode(&raw(228, &offloaded)).segments[0];
    assert_eq!((segment.truncated, segment.payload.len()), (0, 105));
}

/// An outer header that ends before the inner one does leaves the inner one its length.
#[test]
fn a_length_beyond_the_outer_packet_is_truncated() {
    let mut inner = packet();
    inner[3] += 100;
    let segment = &decode(&raw(228, &ipv4(4, &inner))).segments[0];
    assert_eq!((segment.truncated, segment.ip_bytes), (100, 145));
}

/// Some routers count a short frame's padding in the IP length. What lies behind the end that PPPoE or
/// 802.3 names is there, and belongs to nobody.
#[test]
fn nothing_is_missing_where_a_link_header_ends_the_packet_before_the_frame() {
    let mut inner = packet();
    inner[3] += 6;
    let length = u8::try_from(packet().len()).unwrap();
    let padding = [0; 6];
    for frame in [
        ethernet(
            0x8864,
            &cat![[0x11, 0, 0, 1, 0, length + 2, 0, 0x21], inner, padding],
        ),
        ethernet(u16::from(length) + 8, &cat![snap(0x0800, &inner), padding]),
    ] {
        let segment = &decode(&raw(ETHERNET, &frame)).segments[0];
        assert_eq!(text(segment, &frame), TEXT);
        assert_eq!((segment.truncated, segment.ip_bytes), (0, 51));
        // Cut there, and not behind it: the IP header's word is all there is.
        let cut = &frame[..frame.len() - 6];
        assert_eq!(decode(&raw(ETHERNET, cut)).segments[0].truncated, 6);
    }
}

#[test]
fn a_jumbogram_is_no_longer_than_its_frame() {
    let segment = tcp(&[], TEXT);
    let options = cat![[6, 0, 0xc2, 4], [0xff; 4]];
    let mut frame = ipv6(0, &cat![options, segment]);
    frame[4..6].fill(0);
    assert_eq!(decode(&raw(229, &frame)).segments[0].truncated, 0);
}

#[test]
fn malformed_ip_options_are_refused() {
    let with = |options: &[u8]| {
        let mut frame = packet();
        frame[0] = 0x45 + u8::try_from(options.len() / 4).unwrap();
        frame[3] += u8::try_from(options.len()).unwrap();
        frame.splice(20..20, options.iter().copied());
        frame
    };
    for good in [
        &[1, 1, 1, 1][..],
        // Garbage behind the end of the list; router alert; time stamps; a route that is full.
        &[0, 9, 9, 9],
        &[148, 4, 0, 0],
        &[68, 8, 5, 0, 0, 0, 0, 0],
        &[7, 7, 8, 1, 2, 3, 4, 0],
        &[130, 2, 1, 0],
    ] {
        assert_eq!(carries_text(228, &with(good)), "", "{good:?}");
    }
    for bad in [
        &[0x44, 0xff, 5, 0][..],
        &[1, 1, 1, 7],
        &[1, 1, 148, 4],
        &[148, 0, 0, 0],
        &[148, 1, 0, 0],
        &[7, 3, 3, 0],
        &[131, 2, 0, 0],
        &[137, 3, 0, 0],
        &[68, 4, 4, 0],
    ] {
        stopped(228, &with(bad), Layer::Ipv4, Reason::BadOptions);
    }
    for next in [0, 60] {
        let header = |option: [u8; 6]| cat![[6, 0], option];
        let good = [
            [0; 6],
            [1, 4, 0, 0, 0, 0],
            [1, 0, 0, 0, 1, 0],
            [5, 2, 0, 0, 1, 0],
        ];
        for option in good {
            let frame = ipv6(next, &cat![header(option), tcp(&[], TEXT)]);
            assert_eq!(carries_text(229, &frame), "");
        }
        for option in [[1, 5, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [5, 0, 1, 3, 0, 0]] {
            let frame = ipv6(next, &cat![header(option), tcp(&[], TEXT)]);
            stopped(229, &frame, Layer::IpExtension, Reason::BadOptions);
        }
    }
}

#[test]
fn options_cut_off_leave_a_segment_without_payload() {
    let whole = ipv4(6, &tcp_with_flags(2, &[2, 4, 5, 180, 1, 3, 3, 7], TEXT));
    let cut = RawFrame {
        data: &whole[..20 + 20 + 4],
        ..raw(228, &whole)
    };
    let segment = &decode(&cut).segments[0];
    assert!(segment.payload.is_empty());
    assert_eq!(segment.truncated, 5);
    assert_eq!(segment.syn_options.mss, Some(1460));
    assert_eq!(segment.syn_options.wscale, None);
}

#[test]
fn options_count_only_where_they_mean_something() {
    let options = [2, 4, 5, 180, 4, 2, 1, 1, 3, 3, 7, 0];
    let one = |flags, options: &[u8]| {
        let frame = ipv4(6, &tcp_with_flags(flags, options, TEXT));
        let segment = decode(&raw(228, &frame)).segments.remove(0);
        assert_eq!(text(&segment, &frame), TEXT);
        segment
    };
    let wanted = SynOptions {
        mss: Some(1460),
        wscale: Some(7),
        sack_permitted: true,
    };
    assert_eq!(one(2, &options).syn_options, wanted);
    assert_eq!(one(16, &options).syn_options, SynOptions::default());
    let timestamps = cat![[1, 1, 8, 10], [0; 8]];
    let sack = cat![[1, 1, 5, 10], [0; 8]];
    assert!(!one(16, &timestamps).has_sack);
    assert!(one(16, &sack).has_sack);
    assert!(one(16, &cat![timestamps, sack]).has_sack);
    // Lengths that make no sense end the options, not the segment.
    for bad in [
        [2, 0, 5, 180],
        [2, 1, 5, 180],
        [2, 200, 5, 180],
        [1, 1, 1, 2],
    ] {
        assert_eq!(one(2, &bad).syn_options, SynOptions::default());
    }
}

#[test]
fn tcp_inside_an_icmp_error_is_no_segment() {
    let frame = ipv4(1, &cat![[3, 3, 0, 0, 0, 0, 0, 0], packet()]);
    let run = decode(&raw(228, &frame));
    assert_eq!(run.stats.other(Other::Ip(1)), 1);
    assert!(run.segments.is_empty());
}
