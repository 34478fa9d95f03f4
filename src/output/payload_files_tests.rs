//! Payload files against a `Vec` that is written byte by byte.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::file_cache::FileTotals;
use super::payload_files::PayloadWriter;
use super::{DescriptorBudget, OutputDir, OutputError, stream_path};
use crate::model::{Direction, Endpoint, FlowKey, InputPos, Payload, PayloadSource};
use crate::reassembly::event::{FlowName, StreamData};

/// Gives copies, as an input that is read in blocks does.
struct Copying(Vec<u8>);

impl PayloadSource for Copying {
    fn read(&self, at: InputPos, len: u32) -> Cow<'_, [u8]> {
        Cow::Owned(self.0[..].read(at, len).into_owned())
    }
}

pub(super) fn input() -> Vec<u8> {
    (0..4096u32)
        .map(|i| u8::try_from(i * 7 % 251).unwrap() | 1)
        .collect()
}

pub(super) fn flow(flow_id: u64) -> FlowName {
    let (key, client) = FlowKey::v4(
        Endpoint::v4([10, 0, 0, 1], 1000),
        Endpoint::v4([10, 0, 0, 2], 80),
    );
    FlowName {
        flow_id,
        key,
        client,
    }
}

fn piece(flow_id: u64, direction: Direction, position: u64, at: u64, len: u32) -> StreamData {
    StreamData {
        flow: flow(flow_id),
        direction,
        offset: position,
        position,
        payload: Payload::Input {
            at: InputPos::new(0, at),
            len,
        },
    }
}

fn writer(base: &Path, budget: &Arc<DescriptorBudget>) -> PayloadWriter {
    let dir = Arc::new(OutputDir::create(base, true).unwrap());
    PayloadWriter::new(dir, Arc::clone(budget))
}

/// Every payload file below `base`, by its relative path.
fn files(base: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(directories) = fs::read_dir(base.join("streams")) else {
        return found;
    };
    for directory in directories {
        for file in fs::read_dir(directory.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path
                .strip_prefix(base)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            found.insert(name, fs::read(path).unwrap());
        }
    }
    found
}

#[test]
fn bytes_stand_at_their_position_in_any_order() {
    let base = tempfile::tempdir().unwrap();
    let mut writer = writer(base.path(), &DescriptorBudget::with_permits(8));
    let input = input();
    writer.data(piece(20_001, Direction::C2s, 6, 16, 2));
    writer.data(piece(20_001, Direction::C2s, 0, 10, 3));
    writer.data(piece(20_001, Direction::S2c, 2, 100, 1));
    writer.flush(&input).unwrap();
    writer.data(StreamData {
        payload: Payload::owned(&Arc::from(&b"xyz"[..]), 1, 1),
        ..piece(20_001, Direction::C2s, 3, 0, 0)
    });
    writer.flow_ended(20_001);
    writer.flush(&input).unwrap();
    let mut c2s = [&input[10..13], b"y\0\0"].concat();
    c2s.extend(&input[16..18]);
    let expected = BTreeMap::from([
        (stream_path(&flow(20_001), Direction::C2s), c2s),
        (
            stream_path(&flow(20_001), Direction::S2c),
            vec![0, 0, input[100]],
        ),
    ]);
    assert_eq!(files(base.path()), expected);
    assert_eq!(
        writer.totals(),
        FileTotals {
            files: 2,
            bytes: 7,
            ..FileTotals::default()
        }
    );
}

#[test]
fn more_pieces_than_one_call_takes() {
    for copying in [false, true] {
        let base = tempfile::tempdir().unwrap();
        let mut writer = writer(base.path(), &DescriptorBudget::with_permits(8));
        let input = input();
        for i in (0..4096).rev() {
            writer.data(piece(1, Direction::C2s, i, i, 1));
        }
        if copying {
            writer.flush(&Copying(input.clone())).unwrap();
        } else {
            writer.flush(&input).unwrap();
        }
        assert_eq!(files(base.path()).into_values().next().unwrap(), input);
    }
}

#[test]
fn a_hole_takes_no_space() {
    let base = tempfile::tempdir().unwrap();
    let mut writer = writer(base.path(), &DescriptorBudget::with_permits(8));
    writer.data(piece(1, Direction::C2s, 0, 0, 10));
    writer.data(piece(1, Direction::C2s, (5 << 30) - 10, 10, 10));
    writer.flush(&input()).unwrap();
    let meta = fs::metadata(base.path().join(stream_path(&flow(1), Direction::C2s))).unwrap();
    assert_eq!(meta.len(), 5 << 30);
    assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
}

#[test]
fn an_input_that_shrank_is_an_error() {
    let base = tempfile::tempdir().unwrap();
    let mut writer = writer(base.path(), &DescriptorBudget::with_permits(8));
    writer.data(piece(1, Direction::C2s, 0, 4090, 10));
    let error = writer.flush(&input()).unwrap_err();
    assert!(
        matches!(
            error,
            OutputError::InputChanged {
                file: 0,
                offset: 4090,
                wanted: 10,
                got: 6
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("changed while it was read"));
}

#[test]
fn a_file_that_was_there_before_is_not_written_over() {
    let base = tempfile::tempdir().unwrap();
    let mut writer = writer(base.path(), &DescriptorBudget::with_permits(8));
    let path = base.path().join(stream_path(&flow(1), Direction::C2s));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"evidence").unwrap();
    writer.data(piece(1, Direction::C2s, 0, 0, 10));
    let error = writer.flush(&input()).unwrap_err();
    assert!(matches!(error, OutputError::Occupied { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"evidence");
}

#[test]
fn an_error_names_the_file() {
    let base = tempfile::tempdir().unwrap();
    let mut writer = writer(base.path(), &DescriptorBudget::with_permits(0));
    writer.data(piece(1, Direction::C2s, 0, 0, 10));
    writer.flush(&input()).unwrap();
    fs::remove_dir_all(base.path().join("streams")).unwrap();
    writer.data(piece(1, Direction::C2s, 10, 0, 10));
    let text = writer.flush(&input()).unwrap_err().to_string();
    let path = stream_path(&flow(1), Direction::C2s);
    assert!(
        text.contains(&path) && text.contains("removed it during the run"),
        "{text}"
    );
}

/// Descriptors of payload files that this process has open below `base`.
fn open_below(base: &Path) -> usize {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.starts_with(base.join("streams")))
        .count()
}

#[test]
fn open_files_stay_within_the_budget_and_are_given_back() {
    for permits in [0, 1, 3, 1000] {
        let base = tempfile::tempdir().unwrap();
        let base_path = base.path().canonicalize().unwrap();
        let budget = DescriptorBudget::with_permits(permits);
        let dir = Arc::new(OutputDir::create(&base_path, false).unwrap());
        let mut writers = [0, 1].map(|_| PayloadWriter::new(Arc::clone(&dir), Arc::clone(&budget)));
        let input = input();
        for batch in 0..5 {
            for id in 0..40 {
                let data = piece(id + 1, Direction::C2s, batch * 10, batch * 10, 10);
                writers[usize::from(id % 2 == 0)].data(data);
            }
            for writer in &mut writers {
                writer.flush(&input).unwrap();
                assert!(open_below(&base_path) <= permits);
            }
            assert_eq!(open_below(&base_path), permits.min(40));
        }
        for id in 0..40 {
            writers[usize::from(id % 2 == 0)].flow_ended(id + 1);
        }
        for writer in &mut writers {
            writer.flush(&input).unwrap();
        }
        assert_eq!((open_below(&base_path), budget.free()), (0, permits));
        let files = files(&base_path);
        assert_eq!(files.len(), 40);
        assert!(files.values().all(|bytes| *bytes == input[..50]));
    }
}

#[test]
fn a_permit_moves_from_an_idle_file_to_a_busy_one() {
    let base = tempfile::tempdir().unwrap();
    let base_path = base.path().canonicalize().unwrap();
    let mut writer = writer(&base_path, &DescriptorBudget::with_permits(1));
    for id in 1..4 {
        writer.data(piece(id, Direction::C2s, 0, 0, 1));
        writer.flush(&input()).unwrap();
        let open: Vec<_> = fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.starts_with(&base_path) && target.extension().is_some())
            .collect();
        assert_eq!(
            open,
            [base_path.join(stream_path(&flow(id), Direction::C2s))]
        );
    }
}

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    Data { flow: u64, c2s: bool, block: u64 },
    Flush,
    End(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..12u64, any::<bool>(), 0..40u64)
            .prop_map(|(flow, c2s, block)| Step::Data { flow, c2s, block }),
        2 => Just(Step::Flush),
        1 => (1..12u64).prop_map(Step::End),
    ]
}

proptest! {
    /// Whatever the order, the holes, the batches and the budget, the files are those that the
    /// oracle has.
    #[test]
    fn files_are_as_the_oracle_says(
        steps in proptest::collection::vec(step(), 0..300),
        permits in 0..6usize,
        copying in any::<bool>(),
    ) {
        const BLOCK: u32 = 5;
        let base = tempfile::tempdir().unwrap();
        let mut writer = writer(base.path(), &DescriptorBudget::with_permits(permits));
        let source = input();
        let copies = Copying(source.clone());
        let source_of = |copying| -> &dyn PayloadSource {
            if copying { &copies } else { &source }
        };
        let mut oracle: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut told = std::collections::BTreeSet::new();
        let mut over = std::collections::BTreeSet::new();
        for (i, step) in steps.into_iter().enumerate() {
            match step {
                Step::Data { flow: id, c2s, block } => {
                    if over.contains(&id) || !told.insert((id, c2s, block)) {
                        continue;
                    }
                    let direction = if c2s { Direction::C2s } else { Direction::S2c };
                    let (at, position) = (i as u64 * 3, block * u64::from(BLOCK));
                    writer.data(piece(id, direction, position, at, BLOCK));
                    let file = oracle.entry(stream_path(&flow(id), direction)).or_default();
                    for byte in 0..u64::from(BLOCK) {
                        let to = usize::try_from(position + byte).unwrap();
                        if file.len() <= to {
                            file.resize(to + 1, 0);
                        }
                        file[to] = source[usize::try_from(at + byte).unwrap()];
                    }
                }
                Step::Flush => writer.flush(source_of(copying)).unwrap(),
                Step::End(id) => {
                    if over.insert(id) {
                        writer.flow_ended(id);
                    }
                }
            }
        }
        writer.flush(source_of(copying)).unwrap();
        prop_assert_eq!(&files(base.path()), &oracle);
        let totals = writer.totals();
        prop_assert_eq!(totals.files, oracle.len() as u64);
        prop_assert_eq!(totals.bytes, told.len() as u64 * u64::from(BLOCK));
    }
}
