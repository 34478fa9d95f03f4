//! One shard at work: its reassembler, its payload writer, and the rows it has to hand over.

use super::batch::{EpochEnd, JoinedBatch, JoinedChunk};
use crate::config::{EPOCH_FRAMES, ReassemblyConfig};
use crate::decode::{Pieced, parts_of};
use crate::model::segment::PIECED_ORDINAL;
use crate::model::{
    Conflict, EndReason, FlowRecord, FrameRef, Gap, PayloadSource, SegmentPart, Timestamp,
};
use crate::output::{
    FileTotals, FlowCaptureWriter, FlowRow, OutputError, PayloadOutput, PayloadTotals,
};
use crate::reassembly::event::{EventSink, StreamData};
use crate::reassembly::{Arrival, Reassembler, ReassemblyStats};
use crate::shard::Bucket;

/// Rows that became final in one epoch.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) flows: Vec<FlowRow>,
    pub(super) gaps: Vec<Gap>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) segments: Vec<SegmentPart>,
}

/// Takes the core's events.
struct ShardSink {
    payload: PayloadOutput,
    captures: Option<FlowCaptureWriter>,
    /// By epoch, the one under way last.
    rows: Vec<(u64, Rows)>,
    epoch: u64,
}

impl ShardSink {
    fn rows(&mut self) -> &mut Rows {
        if self
            .rows
            .last()
            .is_none_or(|(epoch, _)| *epoch != self.epoch)
        {
            self.rows.push((self.epoch, Rows::default()));
        }
        let last = self.rows.len() - 1;
        &mut self.rows[last].1
    }
}

impl EventSink for ShardSink {
    fn frames(&mut self, flow_id: u64, frames: &[FrameRef]) {
        if let Some(captures) = &mut self.captures {
            captures.frames(flow_id, frames);
        }
    }

    fn data(&mut self, data: StreamData) {
        self.payload.data(data);
    }

    fn gap(&mut self, gap: Gap) {
        self.rows().gaps.push(gap);
    }

    fn conflict(&mut self, conflict: Conflict) {
        self.rows().conflicts.push(conflict);
    }

    fn segment(&mut self, part: SegmentPart) {
        self.rows().segments.push(part);
    }

    fn flow(&mut self, flow: FlowRecord) {
        if let Some(captures) = &mut self.captures {
            captures.flow_ended(flow.flow_id);
        }
        let row = self.payload.flow_ended(flow);
        self.rows().flows.push(row);
    }
}

/// One shard.
pub(super) struct Worker {
    shard: usize,
    core: Reassembler,
    sink: ShardSink,
}

impl Worker {
    pub(super) fn new(
        shard: usize,
        config: ReassemblyConfig,
        payload: PayloadOutput,
        captures: Option<FlowCaptureWriter>,
    ) -> Worker {
        let sink = ShardSink {
            payload,
            captures,
            rows: Vec::new(),
            epoch: 0,
        };
        Worker {
            shard,
            core: Reassembler::new(config),
            sink,
        }
    }

    /// Takes this shard's segments of a batch and writes what became of them.
    pub(super) fn batch(
        &mut self,
        batch: &JoinedBatch<'_>,
        source: &dyn PayloadSource,
    ) -> Result<(), OutputError> {
        for chunk in &batch.chunks {
            self.chunk(chunk, source);
        }
        self.flush(source)
    }

    /// Ids of the flows that are open, in no order.
    pub(super) fn open_flows(&self) -> impl Iterator<Item = u64> + '_ {
        self.core.open_flows()
    }

    /// Ends the flows with ids below `bound`; with the last ones their payload is complete.
    pub(super) fn finish_before(
        &mut self,
        bound: u64,
        watermark: Timestamp,
        reason: EndReason,
        source: &dyn PayloadSource,
    ) -> Result<(), OutputError> {
        self.core
            .finish_before(bound, watermark, reason, source, &mut self.sink);
        self.flush(source)?;
        if bound == u64::MAX {
            self.sink.payload.finish(source)?;
        }
        Ok(())
    }

    /// Rows that became final since the last call, by epoch.
    pub(super) fn take_rows(&mut self) -> Vec<(u64, Rows)> {
        std::mem::take(&mut self.sink.rows)
    }

    pub(super) fn stats(&self) -> ReassemblyStats {
        self.core.stats()
    }

    pub(super) fn payload_totals(&self) -> PayloadTotals {
        self.sink.payload.totals()
    }

    pub(super) fn capture_totals(&self) -> FileTotals {
        let captures = self.sink.captures.as_ref();
        captures.map_or_else(FileTotals::default, FlowCaptureWriter::totals)
    }

    fn flush(&mut self, source: &dyn PayloadSource) -> Result<(), OutputError> {
        self.sink.payload.flush(source)?;
        if let Some(captures) = &mut self.sink.captures {
            captures.flush(source)?;
        }
        let rows = self.sink.rows.iter_mut();
        let flows = rows.flat_map(|(_, rows)| &mut rows.flows);
        self.sink.payload.complete(flows);
        Ok(())
    }

    /// Segments of whole frames and of reassembled datagrams, merged by frame; epochs end where
    /// their frames do.
    fn chunk(&mut self, joined: &JoinedChunk, source: &dyn PayloadSource) {
        let mut taken = joined.chunk.buckets.take(self.shard);
        let mut whole = taken.iter_mut().peekable();
        let mut pieced = joined
            .defragmented
            .get(self.shard)
            .into_iter()
            .flatten()
            .peekable();
        let is_due =
            |epoch: &&EpochEnd| epoch.frame > joined.after && epoch.frame <= joined.through;
        let mut epochs = joined.epochs.iter().filter(is_due).peekable();
        let mut parts = Vec::new();
        loop {
            let next_whole = whole
                .peek()
                .map(|segment| segment.frame + joined.first_frame)
                .filter(|&frame| frame <= joined.through);
            let next_pieced = pieced.peek().map(|pieced| pieced.segment.frame);
            let next = [next_whole, next_pieced].into_iter().flatten().min();
            while let Some(epoch) = epochs.next_if(|epoch| next.is_none_or(|at| at > epoch.frame)) {
                self.core.sweep(epoch.watermark, source, &mut self.sink);
                self.sink.epoch = epoch.frame / EPOCH_FRAMES;
            }
            let Some(frame) = next else { break };
            let arrival = if next_whole == Some(frame)
                && let Some(segment) = whole.next()
            {
                let encapsulation = joined.chunk.encapsulations.resolve(segment.encapsulation);
                let frames = carried(
                    joined.chunk.kept(segment.frame),
                    segment.ordinal,
                    &mut parts,
                );
                segment.file_id = joined.chunk.file_of(segment.frame);
                segment.watermark = joined.watermark_at(segment.frame, segment.watermark);
                segment.frame = frame;
                Arrival {
                    segment,
                    encapsulation,
                    frames,
                }
            } else if let Some(Pieced { segment, frames }) = pieced.next() {
                Arrival {
                    segment,
                    encapsulation: joined.encapsulations.resolve(segment.encapsulation),
                    frames: carried(frames, segment.ordinal, &mut parts),
                }
            } else {
                break;
            };
            self.core.segment(arrival, source, &mut self.sink);
        }
        if joined.goes_on() {
            let mut rest = Bucket::default();
            whole.for_each(|segment| rest.push(segment.clone()));
            joined.chunk.buckets.put_back(self.shard, rest);
        }
    }
}

/// The frames that carried a segment, as told for its place among the segments of its frame.
fn carried<'a>(
    frames: &'a [FrameRef],
    ordinal: u32,
    parts: &'a mut Vec<FrameRef>,
) -> &'a [FrameRef] {
    let place = ordinal % PIECED_ORDINAL;
    if place == 0 || frames.is_empty() {
        return frames;
    }
    parts.clear();
    parts.extend(parts_of(frames, place));
    parts
}
