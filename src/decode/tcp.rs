//! TCP (RFC 9293): the last layer.

use super::DecodeSink;
use super::checksum;
use super::cursor::{Cursor, be16, stop};
use super::ip::Ip;
use super::stats::{Class, Decoded, Layer, Reason};
use super::walk::Walk;
use crate::model::{Endpoint, FlowKey, Payload, Segment, SynOptions, TcpFlags};

/// Bytes of a header without options (RFC 9293, 3.1).
const HEADER: usize = 20;

/// Option kinds (IANA, TCP Option Kind Numbers).
mod option {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const MSS: u8 = 2;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const SACK_PERMITTED: u8 = 4;
    pub(super) const SACK: u8 = 5;
    pub(super) const TIMESTAMPS: u8 = 8;
}

/// What most segments' options begin with where they fill 12 bytes (RFC 7323, appendix A):
/// nothing else fits behind it.
const TIMESTAMPS_ALONE: [u8; 4] = [option::NOP, option::NOP, option::TIMESTAMPS, 10];

impl<S: DecodeSink> Walk<'_, S> {
    /// TCP.
    #[inline]
    pub(super) fn tcp(&mut self, ip: &Ip, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Tcp;
        let whole = cursor;
        let &[
            sp0,
            sp1,
            dp0,
            dp1,
            s0,
            s1,
            s2,
            s3,
            a0,
            a1,
            a2,
            a3,
            offset,
            flags,
            w0,
            w1,
            c0,
            c1,
            _,
            _,
        ] = cursor.take::<HEADER>(LAYER)?;
        let header = usize::from(offset >> 4) * 4;
        if header < HEADER {
            return Err(stop(LAYER, Reason::BadHeader));
        }
        let flags = TcpFlags(flags);
        let source = Endpoint::v6(ip.source, be16(sp0, sp1));
        let destination = Endpoint::v6(ip.destination, be16(dp0, dp1));
        let (key, from) = if ip.version == 4 {
            FlowKey::v4(source, destination)
        } else {
            FlowKey::v6(source, destination)
        };
        if let Some(filter) = &self.config.filter
            && !filter.matches(&key, from, flags, self.encapsulation)
        {
            return Ok(Class::Filtered);
        }

        // A header that claims to go on behind the end of the datagram leaves no payload. Its fixed
        // part is there all the same, and Wireshark counts such a segment too.
        let header = header.min(whole.wire_len());
        // A snap length may have cut the options; then no payload was captured either.
        let options = cursor
            .slice((header - HEADER).min(cursor.len()), LAYER)
            .unwrap_or_default();
        let payload_on_wire = whole.wire_len() - header;
        let truncated = payload_on_wire.saturating_sub(cursor.len());

        let (mut syn_options, mut has_sack) = (SynOptions::default(), false);
        if !options.is_empty() && (flags.syn() || !is_timestamps_alone(options)) {
            (syn_options, has_sack) = read_options(options);
            if !flags.syn() {
                syn_options = SynOptions::default();
            }
        }

        if self.drops_bad_checksums() && is_damaged(ip, whole) {
            self.stats.bad_tcp_checksums += 1;
            self.stats.bad_checksum_payload += cursor.len() as u64;
            return Err(stop(LAYER, Reason::BadChecksum));
        }

        let encapsulation = self.table.intern(self.encapsulation);
        self.sink.segment(Segment {
            key: key.tagged(self.table.tag(encapsulation)),
            from,
            frame: self.frame,
            ts: self.ts,
            watermark: self.watermark,
            seq: u32::from_be_bytes([s0, s1, s2, s3]),
            ack: u32::from_be_bytes([a0, a1, a2, a3]),
            window: be16(w0, w1),
            flags,
            has_sack,
            mark: mark(ip.id, be16(c0, c1), flags, payload_on_wire),
            syn_options,
            payload: if cursor.len() == 0 {
                Payload::EMPTY
            } else {
                self.payload(cursor)
            },
            truncated: u32::try_from(truncated).unwrap_or(u32::MAX),
            ip_bytes: ip.total_len,
            encapsulation,
            file_id: 0,
            ordinal: 0,
        });
        Ok(Class::Tcp)
    }
}

/// See [`Segment::mark`]. A host numbers its IPv4 packets anew when it sends something again.
fn mark(id: u16, checksum: u16, flags: TcpFlags, payload: usize) -> u16 {
    const TELLING: u8 = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST;
    if id == 0 && payload == 0 && flags.0 & TELLING == 0 {
        return 0;
    }
    // An odd factor, so that neighbouring identifications differ in many bits.
    (checksum ^ id.wrapping_mul(0x9e37)).max(1)
}

/// Whether a segment is there in all its length and its checksum is wrong. Of one that was cut
/// short, or whose addresses are not those that the checksum covers, nobody can tell.
fn is_damaged(ip: &Ip, segment: Cursor<'_>) -> bool {
    let declared = ip.total_len.saturating_sub(ip.header_len);
    ip.has_final_addresses
        && u32::try_from(segment.len()) == Ok(declared)
        && !checksum::is_valid(
            checksum::tcp_pseudo_header(ip, segment.len()),
            segment.rest(),
        )
}

fn is_timestamps_alone(options: &[u8]) -> bool {
    options.len() == 12 && options.first_chunk() == Some(&TIMESTAMPS_ALONE)
}

/// Reads options until they end or make no sense; what was read until then counts.
fn read_options(mut options: &[u8]) -> (SynOptions, bool) {
    let (mut syn, mut has_sack) = (SynOptions::default(), false);
    while let [kind, rest @ ..] = options {
        match *kind {
            option::END => break,
            option::NOP => {
                options = rest;
                continue;
            }
            _ => {}
        }
        // The length counts the kind and itself.
        let [len, rest @ ..] = rest else { break };
        let Some((value, next)) = usize::from(*len)
            .checked_sub(2)
            .and_then(|len| rest.split_at_checked(len))
        else {
            break;
        };
        match (*kind, value) {
            (option::MSS, &[a, b]) => syn.mss = Some(be16(a, b)),
            (option::WINDOW_SCALE, &[shift]) => syn.wscale = Some(shift),
            (option::SACK_PERMITTED, []) => syn.sack_permitted = true,
            // Each block is two 32-bit numbers (RFC 2018, 3).
            (option::SACK, blocks) if blocks.len() >= 8 => has_sack = true,
            _ => {}
        }
        options = next;
    }
    (syn, has_sack)
}
