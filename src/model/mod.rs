//! The data that passes between the rooms. It imports nothing of the crate.

pub mod blocks;
pub mod encapsulation;
pub mod evidence;
pub mod flow_key;
pub mod flow_record;
pub mod frame;
pub mod payload;
pub mod segment;
pub mod seq;
pub mod shown;
pub mod time;

pub use blocks::Blocks;
pub use encapsulation::{Encapsulation, Tunnel};
pub use evidence::{Conflict, SegmentFacts, SegmentKind, SegmentPart};
pub use flow_key::{Endpoint, FlowKey, FlowTag, Side, ip_addr};
pub use flow_record::{
    ClientBy, ConnState, Direction, EndReason, FlowRecord, Gap, GapCause, HalfRecord, SynFacts,
    Trouble,
};
pub use frame::{FrameRef, LinkType, RawFrame, TimeUnit};
pub use payload::{InputPos, Payload, PayloadSource};
pub use segment::{Segment, SynOptions, TcpFlags};
pub use shown::{Shown, shown};
pub use time::Timestamp;
