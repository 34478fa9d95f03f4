//! The core alone, without the program around it.

use bulkreasm::config::{PolicyMap, ReassemblyConfig, Timeouts};
use bulkreasm::model::{Conflict, FlowRecord, FrameRef, Gap, SegmentPart};
use bulkreasm::reassembly::Reassembler;
use bulkreasm::reassembly::event::{EventSink, StreamData};

/// A core as the program has it by default, one shard of which may hold so many bytes.
pub fn reassembler(shard_memory: u64) -> Reassembler {
    Reassembler::new(ReassemblyConfig {
        timeouts: Timeouts::default(),
        max_gap: 16 << 20,
        shard_memory,
        overlap: PolicyMap::default(),
        max_stream_bytes: u64::MAX,
        segments: false,
    })
}

/// Counts what the core tells, and keeps the records if asked to.
#[derive(Default)]
pub struct Told {
    pub bytes: u64,
    pub flows: u64,
    pub records: Option<Vec<FlowRecord>>,
}

impl EventSink for Told {
    fn frames(&mut self, _: u64, _: &[FrameRef]) {}

    fn data(&mut self, data: StreamData) {
        self.bytes += u64::from(data.payload.len());
    }

    fn gap(&mut self, _: Gap) {}

    fn conflict(&mut self, _: Conflict) {}

    fn segment(&mut self, _: SegmentPart) {}

    fn flow(&mut self, record: FlowRecord) {
        self.flows += 1;
        if let Some(records) = &mut self.records {
            records.push(record);
        }
    }
}
