//! Frames to segments, and segments to the buckets of their shards.

use std::hint::black_box;

use bulkreasm::config::SHARDS;
use bulkreasm::decode::{DecodeSink, Fragment};
use bulkreasm::model::Segment;
use bulkreasm::shard::{Buckets, ShardSeed};
use criterion::{BatchSize, Criterion, Throughput};

use crate::sample::{Segments, decode, shapes};

/// Looks at segments and drops them.
#[derive(Default)]
struct Count {
    segments: u64,
    payload: u64,
}

impl DecodeSink for Count {
    fn segment(&mut self, segment: Segment) {
        self.segments += 1;
        self.payload += u64::from(segment.payload.len());
    }

    fn fragment(&mut self, _: Fragment) {}
}

pub fn benches(criterion: &mut Criterion) {
    for sample in shapes() {
        let (window, start) = (sample.window(), sample.start());
        let mut group = criterion.benchmark_group("decode");
        let count = || {
            let mut count = Count::default();
            decode(&window, &start, &mut count);
            count
        };
        assert_eq!(count().segments, sample.frames);
        assert!(count().payload >= sample.stream_bytes);
        group.throughput(Throughput::Elements(sample.frames));
        group.bench_function(sample.name, |bencher| bencher.iter(|| black_box(count())));
        group.finish();

        let mut segments = Segments::default();
        decode(&window, &start, &mut segments);
        let segments = segments.0;
        let mut group = criterion.benchmark_group("shard");
        group.throughput(Throughput::Elements(sample.frames));
        let seed = ShardSeed::default();
        let hash = || {
            segments
                .iter()
                .map(|s| seed.shard_of(&s.key))
                .sum::<usize>()
        };
        assert!(hash() < SHARDS * segments.len());
        group.bench_function(format!("hash/{}", sample.name), |bencher| {
            bencher.iter(|| black_box(hash()));
        });

        let fill = |segments: Vec<Segment>| {
            let mut buckets = Buckets::new(seed);
            for segment in segments {
                buckets.segment(segment);
            }
            buckets
        };
        let filled = fill(segments.clone());
        let held: usize = (0..SHARDS)
            .map(|shard| filled.take(shard).iter().count())
            .sum();
        assert_eq!(held, segments.len());
        group.bench_function(format!("bucket/{}", sample.name), |bencher| {
            bencher.iter_batched(|| segments.clone(), fill, BatchSize::LargeInput);
        });
        group.finish();
    }
}
