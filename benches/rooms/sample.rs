//! Captures to measure with, and what is known of them.

use std::borrow::Cow;
use std::fs;

use bulkreasm::capture::{Input, WalkState, Walker, Window};
use bulkreasm::config::DecodeConfig;
use bulkreasm::decode::{DecodeSink, Decoder, EncapsulationTable, Fragment};
use bulkreasm::model::{RawFrame, Segment};

use crate::support::generator::config::{Config, Profile};
use crate::support::generator::generate;

/// A generated capture.
pub struct Sample {
    /// Its name among the benchmarks.
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub frames: u64,
    pub flows: u64,
    /// Payload bytes of all streams, each byte once.
    pub stream_bytes: u64,
}

/// The three shapes that speed is measured on, a few megabytes each.
pub fn shapes() -> Vec<Sample> {
    let sample = |name, profile, flows, bytes| {
        let config = Config {
            flows,
            bytes,
            ..Config::of(profile)
        };
        Sample::new(name, &config)
    };
    vec![
        sample("bulk", Profile::Bulk, 8, 8_000_000),
        sample("mixed", Profile::Mixed, 400, 6_000_000),
        sample("small", Profile::Small, 1_500, 2_100_000),
    ]
}

impl Sample {
    pub fn new(name: &'static str, config: &Config) -> Sample {
        let mut bytes = Vec::new();
        let mut stream_bytes = 0;
        let summary = generate(config, &mut bytes, |flow| {
            let truth = flow.truth().unwrap();
            stream_bytes += truth.c2s.stream_bytes + truth.s2c.stream_bytes;
            Ok(())
        });
        let summary = summary.unwrap();
        Sample {
            name,
            bytes,
            frames: summary.frames,
            flows: summary.flows,
            stream_bytes,
        }
    }

    /// All of it, as the walk takes it.
    pub fn window(&self) -> Window<'_> {
        Window::new(Cow::Borrowed(&self.bytes), 0, 0, true)
    }

    /// Where a walk begins.
    pub fn start(&self) -> WalkState {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("capture");
        fs::write(&path, &self.bytes).unwrap();
        Input::open(&path, 0, false).unwrap().start()
    }
}

/// Walks all records.
pub fn walk<'a>(window: &'a Window<'_>, start: &WalkState, mut each: impl FnMut(RawFrame<'a>)) {
    Walker::new(window, start.clone(), u64::MAX).for_each(&mut each);
}

/// Walks and decodes all records, numbered from 1.
pub fn decode(
    window: &Window<'_>,
    start: &WalkState,
    sink: &mut impl DecodeSink,
) -> EncapsulationTable {
    let mut decoder = Decoder::new(DecodeConfig::default());
    let mut number = 0;
    walk(window, start, |frame| {
        number += 1;
        decoder.frame(&frame, number, frame.ts, sink);
    });
    decoder.finish().0
}

/// Keeps the segments.
#[derive(Default)]
pub struct Segments(pub Vec<Segment>);

impl DecodeSink for Segments {
    fn segment(&mut self, segment: Segment) {
        self.0.push(segment);
    }

    fn fragment(&mut self, _: Fragment) {
        panic!("these samples have no fragments");
    }
}
