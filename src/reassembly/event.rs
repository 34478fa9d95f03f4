//! What the core tells the world.

use crate::model::{
    Conflict, Direction, FlowKey, FlowRecord, FrameRef, Gap, Payload, SegmentPart, Side,
};

/// What names a flow's payload files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowName {
    /// Number of its first frame.
    pub flow_id: u64,
    /// Both ends.
    pub key: FlowKey,
    /// Which of them is the client.
    pub client: Side,
}

/// A run of stream bytes, each byte of which is told once.
#[derive(Clone, Debug)]
pub struct StreamData {
    /// Whose bytes.
    pub flow: FlowName,
    /// In which direction.
    pub direction: Direction,
    /// Stream offset of the first byte.
    pub offset: u64,
    /// Its position in the payload file: the stream offset less the holes closed up before it.
    pub position: u64,
    /// The bytes, by reference; at least one.
    pub payload: Payload,
}

/// Takes events as they happen. The core pushes, so that nothing need be kept for a caller who
/// might ask; a sink that writes files and one that fills a `Vec` serve alike.
pub trait EventSink {
    /// The frames that carried the next segment of a flow: one, or those of its datagram's fragments.
    /// Told only of segments that came with their frames.
    fn frames(&mut self, flow_id: u64, frames: &[FrameRef]);
    /// Bytes of a stream. They come in any order of offsets.
    fn data(&mut self, data: StreamData);
    /// A gap, told when it is final: mostly when its flow ends, in order of direction and offset.
    fn gap(&mut self, gap: Gap);
    /// Two copies of the same bytes differ.
    fn conflict(&mut self, conflict: Conflict);
    /// What became of a part of a payload segment; told only if the configuration asks for it. Parts
    /// come in order of frames, but for segments that had to wait for their place in the stream.
    fn segment(&mut self, part: SegmentPart);
    /// The flow ended; nothing more follows for it.
    fn flow(&mut self, record: FlowRecord);
}
