//! Bytes that arrive one after another, kept where they can be had by offset.
//!
//! Payload is referred to and never held: a segment is a position in the input, and its bytes are
//! read when they are written or compared with another copy, which may be hours of capture later.
//! What a decompressor or a pipe gives can be had once only. So it goes to one file without a name,
//! in the output directory, and is read from there as from any capture; the file takes as much room
//! as the capture without compression, until the run is over.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard,
    RwLockWriteGuard,
};
use std::time::{Duration, Instant};

use super::regular::read_at;
use crate::model::InputPos;

/// Bytes that one stream gets of the file at a time.
const BLOCK: u64 = 1 << 20;
/// How long more bytes are waited for when there are some, but not as many as wanted.
const PATIENCE: Duration = Duration::from_millis(200);

/// The file, shared by all streams so that it takes one descriptor.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    file: File,
    next: AtomicU64,
}

impl Spool {
    /// In `file`, which has no name, in `directory`.
    pub(super) fn new(directory: &Path, file: File) -> Spool {
        Spool {
            directory: directory.to_path_buf(),
            file,
            next: AtomicU64::new(0),
        }
    }

    /// Nothing is read from it any more.
    pub(super) fn let_go(&self) {
        // What stays takes room until the run is over, as it did before.
        let _ = self.file.set_len(0);
    }

    /// Where the file is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// How a stream ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// Nothing follows.
    Clean,
    /// More should follow and cannot be had: what is wrong.
    Damaged(String),
    /// The run was stopped before.
    Stopped,
    /// It could not be read.
    Unreadable(io::ErrorKind, String),
    /// It could not be kept.
    Unkept(io::ErrorKind, String),
}

/// One stream: written by one thread, and read at any offset by others.
#[derive(Debug, Default)]
pub(super) struct Spooled {
    spool: OnceLock<Arc<Spool>>,
    /// Where its blocks lie in the file.
    blocks: RwLock<Vec<u64>>,
    /// Bytes that have arrived; it grows while `end` is locked.
    len: AtomicU64,
    end: Mutex<Option<End>>,
    more: Condvar,
}

impl Spooled {
    /// Gives it a file to write to.
    pub(super) fn keep_in(&self, spool: &Arc<Spool>) {
        // Only the first counts, and there is one only.
        let _ = self.spool.set(Arc::clone(spool));
    }

    /// The file that it is written to.
    pub(super) fn spool(&self) -> Option<&Spool> {
        self.spool.get().map(Arc::as_ref)
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<End> {
        self.lock().clone()
    }

    /// Its length, where all of it has arrived.
    pub(super) fn whole(&self) -> Option<u64> {
        let whole = matches!(*self.lock(), Some(End::Clean | End::Damaged(_)));
        whole.then(|| self.len())
    }

    /// Adds bytes at its end. One thread does.
    pub(super) fn append(&self, mut bytes: &[u8]) -> io::Result<()> {
        let spool = self.spool.get().ok_or(io::ErrorKind::NotConnected)?;
        let mut len = self.len();
        if len + bytes.len() as u64 >= 1 << InputPos::OFFSET_BITS {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        while !bytes.is_empty() {
            let within = len % BLOCK;
            if within == 0 {
                let block = spool.next.fetch_add(BLOCK, Ordering::Relaxed);
                self.blocks_mut().push(block);
            }
            let room = usize::try_from(BLOCK - within).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            let block = self.blocks().last().copied().unwrap_or(0);
            spool.file.write_all_at(now, block + within)?;
            len += now.len() as u64;
            bytes = rest;
        }
        let end = self.lock();
        self.len.store(len, Ordering::Release);
        drop(end);
        self.more.notify_all();
        Ok(())
    }

    /// Nothing follows. Only the first end counts.
    pub(super) fn end(&self, end: End) {
        self.lock().get_or_insert(end);
        self.more.notify_all();
    }

    /// The bytes from `from` on, and whether the stream ends with them: `wanted` of them, fewer at the
    /// end, and fewer, but not fewer than `least`, where more do not arrive for a while.
    pub(super) fn window(&self, from: u64, least: u64, wanted: u64) -> io::Result<(Vec<u8>, bool)> {
        let (len, whole) = self.wait(from.saturating_add(least), from.saturating_add(wanted))?;
        let size = wanted.min(len.saturating_sub(from));
        let (data, error) = self.read(from, usize::try_from(size).map_err(io::Error::other)?);
        match error {
            Some(error) => Err(error),
            None => Ok((data, whole && from + size >= len)),
        }
    }

    /// Waits until the stream is as long, and gives its length, and whether that is all of it.
    fn wait(&self, least: u64, wanted: u64) -> io::Result<(u64, bool)> {
        let until = Instant::now() + PATIENCE;
        let mut end = self.lock();
        loop {
            let len = self.len();
            match &*end {
                Some(End::Unreadable(kind, text) | End::Unkept(kind, text)) => {
                    return Err(io::Error::new(*kind, text.clone()));
                }
                Some(End::Clean | End::Damaged(_)) => return Ok((len, true)),
                Some(End::Stopped) => return Ok((len, false)),
                None => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if len >= wanted || len >= least && left.is_zero() {
                return Ok((len, false));
            }
            end = if len >= least {
                let waited = self.more.wait_timeout(end, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let waited = self.more.wait(end);
                waited.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// The `len` bytes at `from`, as far as they have arrived, and why they are fewer.
    pub(super) fn read(&self, from: u64, len: usize) -> (Vec<u8>, Option<io::Error>) {
        let there = usize::try_from(self.len().saturating_sub(from)).unwrap_or(usize::MAX);
        let mut data = vec![0; len.min(there)];
        let (got, error) = self.fill(from, &mut data);
        data.truncate(got);
        let short = || (got < len).then(|| io::ErrorKind::UnexpectedEof.into());
        (data, error.or_else(short))
    }

    /// Fills `data` with what lies at `from`.
    fn fill(&self, from: u64, data: &mut [u8]) -> (usize, Option<io::Error>) {
        let mut done = 0;
        while let Some(rest) = data.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = from + done as u64;
            let block = usize::try_from(at / BLOCK)
                .ok()
                .and_then(|number| self.blocks().get(number).copied());
            let (Some(block), Some(spool)) = (block, self.spool.get()) else {
                break;
            };
            let room = usize::try_from(BLOCK - at % BLOCK).unwrap_or(usize::MAX);
            let part = rest.len().min(room);
            let part = rest.get_mut(..part).unwrap_or_default();
            let (got, error) = read_at(&spool.file, part, block + at % BLOCK);
            let short = got < part.len();
            done += got;
            if short {
                return (done, error);
            }
        }
        (done, None)
    }

    fn lock(&self) -> MutexGuard<'_, Option<End>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blocks(&self) -> RwLockReadGuard<'_, Vec<u64>> {
        self.blocks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn blocks_mut(&self) -> RwLockWriteGuard<'_, Vec<u64>> {
        self.blocks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn spooled(spool: &Arc<Spool>) -> Spooled {
        let stream = Spooled::default();
        stream.keep_in(spool);
        stream
    }

    #[test]
    fn streams_share_a_file_and_are_read_at_any_offset() {
        let base = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::new(
            base.path(),
            tempfile::tempfile_in(base.path()).unwrap(),
        ));
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
        let streams = [spooled(&spool), spooled(&spool)];
        let byte =
            |at: usize, which: usize| u8::try_from((at * 7 + at / 1000 + which) % 251).unwrap();
        let all = [0, 1].map(|which| {
            (0..3_000_000)
                .map(|at| byte(at, which))
                .collect::<Vec<u8>>()
        });
        let mut at = 0;
        for size in [1, 1_000_000, 5, 1_500_000, 400_000, 99_994] {
            for (stream, bytes) in streams.iter().zip(&all) {
                stream.append(&bytes[at..at + size]).unwrap();
            }
            at += size;
        }
        for (stream, bytes) in streams.iter().zip(&all) {
            for (from, len) in [
                (0, 3_000_000),
                (1_048_575, 2),
                (1_048_576, 1),
                (2_999_999, 1),
            ] {
                let (data, error) = stream.read(from as u64, len);
                assert!(data == bytes[from..from + len] && error.is_none());
            }
            let (data, error) = stream.read(2_999_990, 20);
            assert!(data.len() < 20 && error.is_some());
        }
    }

    #[test]
    fn a_window_waits_for_what_it_needs() {
        let base = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::new(
            base.path(),
            tempfile::tempfile_in(base.path()).unwrap(),
        ));
        let stream = spooled(&spool);
        stream.append(b"abc").unwrap();
        // Less than wanted, and none of it late.
        assert_eq!(stream.window(1, 1, 99).unwrap(), (b"bc".to_vec(), false));
        assert_eq!(stream.window(0, 1, 2).unwrap(), (b"ab".to_vec(), false));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| stream.window(0, 4, 4).unwrap());
            stream.append(b"de").unwrap();
            assert_eq!(waiting.join().unwrap(), (b"abcd".to_vec(), false));
            let waiting = scope.spawn(|| stream.window(3, 3, 3).unwrap());
            stream.end(End::Clean);
            assert_eq!(waiting.join().unwrap(), (b"de".to_vec(), true));
        });
        assert_eq!(stream.window(9, 1, 1).unwrap(), (Vec::new(), true));
        assert_eq!(stream.whole(), Some(5));
        stream.end(End::Stopped);
        assert_eq!(stream.whole(), Some(5), "the first end counts");
    }

    #[test]
    fn what_cannot_be_had_or_kept_is_an_error_for_the_reader() {
        let base = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::new(
            base.path(),
            tempfile::tempfile_in(base.path()).unwrap(),
        ));
        for end in [End::Unreadable, End::Unkept] {
            let stream = spooled(&spool);
            stream.end(end(io::ErrorKind::StorageFull, "full".to_owned()));
            let error = stream.window(0, 1, 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert_eq!(stream.whole(), None);
        }
        let stream = spooled(&spool);
        stream.end(End::Stopped);
        assert_eq!(stream.window(0, 1, 1).unwrap(), (Vec::new(), false));
    }
}
