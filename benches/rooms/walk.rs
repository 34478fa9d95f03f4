//! The record walk, and the guess where records begin.

use std::hint::black_box;

use bulkreasm::capture::find_boundary;
use criterion::{Criterion, Throughput};

use crate::sample::{shapes, walk};

pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("walk");
    for sample in shapes() {
        let (window, start) = (sample.window(), sample.start());
        let count = || {
            let (mut frames, mut bytes) = (0u64, 0);
            walk(&window, &start, |frame| {
                frames += 1;
                bytes += frame.data.len();
            });
            (frames, bytes)
        };
        let (frames, bytes) = count();
        assert_eq!(frames, sample.frames);
        // Besides the frames there are 16 bytes before each, and 24 before all.
        assert_eq!(bytes + 16 * frames as usize + 24, sample.bytes.len());
        group.throughput(Throughput::Elements(frames));
        group.bench_function(sample.name, |bencher| bencher.iter(|| black_box(count())));
    }
    group.finish();

    let mut group = criterion.benchmark_group("boundary");
    for sample in shapes() {
        let (window, start) = (sample.window(), sample.start());
        let mut places = Vec::new();
        walk(&window, &start, |frame| {
            places.push(frame.at.offset() - 16);
        });
        // A guess from within a record, at about a hundred places.
        let some: Vec<_> = places
            .windows(2)
            .step_by(places.len() / 100)
            .map(|pair| (pair[0] + 1, pair[1]))
            .collect();
        let end = sample.bytes.len() as u64;
        let guess = |from| find_boundary(&window, &start, from, end);
        for &(from, next) in &some {
            assert_eq!(guess(from), Some(next));
        }
        group.throughput(Throughput::Elements(some.len() as u64));
        group.bench_function(sample.name, |bencher| {
            bencher.iter(|| some.iter().filter_map(|&(from, _)| guess(from)).max());
        });
    }
    group.finish();
}
