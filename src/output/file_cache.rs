//! Output files of which there are more than may be open at once.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::hash::Hash;
use std::ops::AddAssign;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use hashbrown::HashMap;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::descriptors::{DescriptorBudget, Permit};
use super::directory::OutputDir;
use super::error::OutputError;

/// What became of the files of a writer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileTotals {
    /// Files created.
    pub files: u64,
    /// Bytes written; holes are not in it.
    pub bytes: u64,
    /// Frames that a flow's capture lacks, since they had been copied into enough others.
    pub left_out: u64,
}

impl AddAssign for FileTotals {
    fn add_assign(&mut self, other: FileTotals) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.left_out += other.left_out;
    }
}

/// A file that was created and goes on being written.
#[derive(Debug)]
struct Live {
    open: Option<(OwnedFd, Permit)>,
    /// The round that wrote to it last.
    used: u64,
}

/// A file at hand.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: OwnedFd,
    /// It was not there before.
    pub(super) created: bool,
    /// Held if it was kept open.
    permit: Option<Permit>,
}

/// The files of one writer, which come round after round, each at most once in a round. A file is
/// created by its first use, kept open between uses as far as the budget allows, and opened again
/// where it could not be.
#[derive(Debug)]
pub(super) struct FileCache<K> {
    dir: Arc<OutputDir>,
    budget: Arc<DescriptorBudget>,
    live: HashMap<K, Live>,
    /// Files kept open, least recently used first. An entry counts only if the file is still open
    /// and was last used in the round that the entry names; others are left over and skipped.
    recent: VecDeque<(K, u64)>,
    /// Files kept open.
    open: usize,
    /// Number of this round.
    now: u64,
}

impl<K: Copy + Eq + Hash + Debug> FileCache<K> {
    /// No files yet, below `dir`.
    pub(super) fn new(dir: Arc<OutputDir>, budget: Arc<DescriptorBudget>) -> FileCache<K> {
        FileCache {
            dir,
            budget,
            live: HashMap::new(),
            recent: VecDeque::new(),
            open: 0,
            now: 0,
        }
    }

    /// Where the files are.
    pub(super) fn dir(&self) -> &OutputDir {
        &self.dir
    }

    /// Begins another round.
    pub(super) fn next_round(&mut self) {
        self.now += 1;
    }

    /// The file of `key`, whose path is `path`. It is created by its first use, and must not have
    /// been there before.
    pub(super) fn open(
        &mut self,
        key: K,
        path: impl FnOnce() -> String,
        access: OFlags,
    ) -> Result<Opened, OutputError> {
        let known = self.live.get_mut(&key);
        let created = known.is_none();
        if let Some((file, permit)) = known.and_then(|live| live.open.take()) {
            self.open -= 1;
            return Ok(Opened {
                file,
                created,
                permit: Some(permit),
            });
        }
        let path = path();
        let (flags, action) = if created {
            (access | OFlags::CREATE | OFlags::EXCL, "create")
        } else {
            (access, "open again")
        };
        let mut opened = self.dir.open(&path, flags);
        if matches!(opened, Err(Errno::MFILE | Errno::NFILE)) {
            // Someone else took descriptors that the budget counted on. Give ours back.
            while self.close_least_recent(u64::MAX) {}
            opened = self.dir.open(&path, flags);
        }
        if created && opened.as_ref().err() == Some(&Errno::NOENT) {
            self.make_directories(&path)?;
            opened = self.dir.open(&path, flags);
        }
        let file = opened.map_err(|errno| match errno {
            Errno::EXIST => OutputError::Occupied {
                path: self.dir.path().join(&path),
            },
            _ => self.dir.failed(action, &path, errno),
        })?;
        Ok(Opened {
            file,
            created,
            permit: None,
        })
    }

    /// Takes a file back until its next round.
    pub(super) fn keep(&mut self, key: K, opened: Opened) {
        let permit = opened.permit.or_else(|| self.find_permit());
        let open = permit.map(|permit| (opened.file, permit));
        if open.is_some() {
            self.open += 1;
            self.recent.push_back((key, self.now));
        }
        let used = self.now;
        self.live.insert(key, Live { open, used });
    }

    /// Nothing more is written to these files.
    pub(super) fn forget(&mut self, keys: impl IntoIterator<Item = K>) {
        for key in keys {
            if let Some(Live { open: Some(_), .. }) = self.live.remove(&key) {
                self.open -= 1;
            }
        }
        // Left-over entries would pile up where nothing is ever closed for want of permits.
        if self.recent.len() > 2 * self.open + 64 {
            let live = &self.live;
            self.recent.retain(|(key, used)| {
                live.get(key)
                    .is_some_and(|l| l.used == *used && l.open.is_some())
            });
        }
    }

    /// Makes the directories that `path` lies in.
    fn make_directories(&self, path: &str) -> Result<(), OutputError> {
        path.match_indices('/')
            .try_for_each(|(end, _)| self.dir.make_directory(&path[..end]))
    }

    /// A permit for one more open file: a free one, or that of a file which this round has not
    /// used. (Taking one from a file of the same round would only trade one file for another.)
    fn find_permit(&mut self) -> Option<Permit> {
        self.budget.acquire().or_else(|| {
            self.close_least_recent(self.now);
            self.budget.acquire()
        })
    }

    /// Closes the file used longest ago, if that was before round number `before`.
    fn close_least_recent(&mut self, before: u64) -> bool {
        while let Some(&(key, used)) = self.recent.front() {
            if used >= before {
                return false;
            }
            self.recent.pop_front();
            if let Some(live) = self.live.get_mut(&key)
                && live.used == used
                && live.open.take().is_some()
            {
                self.open -= 1;
                return true;
            }
        }
        false
    }
}
