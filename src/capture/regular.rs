//! Regular files: mapped into memory, or read where they are needed.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use memmap2::Mmap;

use super::mmap;

/// Files that are kept open at the same time where they are read and not mapped.
pub(super) const MOST_OPEN: usize = 8;

/// Which file a path led to, so that another one in its place is noticed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The file that this is about.
    pub(super) fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Files kept open, the one used longest ago first. A capture may consist of more files than a
/// process may have open.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Mutex<VecDeque<(Identity, Arc<File>)>>);

impl OpenFiles {
    /// The file at `path`, which must still be the one that it was.
    fn get(&self, path: &Path, identity: Identity) -> io::Result<Arc<File>> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|(known, _)| *known == identity) {
            let entry = open.remove(at);
            open.extend(entry);
        } else {
            let file = open_same(path, identity)?;
            if open.len() >= MOST_OPEN {
                open.pop_front();
            }
            open.push_back((identity, Arc::new(file)));
        }
        let newest = open.back().map(|(_, file)| Arc::clone(file));
        newest.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Opens `path`, and fails where another file than before is there.
pub(super) fn open_same(path: &Path, identity: Identity) -> io::Result<File> {
    let file = File::open(path)?;
    if Identity::of(&file.metadata()?) != identity {
        return Err(io::Error::other("another file took its place"));
    }
    Ok(file)
}

/// A regular file that was looked at, opened when it is needed.
#[derive(Debug)]
pub(super) struct Regular {
    path: PathBuf,
    identity: Identity,
    len: u64,
    use_mmap: bool,
    map: OnceLock<Mmap>,
    open: Arc<OpenFiles>,
}

impl Regular {
    /// The file at `path`, of `len` bytes.
    pub(super) fn new(
        path: &Path,
        identity: Identity,
        len: u64,
        use_mmap: bool,
        open: Arc<OpenFiles>,
    ) -> Regular {
        Regular {
            path: path.into(),
            identity,
            len,
            use_mmap,
            map: OnceLock::new(),
            open,
        }
    }

    /// Its length when it was looked at, bytes.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// The bytes from `from` on: all of them where the file is mapped, otherwise `wanted` or as many
    /// as there are.
    pub(super) fn window(&self, from: u64, wanted: u64) -> io::Result<Cow<'_, [u8]>> {
        if self.use_mmap {
            let start = usize::try_from(from).unwrap_or(usize::MAX);
            return Ok(Cow::Borrowed(
                self.mapped()?.get(start..).unwrap_or_default(),
            ));
        }
        let wanted = wanted.min(self.len.saturating_sub(from));
        let (data, error) = self.pread(from, usize::try_from(wanted).map_err(io::Error::other)?);
        error.map_or(Ok(Cow::Owned(data)), Err)
    }

    /// The `len` bytes at `from`, and why they are fewer.
    pub(super) fn read(&self, from: u64, len: usize) -> (Cow<'_, [u8]>, Option<io::Error>) {
        if !self.use_mmap {
            let (data, error) = self.pread(from, len);
            return (Cow::Owned(data), error);
        }
        let map = match self.mapped() {
            Ok(map) => map,
            Err(error) => return (Cow::Borrowed(&[]), Some(error)),
        };
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        let rest = map.get(start..).unwrap_or_default();
        match rest.get(..len) {
            Some(data) => (Cow::Borrowed(data), None),
            None => (
                Cow::Borrowed(rest),
                Some(ends_early(from + len as u64, self.len)),
            ),
        }
    }

    /// The bytes of a range are hardly needed any more.
    pub(super) fn let_go(&self, range: Range<u64>) {
        let bound = |at: u64| usize::try_from(at.min(self.len)).unwrap_or(usize::MAX);
        if let Some(map) = self.map.get() {
            mmap::let_go(map, bound(range.start)..bound(range.end));
        }
    }

    fn mapped(&self) -> io::Result<&[u8]> {
        let map = if let Some(map) = self.map.get() {
            map
        } else {
            let map = mmap::map(&open_same(&self.path, self.identity)?)?;
            if (map.len() as u64) < self.len {
                return Err(ends_early(self.len, map.len() as u64));
            }
            self.map.get_or_init(|| map)
        };
        let len = usize::try_from(self.len).unwrap_or(usize::MAX);
        Ok(map.get(..len).unwrap_or_default())
    }

    fn pread(&self, from: u64, len: usize) -> (Vec<u8>, Option<io::Error>) {
        let file = match self.open.get(&self.path, self.identity) {
            Ok(file) => file,
            Err(error) => return (Vec::new(), Some(error)),
        };
        let mut data = vec![0; len];
        let (got, error) = read_at(&file, &mut data, from);
        data.truncate(got);
        let error = match error {
            None if got < len => Some(ends_early(from + len as u64, from + got as u64)),
            error => error,
        };
        (data, error)
    }
}

/// Fills `buffer` from offset `from` as far as there are bytes and no error.
pub(super) fn read_at(file: &File, buffer: &mut [u8], from: u64) -> (usize, Option<io::Error>) {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, from + got as u64) {
            Ok(0) => break,
            Ok(bytes) => got += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (got, Some(error)),
        }
    }
    (got, None)
}

/// The bytes up to `expected` were asked for, and there are `end`.
pub(super) fn ends_early(expected: u64, end: u64) -> io::Error {
    let text = format!("the file ends at byte {end} and was expected to reach byte {expected}");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}
