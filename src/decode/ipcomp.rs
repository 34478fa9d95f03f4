//! IP payload compression (RFC 3173).

use std::mem;
use std::sync::Arc;

use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::DecodeSink;
use super::cursor::{Cursor, be16, stop};
use super::ip::Ip;
use super::stats::{Decoded, Layer, Reason};
use super::walk::{Backing, Walk};

/// The well-known parameter index of DEFLATE (RFC 3173, 3.3; RFC 2394).
const DEFLATE: u16 = 2;
/// The most that a packet is let grow to, bytes: no IP packet was larger before.
const MAX_SIZE: usize = 1 << 16;

impl<S: DecodeSink> Walk<'_, S> {
    /// A compressed payload: decompressed into a buffer of its own, and read on there.
    pub(super) fn ipcomp(&mut self, mut ip: Ip, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::IpComp;
        self.enter(LAYER)?;
        let &[next, _, index0, index1] = cursor.take::<4>(LAYER)?;
        if be16(index0, index1) != DEFLATE {
            return Err(stop(LAYER, Reason::Unsupported));
        }
        if ip.missing > 0 {
            return Err(stop(LAYER, Reason::Truncated));
        }
        let bytes: Arc<[u8]> = decompress_to_vec_with_limit(cursor.rest(), MAX_SIZE)
            .map_err(|_| stop(LAYER, Reason::BadHeader))?
            .into();
        ip.missing = 0;
        let outer = mem::replace(&mut self.backing, Backing::Owned(Arc::clone(&bytes)));
        let outcome = self.ip_payload(ip, next, Cursor::new(&bytes));
        self.backing = outer;
        outcome
    }
}
