//! Frames built by hand, one for each thing that is read.

pub(super) mod build;
mod checksums;
mod ip_and_tcp;
mod links;
mod random;
mod tunnels;

use crate::model::Timestamp;
use build::{ETHERNET, TEXT, carries_text, cat, decode, ethernet, packet, packet6, raw, text};

#[test]
fn ethernet_with_both_versions() {
    assert_eq!(carries_text(ETHERNET, &ethernet(0x0800, &packet())), "");
    assert_eq!(carries_text(ETHERNET, &ethernet(0x86dd, &packet6())), "");
    let run = decode(&raw(ETHERNET, &ethernet(0x86dd, &packet6())));
    let segment = &run.segments[0];
    assert_eq!(segment.key.ip(segment.from).to_string(), "fd00::1");
    assert_eq!(segment.ip_bytes, 40 + 20 + 5);
    assert_eq!(segment.watermark, Timestamp::from_ns(6));
}

#[test]
fn padding_never_enters_the_payload() {
    let frame = cat![ethernet(0x0800, &packet()), [0xee; 20]];
    assert_eq!(carries_text(ETHERNET, &frame), "");
    let frame = cat![ethernet(0x86dd, &packet6()), [0xee; 20]];
    assert_eq!(carries_text(ETHERNET, &frame), "");
}

#[test]
fn vlan_tags_are_recorded_outermost_first() {
    let frame = ethernet(0x88a8, &cat![[0x20, 7, 0x81, 0, 0, 9, 8, 0], packet()]);
    assert_eq!(carries_text(ETHERNET, &frame), "");
    let run = decode(&raw(ETHERNET, &frame));
    let found = run.table.resolve(run.segments[0].encapsulation);
    assert_eq!((found.vlan, found.inner_vlan), (Some(7), Some(9)));
    assert_eq!(text(&run.segments[0], &frame), TEXT);
}
