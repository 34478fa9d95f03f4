//! Rows to Parquet.

use bulkreasm::config::PayloadMode;
use bulkreasm::output::{FlowRow, FlowTableWriter, FooterFacts, OutputDir, TableSummary};
use criterion::{BatchSize, Criterion, Throughput};

use crate::reassembly::reassemble;
use crate::sample::{Sample, Segments, decode};
use crate::support::generator::config::{Config, Profile};
use crate::support::reassembler::Told;

/// Flows to write: a few chunks of rows.
const FLOWS: u64 = 20_000;

fn rows() -> Vec<FlowRow> {
    let config = Config {
        flows: FLOWS,
        bytes: FLOWS * 1_400,
        ..Config::of(Profile::Small)
    };
    let sample = Sample::new("rows", &config);
    let mut segments = Segments::default();
    let encapsulations = decode(&sample.window(), &sample.start(), &mut segments);
    let mut told = Told {
        records: Some(Vec::new()),
        ..Told::default()
    };
    reassemble(&segments.0, &encapsulations, &sample.bytes, &mut told);
    let row = |record| FlowRow {
        record,
        shard: 0,
        written: [true; 2],
        sha256: [None, None],
    };
    told.records.unwrap().into_iter().map(row).collect()
}

fn write(rows: &[FlowRow], directory: &OutputDir) -> TableSummary {
    let footer = FooterFacts::default();
    let mut table = FlowTableWriter::create(directory, PayloadMode::Files, &footer).unwrap();
    table.write(rows).unwrap();
    table.finish().unwrap()
}

pub fn benches(criterion: &mut Criterion) {
    let rows = rows();
    let scratch = tempfile::tempdir().unwrap();
    let directory = || OutputDir::create(scratch.path(), true).unwrap();
    let written = write(&rows, &directory());
    assert_eq!(written.rows, FLOWS);
    // Encoding shares out columns: on one thread the sum of the work is seen.
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one = one.unwrap();
    let mut group = criterion.benchmark_group("tables");
    group.throughput(Throughput::Elements(FLOWS));
    group.sample_size(20);
    group.bench_function("flows", |bencher| {
        let write = |directory| one.install(|| write(&rows, &directory));
        bencher.iter_batched(directory, write, BatchSize::PerIteration);
    });
    group.finish();
}
