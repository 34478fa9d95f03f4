//! UDP (RFC 768) and the tunnels over it.
//!
//! Only a port number says that a datagram may be a tunnel's. So a tunnel is followed only where
//! its own header is valid and what lies inside looks like what it announces; anything else is ordinary
//! UDP. Lengths are no part of that: a mirror may have cut the packet before it was encapsulated.

use super::DecodeSink;
use super::capwap::capwap;
use super::cursor::{Cursor, be16, be24, stop};
use super::ethernet::{ethertype, looks_like_ethernet, looks_like_nsh, looks_like_type};
use super::ip::{looks_like_ip, protocol};
use super::stats::{Class, Decoded, Layer, Reason};
use super::tzsp::tzsp;
use super::walk::Walk;
use super::wifi::looks_like_wifi;
use crate::config::UdpTunnel;
use crate::model::Tunnel;

/// The tunnel that a port is registered for (IANA), or was in use for before one was registered.
const fn registered(port: u16) -> Option<UdpTunnel> {
    Some(match port {
        1701 => UdpTunnel::L2tp,
        2152 | 3386 => UdpTunnel::Gtp,
        3544 => UdpTunnel::Teredo,
        4341 => UdpTunnel::Lisp,
        // Linux took 8472 before there was a number.
        4789 | 8472 => UdpTunnel::Vxlan,
        4790 => UdpTunnel::VxlanGpe,
        5072 => UdpTunnel::Ayiya,
        5247 => UdpTunnel::Capwap,
        6081 => UdpTunnel::Geneve,
        6635 => UdpTunnel::Mpls,
        // Not registered: MikroTik's and all others' choice.
        37_008 => UdpTunnel::Tzsp,
        _ => return None,
    })
}

/// What a tunnel's header announces.
pub(super) enum Inside {
    Ip,
    Ethernet,
    /// What an Ethernet type says.
    Type(u16),
    Nsh,
    /// IEEE 802.11 without its check sequence.
    Wifi,
    /// A frame of this link type.
    Link(u16),
    /// A piece of a frame, of a layer that is not put together here.
    FragmentOf(Layer),
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
        let named = &self.config.tunnel_ports;
        for port in [destination, source] {
            for tunnel in named.on(port).chain(registered(port)) {
                if let Some(found) = open(tunnel, cursor).filter(is_plausible) {
                    return self.inside(found);
                }
            }
        }
        match teredo_between_peers(cursor) {
            Some(found) => self.inside(found),
            None => Ok(Class::ip(protocol::UDP)),
        }
    }

    fn inside(&mut self, (tunnel, inside, inner): Tunnelled<'_>) -> Decoded {
        self.outermost = false;
        if let Some(tunnel) = tunnel {
            self.tunnel(tunnel);
        }
        match inside {
            Inside::Ip => self.ip(inner),
            Inside::Ethernet => self.ethernet(inner),
            Inside::Type(ethertype) => self.ethertype(ethertype, inner),
            Inside::Nsh => self.nsh(inner),
            Inside::Wifi => self.wifi_from_controller(inner),
            Inside::Link(link) => self.inner_link(u32::from(link), inner),
            Inside::FragmentOf(layer) => Err(stop(layer, Reason::LinkFragment)),
        }
    }
}

/// A tunnel's header, what kind of packet it announces, and where that begins.
pub(super) type Tunnelled<'a> = (Option<Tunnel>, Inside, Cursor<'a>);

/// `None` where the header is not that of the tunnel.
pub(super) type Found<'a> = Option<Tunnelled<'a>>;

/// Reads the header of a tunnel.
fn open(tunnel: UdpTunnel, cursor: Cursor<'_>) -> Found<'_> {
    match tunnel {
        UdpTunnel::Vxlan => vxlan(cursor),
        UdpTunnel::VxlanGpe => vxlan_gpe(cursor),
        UdpTunnel::Geneve => geneve(cursor),
        UdpTunnel::Gtp => gtp_v1(cursor).or_else(|| gtp_v0(cursor)),
        UdpTunnel::Lisp => lisp(cursor),
        UdpTunnel::Tzsp => tzsp(cursor),
        UdpTunnel::Capwap => capwap(cursor),
        UdpTunnel::L2tp => l2tp(cursor),
        UdpTunnel::Teredo => teredo(cursor),
        UdpTunnel::Ayiya => ayiya(cursor),
        UdpTunnel::Mpls => mpls(cursor),
    }
}

/// Whether what follows a tunnel's header looks like what it announces: a port number alone makes
/// no tunnel.
fn is_plausible((_, inside, inner): &Tunnelled<'_>) -> bool {
    match inside {
        Inside::Ip => looks_like_ip(*inner),
        Inside::Ethernet => looks_like_ethernet(*inner),
        Inside::Type(ethertype) => looks_like_type(*ethertype, *inner),
        Inside::Nsh => looks_like_nsh(*inner),
        Inside::Wifi => looks_like_wifi(*inner),
        // These have checks enough in their headers.
        Inside::Link(_) | Inside::FragmentOf(_) => true,
    }
}

/// VXLAN (RFC 7348, 5): of its flags only the one for a valid identifier counts, since the others are
/// reserved and ignored on receipt, or belong to extensions that change nothing here. Where one is set
/// that announces another payload than Ethernet, that is looked for too.
fn vxlan(cursor: Cursor<'_>) -> Found<'_> {
    let mut inner = cursor;
    let &[flags, _, _, _, v0, v1, v2, _] = inner.take(Layer::Vxlan).ok()?;
    if flags & 0x08 == 0 {
        return None;
    }
    let found = (
        Some(Tunnel::Vxlan(be24(v0, v1, v2))),
        Inside::Ethernet,
        inner,
    );
    if flags & GPE_PROTOCOL != 0 && !is_plausible(&found) {
        return vxlan_gpe(cursor);
    }
    Some(found)
}

/// The flag that says what a VXLAN-GPE header's fourth byte is.
const GPE_PROTOCOL: u8 = 0x04;

/// VXLAN's generic protocol extension (draft-ietf-nvo3-vxlan-gpe, 3).
fn vxlan_gpe(mut cursor: Cursor<'_>) -> Found<'_> {
    let &[flags, _, _, next, v0, v1, v2, _] = cursor.take(Layer::Vxlan).ok()?;
    // Version 0 and a valid identifier.
    if flags & 0x38 != 0x08 {
        return None;
    }
    let inside = if flags & GPE_PROTOCOL == 0 {
        Inside::Ethernet
    } else {
        next_protocol(next)?
    };
    Some((Some(Tunnel::Vxlan(be24(v0, v1, v2))), inside, cursor))
}

/// The numbers that VXLAN-GPE and LISP-GPE (RFC 9305, 3) have in common.
const fn next_protocol(number: u8) -> Option<Inside> {
    match number {
        1 | 2 => Some(Inside::Ip),
        3 => Some(Inside::Ethernet),
        4 => Some(Inside::Nsh),
        5 => Some(Inside::Type(ethertype::MPLS)),
        _ => None,
    }
}

/// LISP data (RFC 9300, 5.1): flags and nonce, then instance and locator bits.
fn lisp(mut cursor: Cursor<'_>) -> Found<'_> {
    const INSTANCE: u8 = 0x08;
    const NEXT_PROTOCOL: u8 = 0x04;
    /// The payload is encrypted with one of these keys (RFC 8061).
    const KEY: u8 = 0x03;
    let &[flags, _, _, next, i0, i1, i2, _] = cursor.take(Layer::Udp).ok()?;
    if flags & KEY != 0 {
        return None;
    }
    let instance = (flags & INSTANCE != 0).then(|| be24(i0, i1, i2));
    let inside = if flags & NEXT_PROTOCOL != 0 {
        next_protocol(next)?
    } else {
        Inside::Ip
    };
    Some((Some(Tunnel::Lisp(instance)), inside, cursor))
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
        other => Inside::Type(other),
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
    // Sessions of 5G may carry Ethernet (3GPP TS 23.501, 5.6.10.2); only the session's set-up says so.
    let inside = if !looks_like_ip(cursor) && looks_like_ethernet(cursor) {
        Inside::Ethernet
    } else {
        Inside::Ip
    };
    Some((Some(Tunnel::Gtp(teid)), inside, cursor))
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

/// Teredo between clients and relays, which choose their ports freely; only servers have a port of
/// their own (RFC 4380, 2.6 and 2.7). Told by an IPv6 packet that fills the UDP payload exactly and
/// has an address under Teredo's prefix `2001::/32` (2.6): ordinary UDP does not look so by chance.
fn teredo_between_peers(cursor: Cursor<'_>) -> Found<'_> {
    const PREFIX: [u8; 4] = [0x20, 0x01, 0, 0];
    let header: &[u8; 40] = cursor.peek()?;
    let [first, _, _, _, len0, len1, _, _, addresses @ ..] = header;
    let (source, destination) = addresses.split_at(16);
    (first >> 4 == 6
        && usize::from(be16(*len0, *len1)) + 40 == cursor.wire_len()
        && (source.starts_with(&PREFIX) || destination.starts_with(&PREFIX)))
    .then_some((Some(Tunnel::Teredo), Inside::Ip, cursor))
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
