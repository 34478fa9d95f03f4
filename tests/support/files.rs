//! Cuts captures into several files, and puts several files in order by the rule, slowly.

use std::path::{Path, PathBuf};
use std::{cmp, fs};

/// A capture taken apart. Both formats are those that the generator writes.
#[derive(Clone, Debug)]
pub struct Capture {
    /// What every file of it begins with.
    pub head: Vec<u8>,
    /// Time in nanoseconds, and the record.
    pub records: Vec<(i64, Vec<u8>)>,
}

impl Capture {
    /// Takes a pcap or a pcapng with one section and one interface apart.
    pub fn parse(bytes: &[u8]) -> Capture {
        let magic = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        if magic == 0x0a0d_0d0a {
            return Capture::parse_blocks(bytes);
        }
        let (big_endian, nanos) = match magic {
            0xa1b2_c3d4 => (false, false),
            0xa1b2_3c4d => (false, true),
            0xd4c3_b2a1 => (true, false),
            0x4d3c_b2a1 => (true, true),
            other => panic!("magic {other:08x}"),
        };
        let word = |at: usize| word(bytes, at, big_endian);
        let mut records = Vec::new();
        let mut at = 24;
        while at < bytes.len() {
            let unit = if nanos { 1 } else { 1000 };
            let ts = i64::from(word(at)) * 1_000_000_000 + i64::from(word(at + 4)) * unit;
            let end = at + 16 + word(at + 8) as usize;
            records.push((ts, bytes[at..end].to_vec()));
            at = end;
        }
        Capture {
            head: bytes[..24].to_vec(),
            records,
        }
    }

    fn parse_blocks(bytes: &[u8]) -> Capture {
        let big_endian = bytes[8] == 0x1a;
        let word = |at: usize| word(bytes, at, big_endian);
        let (mut head, mut records) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < bytes.len() {
            let end = at + word(at + 4) as usize;
            let block = bytes[at..end].to_vec();
            if word(at) == 6 {
                let units = i64::from(word(at + 12)) << 32 | i64::from(word(at + 16));
                records.push((units, block));
            } else {
                assert!(
                    records.is_empty(),
                    "a block that is no packet among packets"
                );
                head.extend(block);
            }
            at = end;
        }
        Capture { head, records }
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let records = self.records.iter().flat_map(|(_, record)| record);
        self.head.iter().chain(records).copied().collect()
    }

    /// Captures of these records, which keep their order: each goes to the one that `which` says.
    pub fn deal(&self, files: usize, mut which: impl FnMut(usize) -> usize) -> Vec<Capture> {
        let mut dealt = vec![
            Capture {
                head: self.head.clone(),
                records: Vec::new(),
            };
            files
        ];
        for (number, record) in self.records.iter().enumerate() {
            dealt[which(number)].records.push(record.clone());
        }
        dealt
    }

    /// Captures of equally many records in a row, as a capture program rotates its files.
    pub fn rotate(&self, files: usize) -> Vec<Capture> {
        let each = self.records.len().div_ceil(files).max(1);
        self.deal(files, |number| number / each)
    }
}

fn word(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let four = bytes[at..at + 4].try_into().unwrap();
    if big_endian {
        u32::from_be_bytes(four)
    } else {
        u32::from_le_bytes(four)
    }
}

/// Several files as one capture.
#[derive(Debug)]
pub struct Merged {
    /// The one capture.
    pub capture: Capture,
    /// The place of each record's file in `order`.
    pub owners: Vec<usize>,
    /// The files, by their place in the list that was merged, in the order of processing.
    pub order: Vec<usize>,
}

/// Merges files by the rule: the next record is the one at which the greatest time of its own file
/// so far is least, and of equal ones that of the first file. `files` are in the order of their
/// paths.
pub fn merge(files: &[Capture]) -> Merged {
    let begins = |file: &Capture| file.records.first().map_or(i64::MAX, |first| first.0);
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|&file| (begins(&files[file]), file));
    let mut at = vec![0; files.len()];
    let mut clocks = vec![i64::MIN; files.len()];
    let (mut records, mut owners) = (Vec::new(), Vec::new());
    loop {
        let heads = order.iter().enumerate().filter_map(|(place, &file)| {
            let (ts, _) = files[file].records.get(at[file])?;
            Some((cmp::max(*ts, clocks[file]), place))
        });
        let Some((clock, place)) = heads.min() else {
            break;
        };
        let file = order[place];
        records.push(files[file].records[at[file]].clone());
        owners.push(place);
        clocks[file] = clock;
        at[file] += 1;
    }
    Merged {
        capture: Capture {
            head: files
                .first()
                .map_or_else(Vec::new, |file| file.head.clone()),
            records,
        },
        owners,
        order,
    }
}

/// Writes files `00.pcap`, `01.pcap`, … to a directory.
pub fn write_all(directory: &Path, files: &[Vec<u8>]) -> Vec<PathBuf> {
    files
        .iter()
        .enumerate()
        .map(|(number, bytes)| {
            let path = directory.join(format!("{number:02}.pcap"));
            fs::write(&path, bytes).unwrap();
            path
        })
        .collect()
}
