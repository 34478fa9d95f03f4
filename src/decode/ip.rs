//! IPv4 (RFC 791) and IPv6 (RFC 8200), and the dispatch by IP protocol.

use super::DecodeSink;
use super::checksum;
use super::cursor::{Cursor, be16, stop};
use super::ethernet::looks_like_ethernet;
use super::ip_options::{are_well_formed, has_stops_left, option6};
use super::stats::{Class, Decoded, Layer, Reason, Undecoded};
use super::walk::{Piece, Walk};
use crate::model::Tunnel;

/// IP protocol numbers (IANA, Assigned Internet Protocol Numbers).
pub(super) mod protocol {
    pub(in crate::decode) const HOP_BY_HOP: u8 = 0;
    pub(in crate::decode) const IPV4: u8 = 4;
    pub(in crate::decode) const TCP: u8 = 6;
    pub(in crate::decode) const UDP: u8 = 17;
    pub(in crate::decode) const IPV6: u8 = 41;
    pub(in crate::decode) const ROUTING: u8 = 43;
    pub(in crate::decode) const FRAGMENT: u8 = 44;
    pub(in crate::decode) const GRE: u8 = 47;
    pub(in crate::decode) const AH: u8 = 51;
    pub(in crate::decode) const DESTINATION: u8 = 60;
    pub(in crate::decode) const ETHERIP: u8 = 97;
    pub(in crate::decode) const IPCOMP: u8 = 108;
    pub(in crate::decode) const MOBILITY: u8 = 135;
    pub(in crate::decode) const MPLS: u8 = 137;
    pub(in crate::decode) const HIP: u8 = 139;
    pub(in crate::decode) const SHIM6: u8 = 140;
    pub(in crate::decode) const ETHERNET: u8 = 143;
}

/// Bytes of an IPv4 header without options (RFC 791, 3.1).
const IPV4_HEADER: u32 = 20;
/// Bytes of the fixed IPv6 header (RFC 8200, 3).
const IPV6_HEADER: u32 = 40;
/// The hop-by-hop option that carries the length of a jumbogram (RFC 2675, 2).
const JUMBO_OPTION: u8 = 0xc2;

/// The destination option that carries a mobile node's home address (RFC 6275, 6.3).
const HOME_ADDRESS_OPTION: u8 = 0xc9;

/// What the layers above need of an IP header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip {
    /// Source address; an IPv4 address fills the first four bytes.
    pub(super) source: [u8; 16],
    /// Destination address, likewise.
    pub(super) destination: [u8; 16],
    /// 4 or 6.
    pub(super) version: u8,
    /// Length of the packet as its header declares it.
    pub(super) total_len: u32,
    /// Bytes of it that lie before the cursor.
    pub(super) header_len: u32,
    /// IPv4 identification; 0 where there is none.
    pub(super) id: u16,
    /// The addresses are those that the checksum of TCP covers: no source route has stops left
    /// (RFC 791, 3.1; RFC 8200, 8.1), and no mobile node's home address stands elsewhere
    /// (RFC 6275, 6.3).
    pub(super) has_final_addresses: bool,
}

fn widen(v4: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = v4;
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn wire_len(cursor: &Cursor<'_>) -> u32 {
    u32::try_from(cursor.wire_len()).unwrap_or(u32::MAX)
}

impl<S: DecodeSink> Walk<'_, S> {
    /// IP of the version that its first four bits say.
    pub(super) fn ip(&mut self, cursor: Cursor<'_>) -> Decoded {
        match cursor.peek::<1>() {
            Some([first]) if first >> 4 == 6 => self.ipv6(cursor),
            Some(_) => self.ipv4(cursor),
            None => Err(stop(Layer::Ipv4, Reason::Truncated)),
        }
    }

    /// IPv4. Some tools write IPv6 under IPv4's type, so that is read too.
    #[inline]
    pub(super) fn ipv4(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Ipv4;
        self.enter(LAYER)?;
        self.outermost = false;
        let whole = cursor;
        let &[
            version_ihl,
            _,
            len0,
            len1,
            id0,
            id1,
            frag0,
            frag1,
            _,
            protocol,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ] = cursor.take::<20>(LAYER)?;
        if version_ihl >> 4 != 4 {
            return if version_ihl >> 4 == 6 {
                self.ipv6(whole)
            } else {
                Err(stop(LAYER, Reason::BadVersion))
            };
        }
        let header_len = u32::from(version_ihl & 0x0f) * 4;
        if header_len < IPV4_HEADER {
            return Err(stop(LAYER, Reason::BadHeader));
        }
        let mut has_final_addresses = true;
        if header_len > IPV4_HEADER {
            let options = cursor.slice((header_len - IPV4_HEADER) as usize, LAYER)?;
            has_final_addresses = !has_stops_left(options);
            if !are_well_formed(options) {
                return Err(stop(LAYER, Reason::BadOptions));
            }
        }
        if self.drops_bad_checksums() {
            let header = whole.rest().get(..header_len as usize).unwrap_or_default();
            if !checksum::is_valid(0, header) {
                return Err(stop(LAYER, Reason::BadChecksum));
            }
        }
        let mut total = u32::from(be16(len0, len1));
        if total == 0 {
            // Segmentation offload: the kernel hands the capture a packet whose length the
            // network card has yet to fill in.
            total = wire_len(&whole);
        }
        if total < header_len {
            return Err(stop(LAYER, Reason::BadLength));
        }
        self.declare(&mut cursor, total - header_len);
        let ip = Ip {
            source: widen([s0, s1, s2, s3]),
            destination: widen([d0, d1, d2, d3]),
            version: 4,
            total_len: total,
            header_len,
            id: be16(id0, id1),
            has_final_addresses,
        };
        let fragment = be16(frag0, frag1);
        // More-fragments flag and offset (RFC 791, 3.1).
        if fragment & 0x3fff != 0 {
            let piece = Piece {
                id: u32::from(be16(id0, id1)),
                protocol,
                header_len,
                offset: u32::from(fragment & 0x1fff) * 8,
                more: fragment & 0x2000 != 0,
            };
            self.emit_fragment(&ip, &piece, cursor);
            return Ok(Class::Fragment);
        }
        if protocol == protocol::TCP {
            return self.tcp(&ip, cursor);
        }
        self.ip_payload(ip, protocol, cursor)
    }

    /// IPv6.
    #[inline]
    pub(super) fn ipv6(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Ipv6;
        self.enter(LAYER)?;
        self.outermost = false;
        let &[version, _, _, _, len0, len1, next, _] = cursor.take::<8>(LAYER)?;
        if version >> 4 != 6 {
            return Err(stop(LAYER, Reason::BadVersion));
        }
        let source = *cursor.take::<16>(LAYER)?;
        let destination = *cursor.take::<16>(LAYER)?;
        let mut declared = u32::from(be16(len0, len1));
        if declared == 0 {
            // A jumbogram, or segmentation offload as in IPv4.
            let jumbo = (next == protocol::HOP_BY_HOP).then(|| jumbo_length(cursor));
            declared = jumbo.flatten().unwrap_or(wire_len(&cursor));
            // 32 bits: too much to believe of a frame that is shorter.
            cursor.bound(declared as usize);
        } else {
            self.declare(&mut cursor, declared);
        }
        let ip = Ip {
            source,
            destination,
            version: 6,
            total_len: IPV6_HEADER.saturating_add(declared),
            header_len: IPV6_HEADER,
            id: 0,
            has_final_addresses: true,
        };
        if next == protocol::TCP {
            return self.tcp(&ip, cursor);
        }
        self.ip_payload(ip, next, cursor)
    }

    /// What follows an IP header: extension headers, then the protocol.
    pub(super) fn ip_payload(
        &mut self,
        mut ip: Ip,
        mut protocol: u8,
        mut cursor: Cursor<'_>,
    ) -> Decoded {
        loop {
            match protocol {
                protocol::TCP => return self.tcp(&ip, cursor),
                protocol::UDP => return self.udp(cursor),
                protocol::IPV4 => {
                    self.tunnel(if ip.version == 4 {
                        Tunnel::Ip4In4
                    } else {
                        Tunnel::Ip4In6
                    });
                    return self.ipv4(cursor);
                }
                protocol::IPV6 => {
                    self.tunnel(if ip.version == 4 {
                        Tunnel::Ip6In4
                    } else {
                        Tunnel::Ip6In6
                    });
                    return self.ipv6(cursor);
                }
                protocol::GRE => return self.gre(cursor),
                protocol::ETHERIP => {
                    // Version 3 in the upper four bits, the rest zero (RFC 3378, 2). MikroTik's EoIPv6
                    // has its tunnel's number there; old systems had the halves the other way round.
                    let &[version, _] = cursor.take::<2>(Layer::Ethernet)?;
                    let swapped = version & 0x0f == 3 && looks_like_ethernet(cursor);
                    if version >> 4 != 3 && !swapped {
                        return Ok(Class::ip(protocol));
                    }
                    return self.ethernet(cursor);
                }
                protocol::IPCOMP => return self.ipcomp(ip, cursor),
                protocol::MPLS => return self.mpls(cursor),
                // Ethernet without a header of its own (RFC 8986, 9).
                protocol::ETHERNET => return self.ethernet(cursor),
                protocol::AH => {
                    // Length in 4-byte units, minus 2 (RFC 4302, 2.2).
                    protocol = extension(&mut ip, &mut cursor, 4, 2)?;
                }
                protocol::HOP_BY_HOP
                | protocol::DESTINATION
                | protocol::MOBILITY
                | protocol::HIP
                | protocol::SHIM6
                    if ip.version == 6 =>
                {
                    if matches!(protocol, protocol::HOP_BY_HOP | protocol::DESTINATION) {
                        let home = option6(cursor, HOME_ADDRESS_OPTION)?;
                        ip.has_final_addresses &= home.is_none();
                    }
                    // Length in 8-byte units, minus 1 (RFC 8200, 4.3; RFC 6275, 6.1.1).
                    protocol = extension(&mut ip, &mut cursor, 8, 1)?;
                }
                protocol::ROUTING if ip.version == 6 => {
                    // The fourth byte counts the stops that are left (RFC 8200, 4.4).
                    if matches!(cursor.peek(), Some(&[_, _, _, left]) if left > 0) {
                        ip.has_final_addresses = false;
                    }
                    protocol = extension(&mut ip, &mut cursor, 8, 1)?;
                }
                protocol::FRAGMENT if ip.version == 6 => {
                    let &[next, _, offset0, offset1, i0, i1, i2, i3] =
                        cursor.take::<8>(Layer::IpExtension)?;
                    let offset = be16(offset0, offset1);
                    // An atomic fragment is a whole packet (RFC 6946).
                    if offset & 0xfff9 != 0 {
                        let piece = Piece {
                            id: u32::from_be_bytes([i0, i1, i2, i3]),
                            protocol: next,
                            // The fragment header is not part of the original packet.
                            header_len: ip.header_len,
                            offset: u32::from(offset & 0xfff8),
                            more: offset & 1 != 0,
                        };
                        self.emit_fragment(&ip, &piece, cursor);
                        return Ok(Class::Fragment);
                    }
                    ip.header_len += 8;
                    protocol = next;
                }
                _ => return Ok(Class::ip(protocol)),
            }
        }
    }
}

/// Moves past an extension header and gives the protocol that it names. Its second byte is its
/// length in `unit`s, less `minus`.
fn extension(
    ip: &mut Ip,
    cursor: &mut Cursor<'_>,
    unit: usize,
    minus: usize,
) -> Result<u8, Undecoded> {
    const LAYER: Layer = Layer::IpExtension;
    let &[next, len] = cursor.look(LAYER)?;
    let length = (usize::from(len) + minus) * unit;
    cursor.skip(length, LAYER)?;
    // At most 1 KiB each, in a packet whose length fits 32 bits.
    ip.header_len = ip
        .header_len
        .saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
    Ok(next)
}

/// The payload length of a jumbogram, from its hop-by-hop options (RFC 2675, 2).
fn jumbo_length(cursor: Cursor<'_>) -> Option<u32> {
    let option = option6(cursor, JUMBO_OPTION).ok()??;
    let length = u32::from_be_bytes(option.try_into().ok()?);
    // Smaller packets have no need of the option and must not carry it.
    (length > 0xffff).then_some(length)
}

/// Whether this looks like an IP packet: used where nothing but a port number, or a type that might be
/// there by chance, says that one begins here.
///
/// A mirror may have cut the packet before it was encapsulated, so a length beyond what is here is none
/// against it. Then the rest of the header must tell: its checksum, or a protocol that packets do carry.
pub(super) fn looks_like_ip(cursor: Cursor<'_>) -> bool {
    match header_of(cursor) {
        None => false,
        Some(Outline { total, protocol }) if total > cursor.wire_len() => {
            is_usual(protocol) || has_good_checksum(cursor)
        }
        Some(_) => true,
    }
}

/// The same, and no byte of it is missing.
pub(super) fn looks_like_whole_ip(cursor: Cursor<'_>) -> bool {
    header_of(cursor).is_some_and(|outline| outline.total <= cursor.wire_len())
}

/// What an IP header says, if its fields do not contradict each other.
struct Outline {
    /// Bytes of the whole packet.
    total: usize,
    protocol: u8,
}

fn header_of(cursor: Cursor<'_>) -> Option<Outline> {
    match cursor.rest() {
        [first, ..] if first >> 4 == 4 => {
            let &[ihl, _, len0, len1, _, _, _, _, _, protocol, ..] = cursor.peek::<20>()?;
            let header = usize::from(ihl & 0x0f) * 4;
            // 0 under segmentation offload.
            let total = usize::from(be16(len0, len1));
            (header >= 20 && (total >= header || total == 0)).then_some(Outline { total, protocol })
        }
        [first, ..] if first >> 4 == 6 => {
            let &[_, _, _, _, len0, len1, protocol, ..] = cursor.peek::<40>()?;
            let total = usize::from(be16(len0, len1)) + IPV6_HEADER as usize;
            Some(Outline { total, protocol })
        }
        _ => None,
    }
}

/// Protocols that make up nearly all traffic, and the extension headers of IPv6.
const fn is_usual(protocol: u8) -> bool {
    matches!(
        protocol,
        protocol::HOP_BY_HOP
            | 1
            | 2
            | protocol::IPV4
            | protocol::TCP
            | protocol::UDP
            | protocol::IPV6
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::GRE
            | 50
            | protocol::AH
            | 58
            | protocol::DESTINATION
            | 89
            | protocol::IPCOMP
            | 132
    )
}

/// Whether an IPv4 header's checksum is right.
fn has_good_checksum(cursor: Cursor<'_>) -> bool {
    let Some([first, ..]) = cursor.peek::<20>() else {
        return false;
    };
    let header = cursor.rest().get(..usize::from(first & 0x0f) * 4);
    first >> 4 == 4 && header.is_some_and(|header| checksum::is_valid(0, header))
}
