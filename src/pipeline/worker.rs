//! One shard at work: its reassembler, its payload writer, and the rows it has to hand over.

use super::batch::{JoinedBatch, JoinedChunk};
use crate::config::{EPOCH_FRAMES, ReassemblyConfig};
use crate::model::{EndReason, FlowRecord, Gap, PayloadSource, Segment, Timestamp};
use crate::output::{FlowRow, OutputError, PayloadOutput, PayloadTotals};
use crate::reassembly::event::{EventSink, StreamData};
use crate::reassembly::{Reassembler, ReassemblyStats};

/// A flow's row and its gaps, with the epoch in which the flow ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) epoch: u64,
    pub(super) flow: FlowRow,
    pub(super) gaps: Vec<Gap>,
}

/// Takes the core's events.
struct ShardSink {
    payload: PayloadOutput,
    ended: Vec<Ended>,
    gaps: Vec<Gap>,
    epoch: u64,
}

impl EventSink for ShardSink {
    fn data(&mut self, data: StreamData) {
        self.payload.data(data);
    }

    fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
    }

    fn flow(&mut self, flow: FlowRecord) {
        let gaps = std::mem::take(&mut self.gaps);
        self.ended.push(Ended {
            epoch: self.epoch,
            flow: self.payload.flow_ended(flow),
            gaps,
        });
    }
}

/// One shard.
pub(super) struct Worker {
    shard: usize,
    core: Reassembler,
    sink: ShardSink,
}

impl Worker {
    pub(super) fn new(shard: usize, config: ReassemblyConfig, payload: PayloadOutput) -> Worker {
        let sink = ShardSink {
            payload,
            ended: Vec::new(),
            gaps: Vec::new(),
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

    /// Ends all flows and completes their payload.
    pub(super) fn finish(
        &mut self,
        watermark: Timestamp,
        reason: EndReason,
        source: &dyn PayloadSource,
    ) -> Result<(), OutputError> {
        self.core.finish(watermark, reason, source, &mut self.sink);
        self.flush(source)?;
        self.sink.payload.finish(source)
    }

    /// Rows of flows that have ended since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.sink.ended)
    }

    pub(super) fn stats(&self) -> ReassemblyStats {
        self.core.stats()
    }

    pub(super) fn payload_totals(&self) -> PayloadTotals {
        self.sink.payload.totals()
    }

    fn flush(&mut self, source: &dyn PayloadSource) -> Result<(), OutputError> {
        self.sink.payload.flush(source)?;
        for ended in &mut self.sink.ended {
            self.sink.payload.complete(&mut ended.flow);
        }
        Ok(())
    }

    /// Segments of whole frames and of reassembled datagrams, merged by frame; epochs end where
    /// their frames do.
    fn chunk(&mut self, joined: &JoinedChunk, source: &dyn PayloadSource) {
        let mut whole = joined.chunk.buckets.shard(self.shard).iter().peekable();
        let mut pieced = joined
            .defragmented
            .get(self.shard)
            .into_iter()
            .flatten()
            .peekable();
        let mut epochs = joined.epochs.iter().peekable();
        loop {
            let next_whole = whole
                .peek()
                .map(|segment| segment.frame + joined.first_frame);
            let next_pieced = pieced.peek().map(|segment| segment.frame);
            let next = [next_whole, next_pieced].into_iter().flatten().min();
            while let Some(epoch) = epochs.next_if(|epoch| next.is_none_or(|at| at > epoch.frame)) {
                self.core.sweep(epoch.watermark, source, &mut self.sink);
                self.sink.epoch = epoch.frame / EPOCH_FRAMES;
            }
            let Some(frame) = next else { return };
            if next_whole == Some(frame)
                && let Some(segment) = whole.next()
            {
                let encapsulation = joined.chunk.encapsulations.resolve(segment.encapsulation);
                let placed = Segment {
                    frame,
                    file_id: joined.file_id,
                    watermark: joined.watermark.max(segment.watermark),
                    ..segment.clone()
                };
                self.core
                    .segment(&placed, encapsulation, source, &mut self.sink);
            } else if let Some(segment) = pieced.next() {
                let encapsulation = joined.encapsulations.resolve(segment.encapsulation);
                self.core
                    .segment(segment, encapsulation, source, &mut self.sink);
            }
        }
    }
}
