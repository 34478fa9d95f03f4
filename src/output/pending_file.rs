//! A file that appears only when it is whole.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parquet::errors::ParquetError;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::directory::open_beneath;
use super::error::OutputError;

/// Hexadecimal digits of the number in a temporary name.
const DIGITS: usize = 16;

/// What a file that is to have no name is called for a moment, where the file system has no such files.
pub(super) const UNNAMED: &str = "spool";

/// How many names are tried. Two equal ones of 64 random bits are never met.
const ATTEMPTS: u32 = 16;

/// A file under a temporary name, which nobody can know before. [`PendingFile::commit`] gives it its own;
/// dropped before that, it is removed.
#[derive(Debug)]
pub struct PendingFile {
    file: File,
    directory: Arc<OwnedFd>,
    name: String,
    /// `None` once renamed.
    temporary: Option<String>,
    target: Target,
    written: u64,
}

/// What a file will be called, and the first error of a write to it.
///
/// Encoders wrap errors, some as text, so what they hand back does not tell a full disk from a bug.
#[derive(Clone, Debug)]
pub struct Target {
    path: PathBuf,
    failure: Arc<OnceLock<io::Error>>,
}

impl Target {
    /// The path it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An encoder of tables failed. A failed write is told as one.
    pub(super) fn encoding_failed(&self, error: ParquetError) -> OutputError {
        match self.write_error() {
            Some(cause) => OutputError::io("write", &self.path, cause),
            None => OutputError::table(&self.path, error),
        }
    }

    /// Something between this program and the file failed.
    pub(super) fn writing_failed(&self, error: impl Into<io::Error>) -> OutputError {
        let cause = self.write_error().unwrap_or_else(|| error.into());
        OutputError::io("write", &self.path, cause)
    }

    fn write_error(&self) -> Option<io::Error> {
        let failure = self.failure.get()?;
        Some(match failure.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => failure.kind().into(),
        })
    }
}

impl PendingFile {
    /// A file that is to be called `name` in `directory`, which messages call `target`.
    pub(super) fn create(
        directory: Arc<OwnedFd>,
        name: &str,
        target: PathBuf,
    ) -> Result<PendingFile, OutputError> {
        let created = create_new(&directory, name, OFlags::WRONLY);
        let (file, temporary) = created.map_err(|e| OutputError::io("create", &target, e))?;
        Ok(PendingFile {
            file: file.into(),
            directory,
            name: name.to_owned(),
            temporary: Some(temporary),
            target: Target {
                path: target,
                failure: Arc::default(),
            },
            written: 0,
        })
    }

    /// A file without a name.
    pub(super) fn unnamed(directory: &OwnedFd) -> Result<File, Errno> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::EXCL | OFlags::CLOEXEC;
        let private = Mode::from_raw_mode(0o600);
        match rustix::fs::openat(directory, ".", flags, private) {
            Ok(file) => Ok(file.into()),
            // Not every file system has such files; some say so by one of these.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                let (file, name) = create_new(directory, UNNAMED, OFlags::RDWR)?;
                rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
                Ok(file.into())
            }
            Err(e) => Err(e),
        }
    }

    /// What it will be called, and what failed.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Renames the file, replacing what had its name.
    pub fn commit(mut self) -> Result<(), OutputError> {
        if let Some(temporary) = &self.temporary {
            rustix::fs::renameat(&self.directory, temporary, &self.directory, &self.name)
                .map_err(|e| OutputError::io("rename a finished file to", &self.target.path, e))?;
            self.temporary = None;
        }
        Ok(())
    }
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        match &written {
            Ok(count) => self.written += *count as u64,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                let code = e.raw_os_error();
                self.target.failure.get_or_init(|| {
                    code.map_or_else(|| e.kind().into(), io::Error::from_raw_os_error)
                });
            }
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // On the way out of another error; that one is told.
            let _ = rustix::fs::unlinkat(&self.directory, temporary, AtFlags::empty());
        }
    }
}

/// A new file with a temporary name.
fn create_new(directory: &OwnedFd, name: &str, access: OFlags) -> Result<(OwnedFd, String), Errno> {
    let flags = access | OFlags::CREATE | OFlags::EXCL;
    for _ in 0..ATTEMPTS {
        // Every state is seeded by the system anew.
        let number = RandomState::new().hash_one(name);
        let temporary = format!(".{name}.{number:0DIGITS$x}.tmp");
        match open_beneath(directory.as_fd(), &temporary, flags) {
            Err(Errno::EXIST) => {}
            opened => return opened.map(|file| (file, temporary)),
        }
    }
    Err(Errno::EXIST)
}

/// The name that a file was to have, if this is a temporary one of it: also of an earlier version, whose
/// temporary names had no number.
pub(super) fn intended_name(temporary: &str) -> Option<&str> {
    let name = temporary.strip_prefix('.')?.strip_suffix(".tmp")?;
    let numbered = name.rsplit_once('.').filter(|(_, number)| {
        number.len() == DIGITS && number.bytes().all(|b| b.is_ascii_hexdigit())
    });
    Some(numbered.map_or(name, |(name, _)| name))
}
