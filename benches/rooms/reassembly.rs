//! Segments to streams: in order, and in everything that is not.

use std::hint::black_box;

use bulkreasm::decode::EncapsulationTable;
use bulkreasm::model::{EndReason, PayloadSource, Segment, Timestamp};
use bulkreasm::reassembly::Arrival;
use criterion::{Criterion, Throughput};

use crate::sample::{Sample, Segments, decode, shapes};
use crate::support::generator::config::{Config, Profile};
use crate::support::reassembler::{Told, reassembler};

/// Runs the core over all segments as one shard.
pub fn reassemble(
    segments: &[Segment],
    encapsulations: &EncapsulationTable,
    input: &impl PayloadSource,
    told: &mut Told,
) {
    let mut core = reassembler(1 << 30);
    for segment in segments {
        let arrival = Arrival {
            segment,
            encapsulation: encapsulations.resolve(segment.encapsulation),
            frames: &[],
        };
        core.segment(arrival, input, told);
    }
    core.finish_before(u64::MAX, Timestamp::NONE, EndReason::Eof, input, told);
}

/// One direction at a time goes wrong, so that its price can be told from the others.
fn impaired() -> Vec<Sample> {
    let bulk = Config {
        flows: 8,
        bytes: 8_000_000,
        ..Config::of(Profile::Bulk)
    };
    let sample = |name, config: Config| Sample::new(name, &config);
    vec![
        sample(
            "reordered",
            Config {
                reorder: 0.2,
                ..bulk.clone()
            },
        ),
        sample(
            "retransmitted",
            Config {
                retransmit: 0.2,
                ..bulk.clone()
            },
        ),
        sample(
            "overlapping",
            Config {
                overlap: 0.2,
                ..bulk.clone()
            },
        ),
        sample("lossy", Config { loss: 0.05, ..bulk }),
    ]
}

pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reassembly");
    for sample in shapes().into_iter().chain(impaired()) {
        let mut segments = Segments::default();
        let encapsulations = decode(&sample.window(), &sample.start(), &mut segments);
        let run = || {
            let mut told = Told::default();
            reassemble(&segments.0, &encapsulations, &sample.bytes, &mut told);
            told
        };
        let told = run();
        assert_eq!(
            (told.flows, told.bytes),
            (sample.flows, sample.stream_bytes)
        );
        group.throughput(Throughput::Elements(sample.frames));
        group.bench_function(sample.name, |bencher| bencher.iter(|| black_box(run())));
    }
    group.finish();
}
