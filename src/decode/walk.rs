//! The state of one walk through the layers of one packet.

use std::sync::Arc;

use super::DecodeSink;
use super::cursor::{Cursor, stop};
use super::defrag::{Fragment, FragmentKey};
use super::encapsulation::EncapsulationTable;
use super::ip::{Ip, protocol};
use super::stats::{DecodeStats, Layer, Reason, Undecoded};
use crate::config::{ChecksumMode, DecodeConfig, FRAME_COPIES};
use crate::model::{Encapsulation, FrameRef, InputPos, Payload, RawFrame, Timestamp, Tunnel};

/// How many Ethernet, PPP and IP headers are followed in one frame. Real stacks have fewer than
/// ten; the bound keeps a crafted frame from exhausting the call stack.
const MAX_DEPTH: u8 = 24;

/// Where the bytes under the cursor lie.
#[derive(Clone, Debug)]
pub(super) enum Backing {
    /// In the input, from this position on.
    Input(InputPos),
    /// In a buffer of their own.
    Owned(Arc<[u8]>),
}

/// What brought the packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carrier<'w> {
    /// A frame of the input.
    Frame(&'w RawFrame<'w>),
    /// The frames of a datagram's fragments.
    Datagram(&'w Arc<[FrameRef]>),
}

/// One walk. Each layer is a method in the file of its protocol family; it takes a [`Cursor`] that
/// stands at its header and hands what follows to the next.
pub(super) struct Walk<'w, S> {
    pub(super) table: &'w mut EncapsulationTable,
    pub(super) stats: &'w mut DecodeStats,
    pub(super) sink: &'w mut S,
    /// The encapsulation as far as it has been read.
    pub(super) encapsulation: &'w mut Encapsulation,
    pub(super) config: &'w DecodeConfig,
    pub(super) frame: u64,
    pub(super) ts: Timestamp,
    pub(super) watermark: Timestamp,
    pub(super) backing: Backing,
    pub(super) carrier: Carrier<'w>,
    pub(super) depth: u8,
    /// VLAN tags still belong to the outermost Ethernet header.
    pub(super) outermost: bool,
    /// Where in the backing a link header's own length ends what it carries, while the frame goes on.
    pub(super) ends_at: usize,
    /// The frame holds this one packet, so that packet decides how the frame is counted.
    pub(super) sole: bool,
    /// Fragments and compressed packets of this frame so far.
    pub(super) fragments: u32,
    /// Bytes that compressed packets of this frame have grown to.
    pub(super) inflated: &'w mut usize,
}

impl<S: DecodeSink> Walk<'_, S> {
    /// Goes one layer deeper.
    #[inline]
    pub(super) fn enter(&mut self, layer: Layer) -> Result<(), Undecoded> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(stop(layer, Reason::TooDeep));
        }
        Ok(())
    }

    /// Whether packets with a wrong checksum are dropped.
    pub(super) fn drops_bad_checksums(&self) -> bool {
        self.config.checksum == ChecksumMode::Drop
    }

    /// Leaves at most as many bytes as a link header says. Where the frame has more, no header inside can
    /// declare that anything is missing there: it is not the capture that lacks it.
    pub(super) fn bound_link(&mut self, cursor: &mut Cursor<'_>, n: usize) {
        if n < cursor.len() {
            self.ends_at = self.ends_at.min(cursor.at() + n);
        }
        cursor.bound(n);
    }

    /// Leaves as many bytes as an IP header declares.
    #[inline]
    pub(super) fn declare(&self, cursor: &mut Cursor<'_>, n: u32) {
        let most = self.ends_at.saturating_sub(cursor.at());
        cursor.declare((n as usize).min(most));
    }

    /// Records a tunnel header. VLAN tags inside it are not the outermost Ethernet's.
    pub(super) fn tunnel(&mut self, tunnel: Tunnel) {
        self.outermost = false;
        self.encapsulation.tunnels.push(tunnel);
    }

    /// The bytes that are left, by reference.
    #[inline]
    pub(super) fn payload(&self, cursor: Cursor<'_>) -> Payload {
        let len = u32::try_from(cursor.len()).unwrap_or(u32::MAX);
        match &self.backing {
            Backing::Input(start) => Payload::Input {
                at: start.advance(cursor.at() as u64),
                len,
            },
            Backing::Owned(buffer) => {
                Payload::owned(buffer, u32::try_from(cursor.at()).unwrap_or(u32::MAX), len)
            }
        }
    }

    /// Hands a piece of a datagram to the sink.
    pub(super) fn emit_fragment(&mut self, ip: &Ip, piece: &Piece, cursor: Cursor<'_>) {
        self.emit(ip, piece, false, cursor);
    }

    /// Hands a packet to the sink whose payload is compressed; the cursor is where its IP header ends.
    pub(super) fn emit_compressed(&mut self, ip: &Ip, cursor: Cursor<'_>) {
        let piece = Piece {
            id: u32::from(ip.id),
            protocol: protocol::IPCOMP,
            header_len: ip.header_len,
            offset: 0,
            more: false,
        };
        self.emit(ip, &piece, true, cursor);
    }

    fn emit(&mut self, ip: &Ip, piece: &Piece, is_whole: bool, cursor: Cursor<'_>) {
        let fragment = Fragment {
            is_whole,
            has_final_addresses: ip.has_final_addresses,
            key: FragmentKey {
                encapsulation: self.encapsulation.clone(),
                source: ip.source,
                destination: ip.destination,
                id: piece.id,
                // The protocol is part of an IPv4 datagram's identity (RFC 791, 3.2) and not of an
                // IPv6 one's (RFC 8200, 4.5).
                protocol: if ip.version == 4 { piece.protocol } else { 0 },
                version: ip.version,
            },
            frame: self.frame,
            ordinal: self.fragments,
            sole: self.sole,
            ts: self.ts,
            watermark: self.watermark,
            depth: self.depth,
            protocol: piece.protocol,
            header_len: piece.header_len,
            offset: piece.offset,
            more: piece.more,
            missing: u32::try_from(cursor.cut()).unwrap_or(u32::MAX),
            payload: self.payload(cursor),
            frames: match self.carrier {
                Carrier::Frame(frame) => [frame.by_reference().for_part(self.fragments)].into(),
                Carrier::Datagram(frames) if self.fragments == 0 => Arc::clone(frames),
                Carrier::Datagram(frames) => parts_of(frames, self.fragments).collect(),
            },
        };
        self.fragments += 1;
        self.sink.fragment(fragment);
    }
}

/// The frames that carried a datagram, as told for one of its parts. The first stands for all where that
/// part is one too many: they will not be copied for it.
pub fn parts_of(frames: &[FrameRef], part: u32) -> impl Iterator<Item = FrameRef> + '_ {
    let few = if part < u32::from(FRAME_COPIES) {
        frames.len()
    } else {
        1
    };
    frames
        .iter()
        .take(few)
        .map(move |frame| frame.for_part(part))
}

/// What an IP header says of the fragment behind it.
pub(super) struct Piece {
    pub(super) id: u32,
    pub(super) protocol: u8,
    /// Bytes of the headers that the reassembled datagram keeps.
    pub(super) header_len: u32,
    /// Offset of the fragment's first byte, bytes.
    pub(super) offset: u32,
    pub(super) more: bool,
}
