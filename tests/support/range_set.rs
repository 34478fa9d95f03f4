//! A set of stream offsets, kept as sorted ranges.

/// Sorted, disjoint, non-adjacent half-open ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<(u64, u64)>,
}

impl RangeSet {
    /// Adds the offsets from `start` up to `end`.
    pub fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        // Nearly every addition continues the last range.
        match self.ranges.last_mut() {
            None => return self.ranges.push((start, end)),
            Some(last) if start > last.1 => return self.ranges.push((start, end)),
            Some(last) if start >= last.0 => return last.1 = last.1.max(end),
            Some(_) => {}
        }
        let from = self.ranges.partition_point(|r| r.1 < start);
        let to = self.ranges.partition_point(|r| r.0 <= end);
        let merged = self.ranges[from..to]
            .iter()
            .fold((start, end), |m, r| (m.0.min(r.0), m.1.max(r.1)));
        self.ranges.splice(from..to, [merged]);
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Whether this offset is in the set.
    pub fn contains(&self, offset: u64) -> bool {
        let at = self.ranges.partition_point(|r| r.1 <= offset);
        self.ranges.get(at).is_some_and(|r| r.0 <= offset)
    }

    /// The end of the last range; 0 in an empty set.
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |r| r.1)
    }

    /// How many offsets are in the set.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|r| r.1 - r.0).sum()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges below `span` that are not in the set.
    pub fn holes(&self, span: u64) -> Vec<(u64, u64)> {
        let mut holes = Vec::new();
        let mut at = 0;
        for &(start, end) in &self.ranges {
            if start > at {
                holes.push((at, start.min(span)));
            }
            at = end;
        }
        if at < span {
            holes.push((at, span));
        }
        holes.retain(|h| h.0 < h.1);
        holes
    }

    /// The part of `start..end` that lies in the set.
    pub fn within(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let from = self.ranges.partition_point(|r| r.1 <= start);
        self.ranges[from..]
            .iter()
            .take_while(|r| r.0 < end)
            .map(|r| (r.0.max(start), r.1.min(end)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::prng::Prng;
    use super::*;

    #[test]
    fn agrees_with_a_bitmap() {
        let mut prng = Prng::new(3);
        for _ in 0..300 {
            let mut set = RangeSet::default();
            let mut bits = [false; 64];
            for _ in 0..12 {
                let start = prng.below(60);
                let end = (start + prng.below(12)).min(64);
                set.add(start, end);
                bits[start as usize..(end as usize).max(start as usize)].fill(true);
                for (offset, bit) in bits.iter().enumerate() {
                    assert_eq!(set.contains(offset as u64), *bit);
                }
                assert!(set.ranges().windows(2).all(|w| w[0].1 < w[1].0), "{set:?}");
                let missing: u64 = set.holes(64).iter().map(|h| h.1 - h.0).sum();
                assert_eq!(missing + set.len(), 64);
            }
        }
    }
}
