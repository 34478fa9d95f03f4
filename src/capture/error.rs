//! Why a capture could not be opened.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::compression::{Compression, Trouble};
use super::find::Skipped;
use crate::model::shown;

/// Why a capture could not be opened: which file, what is wrong with it, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// There is no such file.
    #[error("{}: no such file; check the path", shown(path))]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file may not be read.
    #[error(
        "{}: permission denied; grant yourself read access or run as its owner",
        shown(path)
    )]
    Permission {
        /// The file.
        path: PathBuf,
    },
    /// It is a directory.
    #[error("{}: is a directory; name the captures in it", shown(path))]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// Its path goes through a file as if that were a directory.
    #[error(
        "{}: a part of this path is a file and no directory; leave out what follows that, also a / at the end",
        shown(path)
    )]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// It has bytes, and the system says that it has none, as of files in /proc.
    #[error(
        "{}: the system does not say how long it is, as of files in /proc; \
         copy it to a disk, or send its bytes to standard input: cat FILE | bulkreasm - --out DIR",
        shown(path)
    )]
    NoLength {
        /// The path.
        path: PathBuf,
    },
    /// It is a pipe, socket or device: its bytes cannot be addressed by offset.
    #[error(
        "{}: is not a regular file; name a file, or send its bytes to standard input and name -",
        shown(path)
    )]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The operating system could not open, read or map it.
    #[error("{}: cannot {action}: {source}; {}", shown(path), advice(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error(
        "{}: the file is empty (0 bytes), not even a file header was captured; \
         check that the capture ran and was flushed",
        shown(path)
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is compressed, and holds no bytes.
    #[error(
        "{}: compressed with {compression}, and it holds no bytes, not even a file header was captured; \
         check that the capture ran and was flushed",
        shown(path)
    )]
    EmptyCompressed {
        /// The file.
        path: PathBuf,
        /// How it is compressed.
        compression: &'static str,
    },
    /// It is in another format.
    #[error("{}: {what} (it begins with {first}); {advice}", shown(path))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is, as far as its first bytes tell.
        what: &'static str,
        /// The first bytes.
        first: FirstBytes,
        /// What to do.
        advice: &'static str,
    },
    /// The file ends inside its own header.
    #[error(
        "{}: the {format} header is cut short: the file has {have} bytes and the header takes {need}; \
         nothing was captured in it, fetch the file again if it should be longer",
        shown(path)
    )]
    HeaderCut {
        /// The file.
        path: PathBuf,
        /// `pcap` or `pcapng`.
        format: &'static str,
        /// Bytes in the file.
        have: u64,
        /// Bytes the header takes.
        need: u64,
    },
    /// A version of the format that nobody has defined, or one too old.
    #[error(
        "{}: {format} version {major}.{minor} is not supported ({supported} is); \
         convert the file with editcap or tcpdump -r … -w …",
        shown(path)
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// `pcap` or `pcapng`.
        format: &'static str,
        /// Major version in the header.
        major: u16,
        /// Minor version in the header.
        minor: u16,
        /// The versions that can be read.
        supported: &'static str,
    },
    /// Offsets in it do not fit into an [`InputPos`](crate::model::InputPos).
    #[error(
        "{}: {bytes} bytes are more than one input may have (2^48 − 1); split the capture",
        shown(path)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length, bytes.
        bytes: u64,
    },
    /// It is compressed, and cannot be decompressed even so far that its format is known.
    #[error(
        "{}: compressed with {compression}, and nothing of it can be decompressed: it {reason}; {advice}",
        shown(path)
    )]
    Compressed {
        /// The file.
        path: PathBuf,
        /// How it is compressed.
        compression: &'static str,
        /// What is wrong.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// What arrives, or is decompressed, cannot be kept.
    #[error(
        "cannot keep the bytes of {} in a temporary file in {}: {reason}; they take as much room \
         there as the capture has without compression: free some, name a directory on another file \
         system with --out, or decompress the capture to a file first",
        shown(path),
        shown(directory)
    )]
    Spool {
        /// The input.
        path: PathBuf,
        /// Where the temporary file is.
        directory: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Standard input was named twice.
    #[error("-: standard input can be read once only; name it once")]
    StandardInputTwice,
    /// The run was interrupted before anything was known of the input.
    #[error("interrupted before anything arrived; nothing was written")]
    Interrupted,
    /// A pattern that matches nothing, or is none.
    #[error(
        "{}: {reason}; check the name, and write [*], [?] and [[] for these characters themselves",
        shown(path)
    )]
    Pattern {
        /// The pattern.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing that was named holds a capture.
    #[error(
        "{}: no capture in it: {}; name a directory with captures in it, or the files themselves",
        shown(path),
        passed_over(*files, first.as_ref())
    )]
    NoCapture {
        /// The first argument.
        path: PathBuf,
        /// Files that were looked at and are none, and directories that were not.
        files: usize,
        /// The first of them.
        first: Option<Skipped>,
    },
    /// More files than can be told apart.
    #[error("{files} input files are more than one run takes (65,536); join some with mergecap")]
    TooMany {
        /// How many.
        files: usize,
    },
}

impl CaptureError {
    /// The user ended the run, and nothing is wrong with the input.
    pub const fn is_interruption(&self) -> bool {
        matches!(self, CaptureError::Interrupted)
    }

    /// Whether it says that the file is no capture, as other files in a directory of captures may
    /// be, or is none at all, as links may lead nowhere and files be moved away since the directory
    /// was listed, or belongs to somebody else, whose file need not be meant; and not that a capture
    /// cannot be read.
    pub(super) const fn is_no_capture(&self) -> bool {
        matches!(
            self,
            CaptureError::Missing { .. }
                | CaptureError::Permission { .. }
                | CaptureError::NotRegular { .. }
                | CaptureError::Empty { .. }
                | CaptureError::EmptyCompressed { .. }
                | CaptureError::Foreign { .. }
                | CaptureError::HeaderCut { .. }
                | CaptureError::Compressed { .. }
                | CaptureError::NoLength { .. }
        )
    }

    /// The file has no bytes, or none were compressed in it.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(
            self,
            CaptureError::Empty { .. } | CaptureError::EmptyCompressed { .. }
        )
    }

    /// What it says, without the path in front and the advice behind.
    pub(super) fn without_path(&self) -> String {
        match self {
            CaptureError::Missing { .. } => {
                "a link that leads nowhere, or gone since the directory was listed".to_owned()
            }
            CaptureError::Permission { .. } => "permission denied".to_owned(),
            CaptureError::NotRegular { .. } => "not a regular file".to_owned(),
            CaptureError::NoLength { .. } => {
                "a file whose length the system does not say".to_owned()
            }
            CaptureError::Empty { .. } => "empty".to_owned(),
            CaptureError::EmptyCompressed { compression, .. } => {
                format!("compressed with {compression}, and it holds no bytes")
            }
            CaptureError::Foreign { what, .. } => (*what).to_owned(),
            CaptureError::HeaderCut { format, .. } => format!("the {format} header is cut short"),
            CaptureError::Compressed {
                compression,
                reason,
                ..
            } => format!("compressed with {compression}, and cannot be decompressed: it {reason}"),
            other => other.to_string(),
        }
    }

    /// Nothing of the file at `path` can be decompressed.
    pub(super) fn compressed(path: &Path, how: Compression, error: &io::Error) -> CaptureError {
        let Trouble { text, advice } = Trouble::of(error);
        CaptureError::Compressed {
            path: path.into(),
            compression: how.name(),
            reason: text,
            advice,
        }
    }

    /// The kind that an error of the operating system belongs to.
    pub(super) fn from_io(path: PathBuf, action: &'static str, source: io::Error) -> CaptureError {
        match source.kind() {
            io::ErrorKind::NotFound => CaptureError::Missing { path },
            // Links that lead to each other lead nowhere.
            _ if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                CaptureError::Missing { path }
            }
            io::ErrorKind::NotADirectory => CaptureError::NotADirectory { path },
            io::ErrorKind::PermissionDenied => CaptureError::Permission { path },
            io::ErrorKind::IsADirectory => CaptureError::Directory { path },
            _ => CaptureError::Io {
                path,
                action,
                source,
            },
        }
    }
}

fn passed_over(files: usize, first: Option<&Skipped>) -> String {
    let Some(Skipped { path, reason }) = first else {
        return "there is no file".to_owned();
    };
    let (path, more) = (shown(path), files.saturating_sub(1));
    match more {
        0 => format!("passed over {path} ({reason})"),
        more => format!("passed over {path} ({reason}), and {more} more"),
    }
}

/// What to do about an error of the operating system.
fn advice(error: &io::Error) -> &'static str {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => "raise the limit on open files (ulimit -n)",
        Some(Errno::NAMETOOLONG) => "give it a shorter path",
        // What files of /proc and the like answer where there is nothing to read.
        Some(Errno::INVAL | Errno::PERM | Errno::SRCH) => {
            "name a file that lies on a disk, or send its bytes to standard input and name -"
        }
        _ => "check the disk, or copy the file to another one",
    }
}

/// The first bytes of a file, at most eight; shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirstBytes {
    bytes: [u8; 8],
    len: usize,
}

impl FirstBytes {
    /// The first bytes of `head`.
    pub(super) fn of(head: &[u8]) -> FirstBytes {
        let mut bytes = [0; 8];
        let mut len = 0;
        for (to, from) in bytes.iter_mut().zip(head) {
            *to = *from;
            len += 1;
        }
        FirstBytes { bytes, len }
    }
}

impl fmt::Display for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.bytes.iter().take(self.len).enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_read_is_passed_over_where_it_was_not_named() {
        let denied =
            |kind: io::ErrorKind| CaptureError::from_io(PathBuf::from("a"), "open it", kind.into());
        let error = denied(io::ErrorKind::PermissionDenied);
        assert!(error.is_no_capture(), "{error}");
        assert_eq!(error.without_path(), "permission denied");
        // A disk that fails is no reason to leave out what lies on it.
        let error = denied(io::ErrorKind::Other);
        assert!(!error.is_no_capture(), "{error}");
    }
}
