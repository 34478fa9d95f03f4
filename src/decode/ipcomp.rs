//! IP payload compression (RFC 3173).

use std::mem;
use std::ops::RangeInclusive;
use std::sync::Arc;

use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::DecodeSink;
use super::cursor::{Cursor, be16, stop};
use super::ip::Ip;
use super::stats::{Decoded, Layer, Reason};
use super::walk::{Backing, Walk};

/// The well-known parameter index of DEFLATE (RFC 3173, 3.3; RFC 2394).
const DEFLATE: u16 = 2;
/// Indexes whose algorithm the peers agree on out of sight (RFC 3173, 3.3). It is DEFLATE in
/// practice, and whatever does not end as a DEFLATE stream must is not taken for one.
const NEGOTIATED: RangeInclusive<u16> = 256..=61_439;
/// The most that a packet is let grow to, bytes: no IP packet was larger before.
const MAX_SIZE: usize = 1 << 16;

impl<S: DecodeSink> Walk<'_, S> {
    /// A compressed payload: decompressed into a buffer of its own, and read on there.
    pub(super) fn ipcomp(&mut self, ip: Ip, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::IpComp;
        self.enter(LAYER)?;
        let &[next, _, index0, index1] = cursor.take::<4>(LAYER)?;
        let index = be16(index0, index1);
        if index != DEFLATE && !NEGOTIATED.contains(&index) {
            return Err(stop(LAYER, Reason::Unsupported));
        }
        if cursor.cut() > 0 {
            return Err(stop(LAYER, Reason::Truncated));
        }
        let bytes: Arc<[u8]> = decompress_to_vec_with_limit(cursor.rest(), MAX_SIZE)
            .map_err(|_| {
                let is_deflate = index == DEFLATE;
                stop(
                    LAYER,
                    if is_deflate {
                        Reason::BadHeader
                    } else {
                        Reason::Unsupported
                    },
                )
            })?
            .into();
        let outer = mem::replace(&mut self.backing, Backing::Owned(Arc::clone(&bytes)));
        let outcome = self.ip_payload(ip, next, Cursor::new(&bytes, 0));
        self.backing = outer;
        outcome
    }
}
