//! Payload that can be told from its place: a pure function of seed, flow, direction and offset.
//!
//! Truth about a stream is then computed without keeping a byte of it, and a byte that lands one
//! place off, in another flow or in the other direction is a wrong byte.

use super::prng::mix;

/// The content of one half-stream.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    key: u64,
}

impl Content {
    /// The content of this direction (0 or 1) of this flow.
    pub fn new(seed: u64, flow: u64, direction: usize) -> Content {
        Content {
            key: mix(mix(mix(seed) ^ flow) ^ direction as u64),
        }
    }

    fn word(self, index: u64) -> [u8; 8] {
        mix(self.key ^ index).to_le_bytes()
    }

    /// Fills `out` with the bytes from stream offset `offset` on.
    pub fn fill(self, offset: u64, out: &mut [u8]) {
        let skip = (offset % 8) as usize;
        let mut index = offset / 8;
        let (head, rest) = out.split_at_mut(if skip == 0 {
            0
        } else {
            (8 - skip).min(out.len())
        });
        if !head.is_empty() {
            head.copy_from_slice(&self.word(index)[skip..skip + head.len()]);
            index += 1;
        }
        let mut words = rest.chunks_exact_mut(8);
        for chunk in &mut words {
            chunk.copy_from_slice(&self.word(index));
            index += 1;
        }
        let tail = words.into_remainder();
        let len = tail.len();
        tail.copy_from_slice(&self.word(index)[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_bytes() {
        let content = Content::new(1, 2, 0);
        let mut whole = [0; 64];
        content.fill(0, &mut whole);
        for start in 0..40 {
            for len in 0..24 {
                let mut part = vec![0; len];
                content.fill(start as u64, &mut part);
                assert_eq!(part, whole[start..start + len], "{len} bytes at {start}");
            }
        }
    }

    #[test]
    fn flows_and_directions_differ() {
        let first = |flow, direction| {
            let mut bytes = [0; 8];
            Content::new(1, flow, direction).fill(0, &mut bytes);
            bytes
        };
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
    }
}
