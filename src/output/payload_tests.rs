//! Rows, digests and the minimum against slow oracles, and parts as they are read back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::digests::{Digester, Outcome, WaitLimits};
use super::minimum::{HELD_MEMORY, Minimum};
use super::payload::{HalfKey, read_all};
use super::payload_files_tests::{flow, input};
use super::payload_part::{PartWriter, is_part_file, part_path, payload_schema};
use super::payload_rows::{Group, Row, RowCutter, RowLimits};
use super::{FooterFacts, OutputDir, OutputError, TableSummary};
use crate::model::{Direction, InputPos, Payload};
use crate::reassembly::event::StreamData;

/// What one shard tells, as the core tells it.
#[derive(Clone, Debug)]
enum Event {
    Data(StreamData),
    End(u64),
}

fn data(key: HalfKey, position: u64, bytes: std::ops::Range<usize>, owned: bool) -> StreamData {
    let (at, len) = (bytes.start as u64, u32::try_from(bytes.len()).unwrap());
    let payload = if owned {
        Payload::owned(&Arc::from(&input()[..]), u32::try_from(at).unwrap(), len)
    } else {
        Payload::Input {
            at: InputPos::new(0, at),
            len,
        }
    };
    StreamData {
        flow: flow(key.0),
        direction: key.1,
        // The first half-streams have closed up a hole before their first byte.
        offset: position + 1000 * (key.0 % 2),
        position,
        payload,
    }
}

/// Half-streams in pieces of which some are missing, out of order by as much as `spread` pieces and
/// interleaved with each other.
fn events(spread: u32) -> impl Strategy<Value = Vec<Event>> {
    let piece = (
        1usize..24,
        prop::bool::weighted(0.85),
        0..=spread,
        any::<bool>(),
    );
    let halves = prop::collection::vec(prop::collection::vec(piece, 0..40), 2..7);
    halves.prop_map(|halves| {
        let mut all: Vec<(u32, usize, Event)> = Vec::new();
        let mut last = BTreeMap::new();
        let mut at = 0;
        for (number, pieces) in halves.iter().enumerate() {
            let key = (number as u64 / 2 + 1, Direction::BOTH[number % 2]);
            let mut position = 0;
            for (index, &(len, present, late, owned)) in (0..).zip(pieces) {
                if present {
                    at = if at + len > 4096 { 0 } else { at };
                    let told = data(key, position, at..at + len, owned && len < 3);
                    all.push((index + late, number, Event::Data(told)));
                    let end: &mut u32 = last.entry(key.0).or_default();
                    *end = (*end).max(index + late);
                    at += len;
                }
                position += len as u64;
            }
        }
        all.extend(
            last.into_iter()
                .map(|(flow_id, end)| (end, usize::MAX, Event::End(flow_id))),
        );
        all.sort_by_key(|&(at, number, _)| (at, number));
        all.into_iter().map(|(_, _, event)| event).collect()
    })
}

/// The bytes of each half-stream by stream offset.
fn bytes_by_offset(events: &[Event]) -> BTreeMap<HalfKey, BTreeMap<u64, u8>> {
    let mut all: BTreeMap<HalfKey, BTreeMap<u64, u8>> = BTreeMap::new();
    for event in events {
        if let Event::Data(data) = event {
            let half = all.entry((data.flow.flow_id, data.direction)).or_default();
            half.extend((data.offset..).zip(data.payload.bytes(&input()).iter().copied()));
        }
    }
    all
}

/// The content of each payload file, holes as zeros.
fn contents(events: &[Event]) -> BTreeMap<HalfKey, Vec<u8>> {
    let mut all: BTreeMap<HalfKey, Vec<u8>> = BTreeMap::new();
    for event in events {
        if let Event::Data(data) = event {
            let bytes = data.payload.bytes(&input()).into_owned();
            let file = all.entry((data.flow.flow_id, data.direction)).or_default();
            let at = usize::try_from(data.position).unwrap();
            file.resize(file.len().max(at + bytes.len()), 0);
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
    all
}

const SMALL_ROWS: RowLimits = RowLimits {
    cell_bytes: 32,
    window_bytes: 300,
    window_memory: 1 << 20,
};

/// The row groups of these events. Full ones are taken after every `step` events.
fn groups(events: &[Event], limits: RowLimits, step: usize) -> Vec<Group> {
    let mut cutter = RowCutter::new(limits);
    let mut groups = Vec::new();
    for (index, event) in events.iter().enumerate() {
        if let Event::Data(data) = event {
            cutter.data(data);
        }
        assert!(cutter.memory() <= limits.window_memory);
        if index % step == 0 {
            groups.extend(cutter.take_full());
        }
    }
    groups.extend(cutter.finish());
    assert_eq!(cutter.memory(), 0);
    groups
}

/// Rows with their bytes.
fn rows(groups: &[Group]) -> Vec<(Row, Vec<u8>)> {
    let input = input();
    let mut all = Vec::new();
    for group in groups {
        let mut pieces = group.pieces.iter();
        for row in &group.rows {
            let own = pieces.by_ref().take(row.pieces as usize);
            let bytes: Vec<u8> = own.flat_map(|p| p.bytes(&input).into_owned()).collect();
            assert_eq!(bytes.len(), row.len as usize);
            all.push((*row, bytes));
        }
        assert_eq!(pieces.count(), 0);
    }
    all
}

/// Stretches of consecutive offsets that touch no multiple of `cell` but with their start.
fn maximal_runs(bytes: &BTreeMap<u64, u8>, cell: u64) -> Vec<(u64, Vec<u8>)> {
    let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
    for (&offset, &byte) in bytes {
        match runs.last_mut() {
            Some((start, run)) if *start + run.len() as u64 == offset && offset % cell != 0 => {
                run.push(byte);
            }
            _ => runs.push((offset, vec![byte])),
        }
    }
    runs
}

proptest! {
    /// However late a byte comes: within a window, rows are as if all had come in order.
    #[test]
    fn rows_are_the_longest_there_can_be(events in events(60)) {
        let mut got: BTreeMap<HalfKey, Vec<(u64, Vec<u8>)>> = BTreeMap::new();
        for (row, bytes) in rows(&groups(&events, RowLimits { window_bytes: 1 << 20, ..SMALL_ROWS }, 7)) {
            got.entry((row.flow_id, row.direction)).or_default().push((row.offset, bytes));
        }
        for runs in got.values_mut() {
            runs.sort();
        }
        let wanted: BTreeMap<_, _> = bytes_by_offset(&events)
            .into_iter()
            .map(|(key, bytes)| (key, maximal_runs(&bytes, 32)))
            .collect();
        prop_assert_eq!(got, wanted);
    }

    /// Within any bounds each byte stands in one row, at its offset, and rows are within a cell.
    #[test]
    fn rows_hold_each_byte_once(
        events in events(12),
        window_bytes in 1u64..500,
        window_memory in 1usize..4000,
        step in 1usize..50,
    ) {
        let limits = RowLimits { window_bytes, window_memory, ..SMALL_ROWS };
        let whole = rows(&groups(&events, limits, usize::MAX));
        let mut got: BTreeMap<HalfKey, BTreeMap<u64, u8>> = BTreeMap::new();
        for (row, bytes) in &whole {
            prop_assert!(row.offset % 32 + u64::from(row.len) <= 32);
            let half = got.entry((row.flow_id, row.direction)).or_default();
            for (offset, &byte) in (row.offset..).zip(bytes) {
                prop_assert_eq!(half.insert(offset, byte), None);
            }
        }
        prop_assert_eq!(got, bytes_by_offset(&events));
        // Groups as well as rows are a function of the events alone.
        let sizes = |groups: &[Group]| -> Vec<usize> { groups.iter().map(|g| g.rows.len()).collect() };
        let stepwise = groups(&events, limits, step);
        prop_assert_eq!(sizes(&stepwise), sizes(&groups(&events, limits, usize::MAX)));
        prop_assert_eq!(rows(&stepwise), whole);
    }

    /// A digest is that of the file or, where something came too late for the bounds, not known.
    #[test]
    fn digests_are_those_of_the_files(
        events in events(12),
        pieces in 0usize..9,
        memory in prop_oneof![0usize..2000, Just(1 << 20)],
        step in 1usize..50,
    ) {
        let wanted: BTreeMap<HalfKey, Outcome> = contents(&events)
            .into_iter()
            .map(|(key, file)| (key, Outcome::Known(Sha256::digest(&file).into())))
            .collect();
        prop_assert_eq!(&digests(&events, WaitLimits::DEFAULT, step), &wanted);

        let bounded = digests(&events, WaitLimits { pieces, memory }, step);
        prop_assert_eq!(&bounded, &digests(&events, WaitLimits { pieces, memory }, usize::MAX));
        prop_assert_eq!(bounded.len(), wanted.len());
        for (key, outcome) in bounded {
            prop_assert!(outcome == wanted[&key] || outcome == Outcome::GivenUp);
        }
    }

    /// Half-streams with enough bytes are passed on whole and in order, others not at all.
    #[test]
    fn the_minimum_is_kept(events in events(3), bytes in 2u64..400) {
        let (passed, minimum) = pass(&events, Minimum::new(bytes, HELD_MEMORY));
        let told = bytes_by_offset(&events);
        let enough: BTreeSet<HalfKey> = told
            .iter()
            .filter(|(_, half)| half.len() as u64 >= bytes)
            .map(|(key, _)| *key)
            .collect();
        for key in told.keys() {
            let of = |events: &[Event]| -> Vec<u64> {
                let all = events.iter().filter_map(|event| match event {
                    Event::Data(d) if (d.flow.flow_id, d.direction) == *key => Some(d.offset),
                    _ => None,
                });
                all.collect()
            };
            let wanted = if enough.contains(key) { of(&events) } else { Vec::new() };
            prop_assert_eq!(of(&passed.events), wanted);
        }
        prop_assert_eq!(passed.written, enough);
        let skipped: usize = told.values().map(BTreeMap::len).filter(|&n| (n as u64) < bytes).sum();
        prop_assert_eq!(minimum.skipped(), skipped as u64);
        prop_assert_eq!(minimum.passed_early(), 0);
    }

    /// Too little memory passes more on, and loses no byte.
    #[test]
    fn a_minimum_without_memory_loses_nothing(events in events(3), memory in 0usize..3000) {
        let (passed, minimum) = pass(&events, Minimum::new(200, memory));
        let told = bytes_by_offset(&events);
        let got = bytes_by_offset(&passed.events);
        let mut skipped = 0;
        for (key, half) in &told {
            if passed.written.contains(key) {
                prop_assert_eq!(&got[key], half);
            } else {
                prop_assert!(half.len() < 200 && !got.contains_key(key));
                skipped += half.len() as u64;
            }
        }
        prop_assert_eq!(minimum.skipped(), skipped);
        let small = passed.written.iter().filter(|key| told[*key].len() < 200).count() as u64;
        prop_assert!(minimum.passed_early() >= small);
    }
}

/// The digests of these events, flushed after every `step` of them.
fn digests(events: &[Event], limits: WaitLimits, step: usize) -> BTreeMap<HalfKey, Outcome> {
    let mut digester = Digester::new(limits);
    let mut all = BTreeMap::new();
    let mut flush = |digester: &mut Digester| {
        let done = |flow: crate::reassembly::event::FlowName, outcomes: [Outcome; 2]| {
            for (direction, outcome) in Direction::BOTH.into_iter().zip(outcomes) {
                if outcome != Outcome::Empty {
                    all.insert((flow.flow_id, direction), outcome);
                }
            }
            Ok(())
        };
        digester.flush(&input(), done).unwrap();
    };
    for (index, event) in events.iter().enumerate() {
        match event {
            Event::Data(data) => digester.data(data),
            Event::End(flow_id) => digester.flow_ended(flow(*flow_id)),
        }
        assert!(digester.waiting_memory() <= limits.memory);
        if index % step == 0 {
            flush(&mut digester);
        }
    }
    flush(&mut digester);
    assert_eq!(digester.waiting_memory(), 0);
    all
}

/// What a minimum lets through.
struct Passed {
    events: Vec<Event>,
    written: BTreeSet<HalfKey>,
}

fn pass(events: &[Event], mut minimum: Minimum) -> (Passed, Minimum) {
    let mut passed = Passed {
        events: Vec::new(),
        written: BTreeSet::new(),
    };
    for event in events {
        match event {
            Event::Data(data) => {
                minimum.data(data.clone(), &mut |data| {
                    passed.events.push(Event::Data(data));
                });
                assert!(minimum.is_within_memory());
            }
            Event::End(flow_id) => {
                let written = minimum.flow_ended(*flow_id);
                for direction in Direction::BOTH {
                    if written[direction.index()] {
                        passed.written.insert((*flow_id, direction));
                    }
                }
            }
        }
    }
    (passed, minimum)
}

const C2S: HalfKey = (1, Direction::C2s);

#[test]
fn a_string_across_segments_that_were_swapped_stands_in_one_row() {
    let all = [
        Event::Data(data(C2S, 10, 110..120, false)),
        Event::Data(data(C2S, 0, 100..110, true)),
        Event::End(1),
    ];
    let rows = rows(&groups(&all, RowLimits::DEFAULT, 1));
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].0.offset, &*rows[0].1), (1000, &input()[100..120]));
}

#[test]
fn a_window_that_ends_cuts_no_row_of_a_stream_that_goes_on() {
    let all: Vec<Event> = (0..200)
        .map(|i| Event::Data(data(C2S, i * 10, 0..10, false)))
        .collect();
    let groups = groups(&all, SMALL_ROWS, 1);
    assert!(groups.len() > 5);
    let lens: Vec<u32> = rows(&groups).iter().map(|(row, _)| row.len).collect();
    // The first offset is 1000, 24 bytes before a multiple of 32.
    let (inner, ends) = (&lens[1..lens.len() - 1], (lens[0], lens[lens.len() - 1]));
    assert!(inner.iter().all(|&len| len == 32), "{lens:?}");
    assert_eq!(ends, (24, 24));
}

#[test]
fn exactly_the_minimum_is_enough() {
    for (minimum, written) in [(10, true), (11, false)] {
        let all = [
            Event::Data(data(C2S, 0, 0..4, false)),
            Event::Data(data(C2S, 4, 4..10, false)),
            Event::End(1),
        ];
        let (passed, _) = pass(&all, Minimum::new(minimum, HELD_MEMORY));
        assert_eq!(passed.written.contains(&C2S), written);
    }
}

#[test]
fn a_byte_told_again_gives_the_digest_up() {
    let limits = WaitLimits::DEFAULT;
    // At the place of a byte that was digested, of one that waits, and across both ends of one.
    for (first, again) in [(0, 0), (5, 5), (5, 7), (5, 3), (0, 3)] {
        let all = [
            Event::Data(data(C2S, first, 0..4, false)),
            Event::Data(data(C2S, again, 50..54, false)),
            Event::End(1),
        ];
        let wanted = BTreeMap::from([(C2S, Outcome::GivenUp)]);
        assert_eq!(digests(&all, limits, 1), wanted, "{first} {again}");
    }
}

#[test]
fn what_fills_a_hole_taken_for_final_gives_the_digest_up() {
    let limits = WaitLimits {
        pieces: 1,
        ..WaitLimits::DEFAULT
    };
    let late = [
        Event::Data(data(C2S, 4, 4..8, false)),
        Event::Data(data(C2S, 12, 12..16, false)),
        Event::Data(data(C2S, 0, 0..4, false)),
        Event::End(1),
    ];
    assert_eq!(digests(&late, limits, 1)[&C2S], Outcome::GivenUp);
    let never = [&late[..2], &late[3..]].concat();
    assert_eq!(
        digests(&never, limits, 1),
        digests(&never, WaitLimits::DEFAULT, 1)
    );
}

fn footer() -> Arc<FooterFacts> {
    Arc::new(FooterFacts {
        config_json: "{}".to_owned(),
    })
}

/// Writes a part of these rows; gives its path relative to `base` and what became of it.
fn write_part(base: &Path, groups: &[Group], source: &[u8]) -> Option<(String, TableSummary)> {
    let dir = Arc::new(OutputDir::create(base, true).unwrap());
    let mut part = PartWriter::new(dir, 7, footer());
    for group in groups {
        part.write(group, &source.to_vec()).unwrap();
        assert!(!base.join(part_path(7)).exists());
    }
    let finished = part.finish().unwrap();
    let bytes: u64 = groups
        .iter()
        .flat_map(|group| &group.rows)
        .map(|row| u64::from(row.len))
        .sum();
    assert_eq!(part.payload_bytes(), bytes);
    finished
}

#[test]
fn a_part_reads_back_as_written() {
    let mut all: Vec<Event> = (0..300u64)
        .map(|i| {
            let at = usize::try_from(i).unwrap() * 7;
            data(
                (i % 3, Direction::BOTH[usize::from(i % 2 == 1)]),
                i * 9,
                at..at + 9,
                i == 50,
            )
        })
        .map(Event::Data)
        .collect();
    all.extend((0..3).map(Event::End));
    let groups = groups(&all, SMALL_ROWS, 1);
    let base = tempfile::tempdir().unwrap();
    let (path, summary) = write_part(base.path(), &groups, &input()).unwrap();
    assert_eq!(path, "payload/part-07.parquet");
    let path = base.path().join(path);
    assert_eq!(summary.bytes, path.metadata().unwrap().len());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    assert_eq!(reader.schema().fields(), payload_schema().fields());
    let mut got = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let directions = batch.column(1).as_dictionary::<Int8Type>();
        let directions = directions
            .downcast_dict::<arrow_array::StringArray>()
            .unwrap();
        for row in 0..batch.num_rows() {
            let i64_at =
                |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
            let name = directions.into_iter().nth(row).unwrap().unwrap().to_owned();
            let bytes = batch.column(3).as_binary::<i32>().value(row).to_vec();
            got.push((i64_at(0), name, i64_at(2), bytes));
        }
    }
    let wanted: Vec<_> = rows(&groups)
        .into_iter()
        .map(|(row, bytes)| {
            let id = i64::try_from(row.flow_id).unwrap();
            let name = row.direction.name().to_owned();
            (id, name, i64::try_from(row.offset).unwrap(), bytes)
        })
        .collect();
    assert_eq!(summary.rows, wanted.len() as u64);
    assert_eq!(got, wanted);

    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let metadata = reader.metadata();
    assert_eq!(metadata.num_row_groups(), groups.len());
    let statistics = |column: usize| metadata.row_group(0).column(column).statistics();
    assert!(statistics(0).is_some() && statistics(3).is_none());
    let keys = metadata.file_metadata().key_value_metadata().unwrap();
    assert!(keys.iter().any(|pair| pair.key == "bulkreasm.config"));
}

#[test]
fn no_rows_no_part() {
    let base = tempfile::tempdir().unwrap();
    assert_eq!(write_part(base.path(), &[], &[]), None);
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

#[test]
fn a_part_appears_whole_or_not_at_all() {
    let base = tempfile::tempdir().unwrap();
    let dir = Arc::new(OutputDir::create(base.path(), false).unwrap());
    let mut part = PartWriter::new(dir, 0, footer());
    let all = [Event::Data(data(C2S, 0, 0..9, false)), Event::End(1)];
    let groups = groups(&all, SMALL_ROWS, 1);
    part.write(&groups[0], &input()).unwrap();
    let error = part.write(&groups[0], &vec![0; 8]).unwrap_err();
    assert!(
        matches!(
            error,
            OutputError::InputChanged {
                wanted: 9,
                got: 8,
                ..
            }
        ),
        "{error}"
    );
    drop(part);
    let payload = base.path().join("payload");
    assert_eq!(fs::read_dir(payload).unwrap().count(), 0);
}

#[test]
fn parts_are_told_from_strangers() {
    for name in [
        "part-00.parquet",
        ".part-63.parquet.tmp",
        "part-100.parquet",
    ] {
        assert!(is_part_file(name), "{name}");
    }
    for name in [
        "part-.parquet",
        "part-0a.parquet",
        "part-00.parquet.tmp",
        "x-00.parquet",
    ] {
        assert!(!is_part_file(name), "{name}");
    }
    assert_eq!(part_path(63), "payload/part-63.parquet");
}

#[test]
fn a_payload_outside_its_buffer_is_an_error() {
    let payload = Payload::owned(&Arc::from(&b"abc"[..]), 2, 2);
    let error = read_all(&payload, &input()).unwrap_err();
    assert!(matches!(error, OutputError::PayloadOutside), "{error}");
}
