//! One direction of a flow: its stream, and the counts that need none.

use super::analysis::Analysis;
use super::half_stream::HalfStream;
use super::mirror::Mirror;
use super::overlap::OverlapPolicy;
use super::seldom::Seldom;
use super::syns::Syns;
use crate::model::Timestamp;

/// What the capture of a direction lacks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lacks {
    /// Payload bytes cut by the snap length.
    pub truncated_bytes: u64,
    /// Gaps told so far.
    pub gaps: u64,
    /// Their bytes.
    pub gap_bytes: u64,
}

/// One direction: the stream, and the counts that need no stream.
#[derive(Debug)]
pub(super) struct Half {
    /// Its bytes.
    pub stream: HalfStream,
    /// Wireshark's counts.
    pub analysis: Analysis,
    /// Segments.
    pub packets: u64,
    /// IP bytes.
    pub ip_bytes: u64,
    /// Captured payload bytes.
    pub payload_bytes: u64,
    /// What its capture lacks.
    pub lacks: Seldom<Lacks>,
    /// Its SYNs.
    pub syns: Syns,
    /// What its first SYN-ACK acknowledged.
    pub answered: Option<u32>,
    /// All flags, or-ed.
    pub tcp_flags: u8,
    /// Last acknowledgement it sent.
    pub last_ack: Option<u32>,
    /// Tells copies that were delivered twice.
    pub mirror: Mirror,
    /// Which of two copies stands.
    pub policy: OverlapPolicy,
    /// When it sent payload last.
    pub last_payload: Timestamp,
    /// Last window it announced, unscaled.
    pub window: u16,
    /// Greatest window it announced after its SYN, unscaled.
    pub greatest_window: u16,
    /// How far its windows are scaled, bits.
    pub shift: u8,
    /// That window was on a SYN, where it is never scaled (RFC 7323, 2.2).
    pub window_on_syn: bool,
}

impl Half {
    /// A direction without segments, for which copies are chosen so.
    pub(super) fn new(policy: OverlapPolicy) -> Half {
        Half {
            stream: HalfStream::default(),
            analysis: Analysis::default(),
            packets: 0,
            ip_bytes: 0,
            payload_bytes: 0,
            lacks: Seldom::default(),
            syns: Syns::default(),
            answered: None,
            tcp_flags: 0,
            last_ack: None,
            mirror: Mirror::default(),
            policy,
            last_payload: Timestamp::NONE,
            window: 0,
            greatest_window: 0,
            shift: 0,
            window_on_syn: false,
        }
    }

    /// Memory beyond the struct itself, bytes. It is asked for with every segment, and most halves have nothing but
    /// their history.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        let rare = self.lacks.is_changed() | self.syns.has_others() | self.stream.has_rare_state();
        if rare {
            self.all_memory()
        } else {
            self.stream.history_memory() + self.analysis.memory()
        }
    }

    #[inline(never)]
    fn all_memory(&self) -> usize {
        self.stream.memory() + self.analysis.memory() + self.lacks.memory() + self.syns.memory()
    }
}
