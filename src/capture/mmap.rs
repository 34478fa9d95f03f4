//! The memory map: the one place of this room with `unsafe` in it.

use std::fs::File;
use std::io;

use memmap2::Mmap;

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
