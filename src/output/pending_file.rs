//! A file that appears only when it is whole.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::directory::open_beneath;
use super::error::OutputError;

/// Hexadecimal digits of the number in a temporary name.
const DIGITS: usize = 16;

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
    target: PathBuf,
    written: u64,
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
            target,
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
                let (file, name) = create_new(directory, "spool", OFlags::RDWR)?;
                rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
                Ok(file.into())
            }
            Err(e) => Err(e),
        }
    }

    /// The path it will have.
    pub fn target(&self) -> &Path {
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
                .map_err(|e| OutputError::io("rename a finished file to", &self.target, e))?;
            self.temporary = None;
        }
        Ok(())
    }
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
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
        let temporary = format!(".{name}.{number:0width$x}.tmp", width = DIGITS);
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
