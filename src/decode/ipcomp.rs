//! IP payload compression (RFC 3173).

use std::mem;
use std::ops::RangeInclusive;
use std::sync::Arc;

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};

use super::DecodeSink;
use super::cursor::{Cursor, be16, stop};
use super::ip::Ip;
use super::stats::{Class, Decoded, Layer, Reason};
use super::walk::{Backing, Carrier, Walk};

/// The well-known parameter index of DEFLATE (RFC 3173, 3.3; RFC 2394).
const DEFLATE: u16 = 2;
/// Indexes whose algorithm the peers agree on out of sight (RFC 3173, 3.3). It is DEFLATE in
/// practice, and whatever does not end as a DEFLATE stream must is not taken for one.
const NEGOTIATED: RangeInclusive<u16> = 256..=61_439;
/// The most that a packet is let grow to, bytes: no IP packet was larger before.
const MAX_SIZE: usize = 1 << 16;

/// Bytes that the packets of one frame are let grow to together. It is arbitrary: 16 packets of the
/// greatest size, while the longest aggregate of 802.11 that there may be holds 11,454 bytes. What a
/// decompressed packet holds may itself be compressed, many times over.
const MOST_IN_FRAME: usize = 16 * MAX_SIZE;

impl<S: DecodeSink> Walk<'_, S> {
    /// A compressed payload. Chunks are decoded at the same time, and a few kilobytes of one grow to
    /// megabytes; so here it is handed on as it is, like a fragment, and decompressed where datagrams are
    /// put together one by one.
    pub(super) fn ipcomp(&mut self, ip: Ip, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::IpComp;
        self.enter(LAYER)?;
        let whole = cursor;
        let &[next, _, index0, index1] = cursor.take::<4>(LAYER)?;
        let index = be16(index0, index1);
        if index != DEFLATE && !NEGOTIATED.contains(&index) {
            return Err(stop(LAYER, Reason::Unsupported));
        }
        if cursor.cut() > 0 {
            return Err(stop(LAYER, Reason::Truncated));
        }
        if matches!(self.carrier, Carrier::Frame(_)) {
            // It is entered once more.
            self.depth -= 1;
            self.emit_compressed(&ip, whole);
            return Ok(Class::Fragment);
        }
        let room = MOST_IN_FRAME.saturating_sub(*self.inflated);
        let bytes = decompress_to_vec_with_limit(cursor.rest(), MAX_SIZE.min(room));
        let bytes: Arc<[u8]> = bytes
            .map_err(|error| {
                let reason = match (error.status, index) {
                    (TINFLStatus::HasMoreOutput, _) if room < MAX_SIZE => Reason::OverLimit,
                    (_, DEFLATE) => Reason::BadHeader,
                    _ => Reason::Unsupported,
                };
                stop(LAYER, reason)
            })?
            .into();
        *self.inflated += bytes.len();
        let outer = mem::replace(&mut self.backing, Backing::Owned(Arc::clone(&bytes)));
        let ends_at = mem::replace(&mut self.ends_at, usize::MAX);
        let outcome = self.ip_payload(ip, next, Cursor::new(&bytes, 0));
        (self.backing, self.ends_at) = (outer, ends_at);
        outcome
    }
}
