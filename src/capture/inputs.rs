//! All captures of the input, in the order in which they are processed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope};

use super::error::CaptureError;
use super::feed::{self, Halt};
use super::find::{self, Search, Skipped};
use super::input::Input;
use super::natural;
use super::regular::{self, Identity, OpenFiles};
use super::spool::Spool;
use crate::model::{InputPos, PayloadSource};

/// The most files of one input: [`InputPos`] and `file_id` have 16 bits for their number.
const MOST_FILES: usize = 1 << 16;
/// With more files than this they are read and not mapped, since the number of mappings that a
/// process may have is limited too (65,530 on Linux).
const MOST_MAPS: usize = 1 << 14;

/// Compressed files that are decompressed at the same time. A decoder may take a quarter of a
/// gibibyte of memory.
const MOST_FEEDERS: usize = 4;

/// One capture, that may lie in several files.
pub struct Inputs {
    list: Vec<Input>,
    skipped: Vec<Skipped>,
    halt: Halt,
}

/// Ends what feeds the input when it is dropped: nobody reads it any more.
pub struct Feeding(Halt);

impl Drop for Feeding {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

impl Inputs {
    /// Finds and looks at the captures that `arguments` name: files, directories of captures,
    /// patterns that the shell has left alone, and `-` for standard input. They are put in the order of the times at
    /// which they begin, those without any behind the others; at equal times in the natural order of their paths.
    ///
    /// What is no capture is an error where it was named, and is skipped in a directory; a file without
    /// bytes is skipped where others were named, as a capture program makes the next one early. When
    /// `interrupted` becomes true, streams end where they stand.
    pub fn open(
        arguments: &[PathBuf],
        search: &Search,
        use_mmap: bool,
        interrupted: &Arc<AtomicBool>,
    ) -> Result<Inputs, CaptureError> {
        let halt = Halt {
            interrupted: Arc::clone(interrupted),
            ..Halt::default()
        };
        let found = find::find(arguments, search)?;
        let mut skipped = found.skipped;
        let (candidates, open) = (found.candidates, Arc::<OpenFiles>::default());
        let use_mmap = use_mmap && candidates.len() <= MOST_MAPS;
        let mut list = Vec::new();
        let several = candidates.len() > 1;
        let mut empty = None;
        for candidate in candidates {
            let path = &candidate.path;
            let looked = if feed::is_standard_input(path) {
                Input::standard_input(path, &halt)
            } else {
                Input::look(path, use_mmap, &open, &halt)
            };
            match looked {
                Ok(input) => list.push(input),
                Err(error)
                    if error.is_no_capture() && !candidate.named || error.is_empty() && several =>
                {
                    skipped.push(Skipped {
                        path: candidate.path,
                        reason: error.without_path(),
                    });
                    if candidate.named {
                        empty.get_or_insert(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if list.is_empty() {
            return Err(empty.unwrap_or_else(|| CaptureError::NoCapture {
                path: arguments.first().cloned().unwrap_or_default(),
                files: skipped.len(),
                first: skipped.into_iter().next(),
            }));
        }
        if list.len() > MOST_FILES {
            return Err(CaptureError::TooMany { files: list.len() });
        }
        let mut inputs = Inputs {
            list,
            skipped,
            halt,
        };
        inputs.put_in_order();
        Ok(inputs)
    }

    fn put_in_order(&mut self) {
        self.list.sort_by(|a, b| {
            let times = a.begins().cmp(&b.begins());
            times.then_with(|| natural::compare(a.path(), b.path()))
        });
        for (file, input) in (0..=u16::MAX).zip(&mut self.list) {
            input.set_file(file);
        }
    }

    /// The captures, by number.
    pub fn list(&self) -> &[Input] {
        &self.list
    }

    /// Tells whether the file that metadata is about is one of them, by whatever name.
    pub fn matcher(&self) -> impl Fn(&Metadata) -> bool {
        let known: BTreeSet<Identity> = self.list.iter().filter_map(Input::identity).collect();
        move |metadata| known.contains(&Identity::of(metadata))
    }

    /// Files that were not read, and why.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Descriptors that reading the input may take.
    pub fn descriptors(&self) -> usize {
        let streams = self.streams().count().min(MOST_FEEDERS + 2);
        regular::MOST_OPEN.min(self.list.len()) + streams
    }

    /// Whether the run was stopped before all of the input arrived.
    pub fn is_stopped(&self) -> bool {
        self.streams().any(Input::is_stopped)
    }

    /// Ends streams where they stand.
    pub fn stop(&self) {
        self.halt.over.store(true, Ordering::Relaxed);
    }

    /// Keeps what is decompressed or comes in on standard input in a file in `directory`, which `create`
    /// gives; to be called before [`Inputs::feed`].
    ///
    /// Only now can standard input be read so far that it is known when it begins; so files may get
    /// other numbers.
    pub fn keep_in(
        &mut self,
        directory: &Path,
        create: impl FnOnce() -> io::Result<File>,
    ) -> Result<(), CaptureError> {
        let Some(first) = self.streams().next() else {
            return Ok(());
        };
        let file = create().map_err(|error| CaptureError::Spool {
            path: first.path().to_path_buf(),
            directory: directory.to_path_buf(),
            reason: error.to_string(),
        })?;
        let spool = Arc::new(Spool::new(directory, file));
        for spooled in self.streams().filter_map(Input::spooled) {
            spooled.keep_in(&spool);
        }
        for input in &mut self.list {
            input.look_on(&self.halt);
        }
        self.put_in_order();
        Ok(())
    }

    /// What was kept of streams is not read any more.
    pub fn let_go_of_spool(&self) {
        if let Some(spool) = self.streams().find_map(|input| input.spooled()?.spool()) {
            spool.let_go();
        }
    }

    /// Begins to feed what is decompressed or comes in on standard input, with at most so many
    /// threads for the former.
    pub fn feed<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        threads: usize,
    ) -> io::Result<Feeding> {
        let feeding = Feeding(self.halt.clone());
        let spawn = |work: Box<dyn FnOnce() + Send + 'scope>| {
            let named = thread::Builder::new().name("bulkreasm-feed".to_owned());
            named.spawn_scoped(scope, work).map(|_| ())
        };
        let (live, files): (Vec<&Input>, Vec<&Input>) = self.streams().partition(|i| i.is_live());
        for input in live {
            spawn(Box::new(|| input.feed(&self.halt)))?;
        }
        let threads = threads.min(MOST_FEEDERS).min(files.len());
        let (files, next) = (Arc::new(files), Arc::new(AtomicUsize::new(0)));
        for _ in 0..threads {
            let (files, next) = (Arc::clone(&files), Arc::clone(&next));
            spawn(Box::new(move || {
                while let Some(input) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    input.feed(&self.halt);
                }
            }))?;
        }
        Ok(feeding)
    }

    fn streams(&self) -> impl Iterator<Item = &Input> {
        self.list.iter().filter(|input| input.spooled().is_some())
    }

    /// The first input whose payload could not be read, and why.
    pub fn read_error(&self) -> Option<(&Input, &io::Error)> {
        self.list
            .iter()
            .find_map(|input| input.read_error().map(|error| (input, error)))
    }
}

impl PayloadSource for Inputs {
    fn read(&self, at: InputPos, len: u32) -> Cow<'_, [u8]> {
        match self.list.get(usize::from(at.file())) {
            Some(input) => input.read(at, len),
            None => Cow::Borrowed(&[]),
        }
    }
}
