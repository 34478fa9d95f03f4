//! Link layers, tunnels, IP, defragmentation and TCP: a frame in, a segment out.
//!
//! One [`Decoder`] reads the frames of one chunk of the capture; many run at the same time. What
//! it finds goes to a [`DecodeSink`]: a [`Segment`] for TCP, a [`Fragment`] for a piece of an IP
//! datagram. Every frame has exactly one outcome in the [`DecodeStats`].
//!
//! Where a protocol is read:
//!
//! | file | protocols |
//! |---|---|
//! | `link.rs` | dispatch by link type, names of link types, headers that capture tools put in front |
//! | `ethernet.rs` | Ethernet, VLAN and other tags, LLC, SNAP, dispatch by Ethernet type |
//! | `lan.rs` | FDDI, Token Ring, ARCNET, ATM, Frame Relay and other links of that kind |
//! | `ppp.rs` | PPP, PPPoE, Cisco HDLC |
//! | `wifi.rs`, `radio.rs` | IEEE 802.11, and radiotap, AVS, Prism, PPI in front of it |
//! | `juniper.rs` | the headers of Juniper's routers |
//! | `mpls.rs` | MPLS and Ethernet pseudowires |
//! | `ip.rs`, `ip_options.rs` | IPv4, IPv6, extension headers, dispatch by IP protocol |
//! | `ipcomp.rs` | IP payload compression |
//! | `gre.rs`, `udp.rs` | GRE with ERSPAN, and tunnels over UDP |
//! | `capwap.rs`, `tzsp.rs` | CAPWAP, and TaZmen sniffer protocol |
//! | `batman.rs` | B.A.T.M.A.N. advanced |
//! | `tcp.rs`, `checksum.rs` | TCP |
//! | `defrag.rs` | IP fragments to datagrams |

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod batman;
mod capwap;
mod checksum;
mod cursor;
pub mod defrag;
pub mod encapsulation;
mod ethernet;
mod gre;
mod ip;
mod ip_options;
mod ipcomp;
mod juniper;
mod lan;
pub mod link;
mod mpls;
mod ppp;
mod radio;
pub mod stats;
mod tcp;
mod tzsp;
mod udp;
mod walk;
mod wifi;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::config::DecodeConfig;
use crate::model::{Encapsulation, RawFrame, Segment, Timestamp};
use cursor::{Cursor, stop};
use defrag::Refused;
use ip::Ip;
use walk::{Backing, Carrier, Walk};

pub use defrag::{Datagram, Fragment, FragmentStats, FragmentTable, Pieced};
pub use encapsulation::EncapsulationTable;
pub use link::link_type_name;
pub use stats::{Class, DecodeStats, Layer, LinkProtocol, Other, Reason, Undecoded};
pub use walk::parts_of;

/// Takes what frames carry.
pub trait DecodeSink {
    /// A TCP segment.
    fn segment(&mut self, segment: Segment);
    /// A piece of an IP datagram, or a packet whose payload is compressed; a [`FragmentTable`] puts
    /// the datagram together, or decompresses it.
    fn fragment(&mut self, fragment: Fragment);
}

/// Decodes the frames of one chunk.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    config: DecodeConfig,
    table: EncapsulationTable,
    stats: DecodeStats,
    /// The encapsulation under construction; kept so that its list is allocated once.
    scratch: Encapsulation,
    /// The frame that completed the last datagram, and bytes that compressed packets of it have grown to.
    inflated: (u64, usize),
    /// Bytes of datagrams and of what was decompressed in them.
    owned: usize,
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new(config: DecodeConfig) -> Decoder {
        Decoder {
            table: EncapsulationTable::new(config.track),
            config,
            ..Decoder::default()
        }
    }

    /// Decodes a frame and counts its outcome. `number` and `watermark` go into the segment as
    /// they are.
    pub fn frame(
        &mut self,
        frame: &RawFrame<'_>,
        number: u64,
        watermark: Timestamp,
        sink: &mut impl DecodeSink,
    ) {
        self.scratch.vlan = None;
        self.scratch.inner_vlan = None;
        self.scratch.tunnels.clear();
        let original = usize::try_from(frame.original_len).unwrap_or(usize::MAX);
        let mut cursor = Cursor::new(frame.data, original.saturating_sub(frame.data.len()));
        if frame.fcs_len > 0 {
            cursor.trim_end(usize::from(frame.fcs_len));
        }
        let mut walk = Walk {
            table: &mut self.table,
            stats: &mut self.stats,
            sink,
            encapsulation: &mut self.scratch,
            config: &self.config,
            frame: number,
            ts: frame.ts,
            watermark,
            backing: Backing::Input(frame.at),
            carrier: Carrier::Frame(frame),
            depth: 0,
            outermost: true,
            ends_at: usize::MAX,
            sole: true,
            fragments: 0,
            inflated: &mut self.inflated.1,
        };
        let outcome = walk.link(frame.link, cursor);
        self.stats.frame(outcome);
    }

    /// Decodes a datagram that was put together from fragments. The frame that completed it moves,
    /// in the counts, from the fragments to what the datagram carries.
    pub fn datagram(&mut self, datagram: &Datagram, sink: &mut impl DecodeSink) {
        self.scratch.clone_from(&datagram.key.encapsulation);
        let length = u32::try_from(datagram.bytes.len()).unwrap_or(u32::MAX);
        let ip = Ip {
            source: datagram.key.source,
            destination: datagram.key.destination,
            version: datagram.key.version,
            total_len: datagram
                .header_len
                .saturating_add(length)
                .saturating_add(datagram.truncated),
            header_len: datagram.header_len,
            id: u16::try_from(datagram.key.id).unwrap_or(0),
            has_final_addresses: datagram.has_final_addresses,
        };
        if self.inflated.0 != datagram.frame {
            self.inflated = (datagram.frame, 0);
        }
        let before = self.inflated.1;
        let cut = usize::try_from(datagram.truncated).unwrap_or(usize::MAX);
        let cursor = Cursor::new(&datagram.bytes, cut);
        let mut walk = Walk {
            table: &mut self.table,
            stats: &mut self.stats,
            sink,
            encapsulation: &mut self.scratch,
            config: &self.config,
            frame: datagram.frame,
            ts: datagram.ts,
            watermark: datagram.watermark,
            backing: Backing::Owned(Arc::clone(&datagram.bytes)),
            carrier: Carrier::Datagram(&datagram.frames),
            depth: datagram.depth,
            outermost: false,
            ends_at: usize::MAX,
            sole: datagram.sole,
            fragments: 0,
            inflated: &mut self.inflated.1,
        };
        let outcome = walk.ip_payload(ip, datagram.protocol, cursor);
        self.owned += datagram.bytes.len() + (self.inflated.1 - before);
        if datagram.sole {
            self.stats.resolve(outcome);
        }
    }

    /// Counts a datagram that is not decoded since its fragments overlap. The frame that completed
    /// it moves, in the counts, from the fragments to what could not be decoded.
    fn refused(&mut self, refused: Refused) {
        if refused.sole {
            let layer = if refused.version == 4 {
                Layer::Ipv4
            } else {
                Layer::Ipv6
            };
            self.stats
                .resolve(Err(stop(layer, Reason::OverlappingFragments)));
        }
    }

    /// Bytes of all datagrams so far and of what was decompressed in them: as much as segments of theirs
    /// may keep in memory.
    pub fn owned(&self) -> usize {
        self.owned
    }

    /// The counts so far.
    pub fn stats(&self) -> &DecodeStats {
        &self.stats
    }

    /// The encapsulations that segments so far refer to.
    pub fn encapsulations(&self) -> &EncapsulationTable {
        &self.table
    }

    /// Ends the chunk.
    pub fn finish(self) -> (EncapsulationTable, DecodeStats) {
        (self.table, self.stats)
    }
}
