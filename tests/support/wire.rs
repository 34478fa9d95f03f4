//! Builds frames: Ethernet, VLAN tags, IPv4 and IPv6, TCP, all with correct checksums.

use std::net::{IpAddr, SocketAddr};

/// Bytes of a TCP header without options.
pub const TCP_HEADER: usize = 20;

/// One TCP segment to be built.
#[derive(Clone, Copy, Debug)]
pub struct TcpPacket<'a> {
    /// Sender.
    pub src: SocketAddr,
    /// Receiver, of the same IP version.
    pub dst: SocketAddr,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags, low eight bits.
    pub flags: u8,
    /// Window as sent.
    pub window: u16,
    /// Options, padded to a multiple of four bytes.
    pub options: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
    /// IPv4 identification, or the identification of IPv6 fragments.
    pub ident: u32,
}

/// What stands before the IP header.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// The outer VLAN id.
    pub vlan: Option<u16>,
    /// The inner VLAN id; means nothing without an outer one.
    pub inner_vlan: Option<u16>,
}

impl Link {
    /// Bytes of the link header.
    pub fn header_len(self) -> usize {
        match (self.vlan, self.inner_vlan) {
            (None, _) => 14,
            (Some(_), None) => 18,
            (Some(_), Some(_)) => 22,
        }
    }

    /// Appends the link header. Addresses are locally administered and follow the direction.
    pub fn header(self, src: SocketAddr, dst: SocketAddr, out: &mut Vec<u8>) {
        let upwards = src > dst;
        out.extend_from_slice(&[0x02, 0, 0, 0, 0, if upwards { 1 } else { 2 }]);
        out.extend_from_slice(&[0x02, 0, 0, 0, 0, if upwards { 2 } else { 1 }]);
        if let Some(vlan) = self.vlan {
            let outer_type: u16 = if self.inner_vlan.is_some() {
                0x88a8
            } else {
                0x8100
            };
            out.extend_from_slice(&outer_type.to_be_bytes());
            out.extend_from_slice(&vlan.to_be_bytes());
            if let Some(inner) = self.inner_vlan {
                out.extend_from_slice(&0x8100u16.to_be_bytes());
                out.extend_from_slice(&inner.to_be_bytes());
            }
        }
        let ether_type: u16 = if src.is_ipv4() { 0x0800 } else { 0x86dd };
        out.extend_from_slice(&ether_type.to_be_bytes());
    }
}

/// Adds `bytes` to a ones' complement sum of little-endian 16-bit words (RFC 1071 shows that byte
/// order does not matter until the end). All but the last piece must have an even length.
fn sum(bytes: &[u8]) -> u64 {
    let mut total = 0u64;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        total += u64::from(u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    }
    let rest = words.remainder();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    total + u64::from(u32::from_le_bytes(last))
}

fn fold(mut total: u64) -> [u8; 2] {
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    (!(total as u16)).to_le_bytes()
}

/// The checksum of these bytes (RFC 1071), as it stands in a header.
pub fn internet_checksum(bytes: &[u8]) -> [u8; 2] {
    fold(sum(bytes))
}

/// Length of the IP header that [`ip_packet`] writes.
pub fn ip_header_len(end: SocketAddr) -> usize {
    if end.is_ipv4() { 20 } else { 40 }
}

/// Appends the IP packet of a segment.
pub fn ip_packet(packet: &TcpPacket<'_>, out: &mut Vec<u8>) {
    let tcp_len = TCP_HEADER + packet.options.len() + packet.payload.len();
    let start = out.len();
    let pseudo = match (packet.src.ip(), packet.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            out.extend_from_slice(&[0x45, 0]);
            out.extend_from_slice(&((20 + tcp_len) as u16).to_be_bytes());
            out.extend_from_slice(&(packet.ident as u16).to_be_bytes());
            out.extend_from_slice(&[0x40, 0, 64, 6, 0, 0]);
            out.extend_from_slice(&src.octets());
            out.extend_from_slice(&dst.octets());
            let check = fold(sum(&out[start..start + 20]));
            out[start + 10..start + 12].copy_from_slice(&check);
            sum(&out[start + 12..start + 20])
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&(tcp_len as u16).to_be_bytes());
            out.extend_from_slice(&[6, 64]);
            out.extend_from_slice(&src.octets());
            out.extend_from_slice(&dst.octets());
            sum(&out[start + 8..start + 40])
        }
        _ => panic!("both ends of a segment have one IP version"),
    };
    let tcp = out.len();
    out.extend_from_slice(&packet.src.port().to_be_bytes());
    out.extend_from_slice(&packet.dst.port().to_be_bytes());
    out.extend_from_slice(&packet.seq.to_be_bytes());
    out.extend_from_slice(&packet.ack.to_be_bytes());
    assert_eq!(packet.options.len() % 4, 0, "options are padded");
    out.push(((20 + packet.options.len()) / 4 * 16) as u8);
    out.push(packet.flags);
    out.extend_from_slice(&packet.window.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0]);
    out.extend_from_slice(packet.options);
    out.extend_from_slice(packet.payload);
    let extra = sum(&[0, 6]) + sum(&(tcp_len as u16).to_be_bytes());
    let check = fold(pseudo + extra + sum(&out[tcp..]));
    out[tcp + 16..tcp + 18].copy_from_slice(&check);
}

/// Writes the whole frame of a segment into `out`, which is cleared first.
pub fn frame(packet: &TcpPacket<'_>, link: Link, out: &mut Vec<u8>) {
    out.clear();
    link.header(packet.src, packet.dst, out);
    ip_packet(packet, out);
}

/// Splits a segment into frames of IP fragments that carry `size` bytes each; `size` is a multiple
/// of eight.
pub fn fragments(packet: &TcpPacket<'_>, link: Link, size: usize) -> Vec<Vec<u8>> {
    assert!(
        size > 0 && size.is_multiple_of(8),
        "fragments carry a multiple of eight bytes"
    );
    let mut whole = Vec::new();
    ip_packet(packet, &mut whole);
    let (header, body) = whole.split_at(ip_header_len(packet.src));
    let mut frames = Vec::new();
    for (index, piece) in body.chunks(size).enumerate() {
        let offset = index * size;
        let more = offset + piece.len() < body.len();
        let mut out = Vec::new();
        link.header(packet.src, packet.dst, &mut out);
        let ip = out.len();
        out.extend_from_slice(header);
        if packet.src.is_ipv4() {
            out[ip + 2..ip + 4].copy_from_slice(&((20 + piece.len()) as u16).to_be_bytes());
            let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
            out[ip + 6..ip + 8].copy_from_slice(&field.to_be_bytes());
            out[ip + 10..ip + 12].fill(0);
            let check = fold(sum(&out[ip..ip + 20]));
            out[ip + 10..ip + 12].copy_from_slice(&check);
        } else {
            out[ip + 4..ip + 6].copy_from_slice(&((8 + piece.len()) as u16).to_be_bytes());
            out[ip + 6] = 44;
            let field = offset as u16 | u16::from(more);
            out.extend_from_slice(&[6, 0]);
            out.extend_from_slice(&field.to_be_bytes());
            out.extend_from_slice(&packet.ident.to_be_bytes());
        }
        out.extend_from_slice(piece);
        frames.push(out);
    }
    frames
}

/// Ethernet frames are at least 60 bytes long (without their check sequence): pads with bytes that
/// would be seen if they entered a stream.
pub fn pad(frame: &mut Vec<u8>, to: usize) {
    if frame.len() < to {
        frame.resize(to, 0xee);
    }
}

/// The options of a SYN: maximum segment size, SACK permitted and window scale, each if asked for.
pub fn syn_options(mss: Option<u16>, sack: bool, wscale: Option<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(mss) = mss {
        out.extend_from_slice(&[2, 4]);
        out.extend_from_slice(&mss.to_be_bytes());
    }
    if sack {
        out.extend_from_slice(&[4, 2]);
    }
    if let Some(shift) = wscale {
        out.extend_from_slice(&[3, 3, shift]);
    }
    while out.len() % 4 != 0 {
        out.push(1);
    }
    out
}

/// A timestamp option (RFC 7323) with its usual two bytes of padding before it.
pub fn timestamp_option(value: u32, echo: u32) -> [u8; 12] {
    let mut out = [1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    out[4..8].copy_from_slice(&value.to_be_bytes());
    out[8..12].copy_from_slice(&echo.to_be_bytes());
    out
}

/// A packet of data from a port of 10.0.0.1 to port 80 of 10.0.0.2.
pub fn data_packet(port: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let packet = TcpPacket {
        src: ([10, 0, 0, 1], port).into(),
        dst: ([10, 0, 0, 2], 80).into(),
        seq,
        ack: 1,
        flags: 0x18,
        window: 1000,
        options: &[],
        payload,
        ident: 1,
    };
    ip_packet(&packet, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(src: &str, dst: &str, payload: &'static [u8]) -> TcpPacket<'static> {
        TcpPacket {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            seq: 0x0102_0304,
            ack: 5,
            flags: 0x18,
            window: 1000,
            options: &[],
            payload,
            ident: 9,
        }
    }

    /// Whoever receives a packet sums it with its checksum: the answer must be zero.
    fn tcp_sum_is_zero(ip: &[u8], header: usize, addresses: &[u8]) -> bool {
        let tcp = &ip[header..];
        let length = (tcp.len() as u16).to_be_bytes();
        fold(sum(addresses) + sum(&[0, 6]) + sum(&length) + sum(tcp)) == [0, 0]
    }

    #[test]
    fn checksums_hold() {
        let mut ip = Vec::new();
        ip_packet(
            &packet("192.0.2.1:1000", "198.51.100.7:80", b"odd"),
            &mut ip,
        );
        assert_eq!(fold(sum(&ip[..20])), [0, 0]);
        assert!(tcp_sum_is_zero(&ip, 20, &ip[12..20]));
        ip.clear();
        ip_packet(
            &packet("[2001:db8::1]:1000", "[2001:db8::2]:80", b"even"),
            &mut ip,
        );
        assert!(tcp_sum_is_zero(&ip, 40, &ip[8..40]));
    }

    #[test]
    fn a_header_known_from_elsewhere_comes_out_the_same() {
        // The worked example of an IPv4 header checksum that many textbooks carry.
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(fold(sum(&header)), [0xb8, 0x61]);
    }

    #[test]
    fn fragments_carry_the_whole_segment() {
        for (src, dst, skip) in [
            ("192.0.2.1:1000", "192.0.2.2:80", 20),
            ("[2001:db8::1]:1000", "[2001:db8::2]:80", 48),
        ] {
            let packet = packet(src, dst, b"0123456789abcdef0123456789");
            let mut whole = Vec::new();
            ip_packet(&packet, &mut whole);
            let frames = fragments(&packet, Link::default(), 16);
            assert_eq!(frames.len(), 3);
            let joined: Vec<u8> = frames
                .iter()
                .flat_map(|f| f[14 + skip..].iter().copied())
                .collect();
            assert_eq!(joined, whole[ip_header_len(packet.src)..]);
        }
    }
}
