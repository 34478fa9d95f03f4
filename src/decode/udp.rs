//! UDP (RFC 768) and the tunnels over it.
//!
//! Only a port number says that a datagram may be a tunnel's. So a tunnel is followed only where
//! its own header is valid and an IP header whose lengths fit lies inside; anything else is
//! ordinary UDP.

use super::DecodeSink;
use super::cursor::{Cursor, be16, be24};
use super::ethernet::{ethertype, looks_like_ethernet};
use super::ip::{looks_like_ip, protocol};
use super::stats::{Class, Decoded, Layer};
use super::walk::Walk;
use crate::model::Tunnel;

/// Registered ports (IANA), and those that were in use before one was registered.
mod port {
    pub(super) const L2TP: u16 = 1701;
    pub(super) const GTP_U: u16 = 2152;
    pub(super) const GTP_V0: u16 = 3386;
    pub(super) const TEREDO: u16 = 3544;
    pub(super) const VXLAN: u16 = 4789;
    pub(super) const VXLAN_GPE: u16 = 4790;
    pub(super) const VXLAN_LINUX: u16 = 8472;
    pub(super) const AYIYA: u16 = 5072;
    pub(super) const GENEVE: u16 = 6081;
    pub(super) const MPLS: u16 = 6635;
}

/// What was found inside a tunnel's header.
enum Inside {
    Ip,
    Ethernet,
}

impl<S: DecodeSink> Walk<'_, S> {
    /// UDP: a tunnel, or nothing that is followed.
    pub(super) fn udp(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Udp;
        let &[s0, s1, d0, d1, len0, len1, _, _] = cursor.take::<8>(LAYER)?;
        let (source, destination) = (be16(s0, s1), be16(d0, d1));
        // 0 in jumbograms (RFC 2675, 4) and under segmentation offload: up to the packet's end.
        let length = usize::from(be16(len0, len1));
        if length > 0 {
            cursor.bound(length.saturating_sub(8));
        }
        for port in [destination, source] {
            let found = match port {
                port::VXLAN | port::VXLAN_LINUX => vxlan(cursor),
                port::VXLAN_GPE => vxlan_gpe(cursor),
                port::GENEVE => geneve(cursor),
                port::GTP_U => gtp_v1(cursor),
                port::GTP_V0 => gtp_v0(cursor),
                port::TEREDO => teredo(cursor),
                port::AYIYA => ayiya(cursor),
                port::L2TP => l2tp(cursor),
                port::MPLS => mpls(cursor),
                _ => continue,
            };
            if let Some((tunnel, inside, inner)) = found {
                let plausible = match inside {
                    Inside::Ip => looks_like_ip(inner),
                    Inside::Ethernet => looks_like_ethernet(inner),
                };
                if plausible {
                    self.outermost = false;
                    if let Some(tunnel) = tunnel {
                        self.tunnel(tunnel);
                    }
                    return match inside {
                        Inside::Ip => self.ip(inner),
                        Inside::Ethernet => self.ethernet(inner),
                    };
                }
            }
        }
        Ok(Class::ip(protocol::UDP))
    }
}

/// A tunnel's header, what kind of packet it announces, and where that begins.
type Found<'a> = Option<(Option<Tunnel>, Inside, Cursor<'a>)>;

/// VXLAN (RFC 7348, 5), with the group policy bit that Linux sets.
fn vxlan(mut cursor: Cursor<'_>) -> Found<'_> {
    let &[flags, _, _, _, v0, v1, v2, _] = cursor.take(Layer::Vxlan).ok()?;
    (flags & 0x7f == 0x08).then_some((
        Some(Tunnel::Vxlan(be24(v0, v1, v2))),
        Inside::Ethernet,
        cursor,
    ))
}

/// VXLAN's generic protocol extension (draft-ietf-nvo3-vxlan-gpe, 3).
fn vxlan_gpe(mut cursor: Cursor<'_>) -> Found<'_> {
    let &[flags, _, _, next, v0, v1, v2, _] = cursor.take(Layer::Vxlan).ok()?;
    // Version 0 and a valid identifier.
    if flags & 0x38 != 0x08 {
        return None;
    }
    let inside = match (flags & 0x04 != 0, next) {
        (true, 1 | 2) => Inside::Ip,
        (true, 3) | (false, 0) => Inside::Ethernet,
        _ => return None,
    };
    Some((Some(Tunnel::Vxlan(be24(v0, v1, v2))), inside, cursor))
}

/// Geneve (RFC 8926, 3.4).
fn geneve(mut cursor: Cursor<'_>) -> Found<'_> {
    let &[version, _, p0, p1, v0, v1, v2, _] = cursor.take(Layer::Geneve).ok()?;
    if version >> 6 != 0 {
        return None;
    }
    // Options, in 4-byte units.
    cursor
        .skip(usize::from(version & 0x3f) * 4, Layer::Geneve)
        .ok()?;
    let inside = match be16(p0, p1) {
        ethertype::TRANSPARENT_ETHERNET => Inside::Ethernet,
        ethertype::IPV4 | ethertype::IPV6 => Inside::Ip,
        _ => return None,
    };
    Some((Some(Tunnel::Geneve(be24(v0, v1, v2))), inside, cursor))
}

/// GTP-U version 1 (3GPP TS 29.281, 5.1): a G-PDU.
fn gtp_v1(mut cursor: Cursor<'_>) -> Found<'_> {
    const LAYER: Layer = Layer::Gtp;
    /// The message type of a user packet (6.1).
    const G_PDU: u8 = 255;
    let &[flags, kind, _, _, t0, t1, t2, t3] = cursor.take(LAYER).ok()?;
    // Version 1, protocol type GTP.
    if flags & 0xf0 != 0x30 || kind != G_PDU {
        return None;
    }
    if flags & 0x07 != 0 {
        // Sequence number, N-PDU number, extension: all are there if one is used.
        let &[_, _, _, mut next] = cursor.take(LAYER).ok()?;
        if flags & 0x04 == 0 {
            next = 0;
        }
        while next != 0 {
            // Length in 4-byte units, at the start; the next type, at the end (5.2.1).
            let &[units] = cursor.peek().filter(|[units]| *units > 0)?;
            let header = cursor.slice(usize::from(units) * 4, LAYER).ok()?;
            next = *header.last()?;
        }
    }
    let teid = u32::from_be_bytes([t0, t1, t2, t3]);
    Some((Some(Tunnel::Gtp(teid)), Inside::Ip, cursor))
}

/// GTP version 0 (3GPP TS 09.60, 6 and 11): a T-PDU. Its flow label stands for the identifier.
fn gtp_v0(mut cursor: Cursor<'_>) -> Found<'_> {
    let &[flags, kind, _, _, _, _, f0, f1, ..] = cursor.take::<20>(Layer::Gtp).ok()?;
    (flags & 0xf0 == 0x10 && kind == 255).then_some((
        Some(Tunnel::Gtp(u32::from(be16(f0, f1)))),
        Inside::Ip,
        cursor,
    ))
}

/// Teredo (RFC 4380, 5.1.1): authentication and origin may precede the IPv6 packet.
fn teredo(mut cursor: Cursor<'_>) -> Found<'_> {
    const LAYER: Layer = Layer::Teredo;
    if let Some([0, 1]) = cursor.peek() {
        let &[_, _, client, value] = cursor.take(LAYER).ok()?;
        // Both texts, a nonce of eight bytes and a confirmation.
        let length = usize::from(client) + usize::from(value) + 9;
        cursor.skip(length, LAYER).ok()?;
    }
    if let Some([0, 0]) = cursor.peek() {
        cursor.skip(8, LAYER).ok()?;
    }
    let &[first] = cursor.peek()?;
    (first >> 4 == 6).then_some((Some(Tunnel::Teredo), Inside::Ip, cursor))
}

/// AYIYA (draft-massar-v6ops-ayiya, 4).
fn ayiya(mut cursor: Cursor<'_>) -> Found<'_> {
    const LAYER: Layer = Layer::Ayiya;
    let &[identity, signature, operation, next, ..] = cursor.take::<8>(LAYER).ok()?;
    // The identity's length is a power of two, the signature's in 4-byte units; "forward" is
    // operation 1.
    let identity = 1usize << (identity >> 4);
    let signature = usize::from(signature >> 4) * 4;
    cursor.skip(identity + signature, LAYER).ok()?;
    (operation & 0x0f == 1 && matches!(next, protocol::IPV4 | protocol::IPV6)).then_some((
        Some(Tunnel::Ayiya),
        Inside::Ip,
        cursor,
    ))
}

/// L2TP version 2 (RFC 2661, 3.1) around PPP around IP.
fn l2tp(mut cursor: Cursor<'_>) -> Found<'_> {
    const LAYER: Layer = Layer::L2tp;
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    let &[f0, f1] = cursor.take(LAYER).ok()?;
    let flags = be16(f0, f1);
    if flags & CONTROL != 0 || flags & 0x0f != 2 {
        return None;
    }
    let length = usize::from(flags & LENGTH != 0) * 2;
    let sequence = usize::from(flags & SEQUENCE != 0) * 4;
    cursor.skip(length + 4 + sequence, LAYER).ok()?;
    if flags & OFFSET != 0 {
        let &[o0, o1] = cursor.take(LAYER).ok()?;
        cursor.skip(usize::from(be16(o0, o1)), LAYER).ok()?;
    }
    if let Some([0xff, 0x03]) = cursor.peek() {
        cursor.skip(2, LAYER).ok()?;
    }
    match cursor.take(LAYER).ok()? {
        [0x21 | 0x57] => {}
        [0] => {
            let &[low] = cursor.take(LAYER).ok()?;
            if !matches!(low, 0x21 | 0x57) {
                return None;
            }
        }
        _ => return None,
    }
    Some((None, Inside::Ip, cursor))
}

/// MPLS in UDP (RFC 7510, 3): a label stack around IP.
fn mpls(mut cursor: Cursor<'_>) -> Found<'_> {
    for _ in 0..8 {
        let &[_, _, bottom, _] = cursor.take(Layer::Mpls).ok()?;
        if bottom & 1 != 0 {
            return Some((None, Inside::Ip, cursor));
        }
    }
    None
}
