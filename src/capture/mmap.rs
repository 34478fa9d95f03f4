//! The memory map: the one place of this room with `unsafe` in it.

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Mmap, UncheckedAdvice};

/// Maps the whole of `file`, read-only.
///
/// The map is of a file that others may change, and no program can prevent that on Linux. What
/// that means is said here once, since nobody above can do better:
///
/// - A file that *grows* is harmless: the map keeps the length it was made with.
/// - A file that is *truncated* while mapped raises SIGBUS on the first touch beyond its new end,
///   which ends the process. Nothing wrong is written before that, and no manifest after it.
/// - A file that is *overwritten* changes bytes behind a shared reference. The language calls that
///   undefined behaviour. What this crate does about it: it reads bytes and integers only, never
///   a type with invalid values; and it bounds-checks against lengths that it copied before.
///
/// Who must read a file that is still written to passes `use_mmap = false`.
#[expect(
    unsafe_code,
    reason = "memmap2 cannot know who else writes to the file"
)]
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is read-only and private to this process; that no other process changes the
    // file is assumed and cannot be checked, see above.
    unsafe { Mmap::map(file) }
}

/// Gives the memory of a range back to the system, as far as it is of this map alone: the file's bytes stay
/// in the cache of the system, and are there again when they are asked for. That it cannot be done is no
/// error: then it is done with the whole map, at the end.
#[expect(unsafe_code, reason = "other maps than this one would lose bytes")]
pub(super) fn let_go(map: &Mmap, range: Range<usize>) {
    if range.start < range.end && range.end <= map.len() {
        // SAFETY: the map is read-only and of a file, so whoever reads the range again sees the bytes of the
        // file, as before; references into it stay valid.
        let done = unsafe {
            map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len())
        };
        drop(done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_was_let_go_of_is_there_again() {
        let bytes: Vec<u8> = (0..100_000u32)
            .map(|at| at.to_le_bytes()[0] ^ 0x5a)
            .collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let map = map(&file).unwrap();
        assert_eq!(&map[..], &bytes[..]);
        let_go(&map, 5_000..90_000);
        let_go(&map, 90_000..100_001);
        assert_eq!(&map[..], &bytes[..]);
    }
}
