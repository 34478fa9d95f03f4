//! A list of which nothing moves while it grows.

/// Values in blocks of `BLOCK`, each of its own memory. A list that doubles copies everything in it once
/// more and touches fresh memory for it, which with large values costs more than what is done with them.
#[derive(Debug)]
pub struct Blocks<T, const BLOCK: usize>(Vec<Vec<T>>);

impl<T, const BLOCK: usize> Default for Blocks<T, BLOCK> {
    fn default() -> Self {
        Blocks(Vec::new())
    }
}

impl<T, const BLOCK: usize> Blocks<T, BLOCK> {
    /// Appends a value.
    #[expect(
        clippy::inline_always,
        reason = "a call for every segment, whose value is large and would be copied twice"
    )]
    #[inline(always)]
    pub fn push(&mut self, value: T) {
        if self.0.last().is_none_or(|block| block.len() >= BLOCK) {
            self.begin_block();
        }
        if let Some(block) = self.0.last_mut() {
            block.push(value);
        }
    }

    #[cold]
    #[inline(never)]
    fn begin_block(&mut self) {
        self.0.push(Vec::with_capacity(BLOCK));
    }

    /// The value at `at`, from 0.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.0.get(at / BLOCK)?.get(at % BLOCK)
    }

    /// The value at `at`, from 0, to be changed.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.0.get_mut(at / BLOCK)?.get_mut(at % BLOCK)
    }

    /// All values, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    /// All values, in the order in which they came, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_order_and_their_place() {
        let mut blocks = Blocks::<u32, 4>::default();
        blocks.push(0);
        let first: *const u32 = blocks.get(0).unwrap();
        (1..11).for_each(|value| blocks.push(value));
        assert_eq!(first, blocks.get(0).unwrap());
        assert!(blocks.iter().copied().eq(0..11));
        assert_eq!((blocks.get(7), blocks.get(11)), (Some(&7), None));
        *blocks.get_mut(7).unwrap() = 70;
        blocks.iter_mut().for_each(|value| *value += 1);
        assert_eq!(blocks.get(7), Some(&71));
        assert_eq!(blocks.get_mut(12), None);
    }
}
