//! Damages captures where it hurts: record headers, protocol headers, and anywhere else.

use super::prng::Prng;

/// A damaged copy.
pub fn mutate(base: &[u8], prng: &mut Prng) -> Vec<u8> {
    let records = records(base);
    let mut bytes = base.to_vec();
    for _ in 0..prng.between(1, 8) {
        if bytes.len() < 4 {
            break;
        }
        let anywhere = prng.below(bytes.len() as u64) as usize;
        match prng.below(12) {
            0 => bytes[anywhere] ^= 1 << prng.below(8),
            1 => bytes.truncate(anywhere),
            2 => repeat(&mut bytes, anywhere, prng),
            3 => {
                let end = (anywhere + prng.between(1, 200) as usize).min(bytes.len());
                bytes.drain(anywhere..end);
            }
            4 => {
                let junk: Vec<u8> = (0..prng.between(1, 100))
                    .map(|_| prng.word() as u8)
                    .collect();
                bytes.splice(anywhere..anywhere, junk);
            }
            5 => {
                // The file header: magic, link type, snap length, section length.
                let at = prng.below(48.min(bytes.len() as u64 - 3)) as usize;
                extreme(&mut bytes, at, prng);
            }
            6 | 7 => {
                // A record header: times, lengths, block types.
                let at = pick(&records, prng) + prng.below(28) as usize;
                extreme(&mut bytes, at, prng);
            }
            8..=10 => {
                // Link, IP and TCP headers, whichever lie there.
                let at = pick(&records, prng) + 16 + prng.below(80) as usize;
                extreme(&mut bytes, at, prng);
            }
            _ => swap(&mut bytes, &records, prng),
        }
    }
    bytes
}

/// Where records begin, as far as an undamaged file tells.
fn records(base: &[u8]) -> Vec<usize> {
    let word = |at: usize, big: bool| {
        let bytes: [u8; 4] = base.get(at..at + 4)?.try_into().ok()?;
        Some(if big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        } as usize)
    };
    let mut starts = Vec::new();
    if base.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
        let big = base.get(8) == Some(&0x1a);
        let mut at = 0;
        while let Some(length) = word(at + 4, big).filter(|l| *l >= 12) {
            starts.push(at);
            at += length;
        }
    } else {
        let big = base.first() == Some(&0xa1);
        let mut at = 24;
        while let Some(length) = word(at + 8, big) {
            starts.push(at);
            at += 16 + length;
        }
    }
    starts
}

fn pick(records: &[usize], prng: &mut Prng) -> usize {
    records
        .get(prng.below(records.len() as u64) as usize)
        .copied()
        .unwrap_or(0)
}

/// Puts a value that is hard to bear at `at`, one, two or four bytes wide.
fn extreme(bytes: &mut [u8], at: usize, prng: &mut Prng) {
    let values = [
        0,
        1,
        0xff,
        0x7f,
        0x80,
        0xffff,
        0x8000,
        0x7fff_ffff,
        0x8000_0000,
        u32::MAX,
        prng.word(),
    ];
    let value = values[prng.below(values.len() as u64) as usize];
    let width = [1, 2, 4][prng.below(3) as usize];
    let value = if prng.chance(0.5) {
        value.to_le_bytes()
    } else {
        value.to_be_bytes()
    };
    for (offset, byte) in value.iter().take(width).enumerate() {
        if let Some(place) = bytes.get_mut(at + offset) {
            *place = *byte;
        }
    }
}

fn repeat(bytes: &mut Vec<u8>, at: usize, prng: &mut Prng) {
    let end = (at + prng.between(1, 2_000) as usize).min(bytes.len());
    let range = bytes[at..end].to_vec();
    let to = prng.below(bytes.len() as u64) as usize;
    bytes.splice(to..to, range);
}

/// Copies one record over the place of another, in whatever length it has.
fn swap(bytes: &mut [u8], records: &[usize], prng: &mut Prng) {
    let (from, to) = (pick(records, prng), pick(records, prng));
    let length = prng.between(16, 120) as usize;
    if from.max(to) + length <= bytes.len() {
        bytes.copy_within(from..from + length, to);
    }
}
