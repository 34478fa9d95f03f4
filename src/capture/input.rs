//! One capture of the input.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::error::CaptureError;
use super::head::{self, FormatInfo, NoHead};
use super::regular::{Identity, OpenFiles, Regular, open_same};
use super::state::{WalkState, Window};
use crate::model::{InputPos, PayloadSource, Timestamp};

/// One capture of the input, whose beginning has been looked at.
pub struct Input {
    path: PathBuf,
    file: u16,
    bytes: Regular,
    start: WalkState,
    info: FormatInfo,
    first_ts: Timestamp,
    error: OnceLock<io::Error>,
}

impl Input {
    /// Looks at the capture at `path`, which becomes file number `file`.
    ///
    /// With `use_mmap` the file is mapped into memory; a file that shrinks meanwhile then ends the
    /// process. Without, it is read in blocks, and shrinking is an error like any other.
    pub fn open(path: &Path, file: u16, use_mmap: bool) -> Result<Input, CaptureError> {
        let mut input = Input::look(path, use_mmap, &Arc::default())?;
        input.file = file;
        Ok(input)
    }

    /// As [`Input::open`], but the number is still to be given.
    pub(super) fn look(
        path: &Path,
        use_mmap: bool,
        open: &Arc<OpenFiles>,
    ) -> Result<Input, CaptureError> {
        let io_error = |action| {
            move |source: io::Error| CaptureError::from_io(path.to_path_buf(), action, source)
        };
        // Looked at before it is opened, since opening a pipe without a writer never returns.
        let metadata = fs::metadata(path).map_err(io_error("look at it"))?;
        if metadata.is_dir() {
            return Err(CaptureError::Directory { path: path.into() });
        }
        if !metadata.is_file() {
            return Err(CaptureError::NotRegular { path: path.into() });
        }
        let identity = Identity::of(&metadata);
        let mut handle = open_same(path, identity).map_err(io_error("open it"))?;
        let len = handle.metadata().map_err(io_error("look at it"))?.len();
        if len >= 1 << InputPos::OFFSET_BITS {
            return Err(CaptureError::TooLarge {
                path: path.into(),
                bytes: len,
            });
        }
        let head = head::read(path, &mut handle).map_err(|error| match error {
            NoHead::Capture(error) => error,
            NoHead::Read(error) => io_error("read it")(error),
        })?;
        Ok(Input {
            path: path.into(),
            file: 0,
            bytes: Regular::new(path, identity, len, use_mmap, Arc::clone(open)),
            start: head.start,
            info: head.info,
            first_ts: head.first_ts,
            error: OnceLock::new(),
        })
    }

    /// Gives it its number.
    pub(super) const fn set_file(&mut self, file: u16) {
        self.file = file;
    }

    /// Length of the file when it was looked at, bytes.
    #[expect(clippy::len_without_is_empty, reason = "an empty file is not opened")]
    pub const fn len(&self) -> u64 {
        self.bytes.len()
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its number.
    pub const fn file(&self) -> u16 {
        self.file
    }

    /// Its format.
    pub const fn format(&self) -> &FormatInfo {
        &self.info
    }

    /// The state in which a walk of the whole file begins.
    pub fn start(&self) -> WalkState {
        self.start.clone()
    }

    /// The time before which no frame of it has its place in the order of all captures' frames: that
    /// of the first frame, and the end of time where that is not known.
    pub fn begins(&self) -> Timestamp {
        match self.first_ts {
            Timestamp::NONE => Timestamp::from_ns(i64::MAX),
            known => known,
        }
    }

    /// The bytes from offset `from` on: all of them with a memory map, otherwise `wanted`, or as
    /// many as there are.
    pub fn window(&self, from: u64, wanted: u64) -> io::Result<Window<'_>> {
        let from = from.min(self.len());
        let data = self.bytes.window(from, wanted)?;
        let at_eof = from + data.len() as u64 == self.len();
        Ok(Window::new(data, from, self.file, at_eof))
    }

    /// The first error that reading payload met, if any. What was read then is short.
    pub fn read_error(&self) -> Option<&io::Error> {
        self.error.get()
    }
}

impl PayloadSource for Input {
    fn read(&self, at: InputPos, len: u32) -> Cow<'_, [u8]> {
        if at.file() != self.file {
            let text = format!("no file number {} is open here", at.file());
            let _ = self.error.set(io::Error::other(text));
            return Cow::Borrowed(&[]);
        }
        let (data, error) = self.bytes.read(at.offset(), super::bytes::index(len));
        if let Some(error) = error {
            // Only the first is kept; the others tell nothing new.
            let _ = self.error.set(error);
        }
        data
    }
}
