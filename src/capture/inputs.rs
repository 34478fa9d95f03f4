//! All captures of the input, in the order in which they are processed.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::CaptureError;
use super::find::{self, Skipped};
use super::input::Input;
use super::regular::{self, OpenFiles};
use crate::model::{InputPos, PayloadSource};

/// The most files of one input: [`InputPos`] and `file_id` have 16 bits for their number.
const MOST_FILES: usize = 1 << 16;
/// With more files than this they are read and not mapped, since the number of mappings that a
/// process may have is limited too (65,530 on Linux).
const MOST_MAPS: usize = 1 << 14;

/// One capture, that may lie in several files.
pub struct Inputs {
    list: Vec<Input>,
    skipped: Vec<Skipped>,
}

impl Inputs {
    /// Finds and looks at the captures that `arguments` name: files, directories of captures, and
    /// patterns that the shell has left alone. They are put in the order of their first frames'
    /// times, those without any behind the others; at equal times in the order of their paths.
    ///
    /// What is no capture is an error where it was named, and is skipped in a directory.
    pub fn open(arguments: &[PathBuf], use_mmap: bool) -> Result<Inputs, CaptureError> {
        let found = find::find(arguments)?;
        let mut skipped = found.skipped;
        let (candidates, open) = (found.candidates, Arc::<OpenFiles>::default());
        let use_mmap = use_mmap && candidates.len() <= MOST_MAPS;
        let mut list = Vec::new();
        for candidate in candidates {
            match Input::look(&candidate.path, use_mmap, &open) {
                Ok(input) => list.push(input),
                Err(error) if !candidate.named && error.is_no_capture() => skipped.push(Skipped {
                    path: candidate.path,
                    reason: error.without_path(),
                }),
                Err(error) => return Err(error),
            }
        }
        if list.is_empty() {
            return Err(CaptureError::NoCapture {
                path: arguments.first().cloned().unwrap_or_default(),
                files: skipped.len(),
            });
        }
        if list.len() > MOST_FILES {
            return Err(CaptureError::TooMany { files: list.len() });
        }
        list.sort_by(|a, b| (a.begins(), a.path()).cmp(&(b.begins(), b.path())));
        for (file, input) in (0..=u16::MAX).zip(&mut list) {
            input.set_file(file);
        }
        Ok(Inputs { list, skipped })
    }

    /// The captures, by number.
    pub fn list(&self) -> &[Input] {
        &self.list
    }

    /// Files that were not read, and why.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Descriptors that reading the input may take.
    pub fn descriptors(&self) -> usize {
        regular::MOST_OPEN.min(self.list.len())
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
