//! Why the output could not be written.

use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

use crate::model::shown;

/// An error that ends the run: what was tried, on which path, why it failed, what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The output path is there and is no directory.
    #[error(
        "cannot write to {}: it is not a directory; name another with --out",
        shown(path)
    )]
    NotADirectory {
        /// The output directory asked for.
        path: PathBuf,
    },
    /// The output directory holds something, and `--force` was not given.
    #[error(
        "the output directory {} is not empty; name another with --out, or replace an earlier \
         run's files in it with --force",
        shown(path)
    )]
    NotEmpty {
        /// The output directory asked for.
        path: PathBuf,
    },
    /// Another run has the output directory.
    #[error(
        "another run is writing to {}; wait until it is done, or name another directory with --out",
        shown(path)
    )]
    Busy {
        /// The output directory asked for.
        path: PathBuf,
    },
    /// The system has no way to write what was written to the device.
    #[error(
        "{} is on a system that cannot be told to write its data to the device; run with --no-sync, which does not \
         wait for that",
        shown(path)
    )]
    CannotSync {
        /// The output directory.
        path: PathBuf,
    },
    /// A symbolic link stands where a directory of the output belongs.
    #[error(
        "{} is a symbolic link, and output is not written through one; remove it, or name another \
         directory with --out",
        shown(path)
    )]
    SymbolicLink {
        /// The link.
        path: PathBuf,
    },
    /// An input lies where an earlier run's files are to be removed.
    #[error(
        "{} is an input of this run, or a link to one, and --force would remove it with an earlier \
         run's files; nothing was removed: name another directory with --out, or move it out of \
         this one",
        shown(path)
    )]
    Input {
        /// The input, as it is called in the output directory.
        path: PathBuf,
    },
    /// A payload file of this run was there before the run made it.
    #[error(
        "{} exists already and this run did not make it; if no other run writes there, name \
         another directory with --out",
        shown(path)
    )]
    Occupied {
        /// The payload file.
        path: PathBuf,
    },
    /// The file system refused something.
    #[error("cannot {action} {}: {source}; {}", shown(path), advice(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A table could not be encoded. The columns are this program's own, so this is a bug in it.
    #[error(
        "cannot encode {}: {source}; this is a bug, please report it with this message",
        shown(path)
    )]
    Encode {
        /// The table.
        path: PathBuf,
        /// What the encoder said.
        source: ParquetError,
    },
    /// The input gave fewer bytes than it had when they were decoded.
    #[error(
        "the input changed while it was read: {wanted} bytes at offset {offset} of input file \
         number {file} (from 0) were there, now {got} are; run again on a copy that nothing writes to"
    )]
    InputChanged {
        /// Index of the input file.
        file: u16,
        /// Offset of the first byte asked for.
        offset: u64,
        /// Bytes asked for.
        wanted: u32,
        /// Bytes that the input still gave.
        got: usize,
    },
    /// Payload put together from fragments does not lie where it should.
    #[error(
        "a defragmented payload lies outside its buffer; this is a bug, please report it with this \
         message"
    )]
    PayloadOutside,
}

impl OutputError {
    /// The file system refused `action` on `path`.
    pub(super) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        OutputError::Io {
            action,
            path: path.to_path_buf(),
            source: source.into(),
        }
    }

    /// The table at `path` could not be written; a failed write inside the encoder is told as one.
    pub(super) fn table(path: &Path, source: ParquetError) -> Self {
        if let ParquetError::External(inner) = source {
            return match inner.downcast::<io::Error>() {
                Ok(error) => OutputError::io("write", path, *error),
                Err(inner) => OutputError::Encode {
                    path: path.to_path_buf(),
                    source: ParquetError::External(inner),
                },
            };
        }
        OutputError::Encode {
            path: path.to_path_buf(),
            source,
        }
    }
}

/// What to do next about an error of the file system.
fn advice(error: &io::Error) -> &'static str {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    if matches!(errno, Some(Errno::MFILE | Errno::NFILE)) {
        return "raise the limit on open files (ulimit -n)";
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space there, name a directory on another file system with --out, or write the \
             summary alone with --payload none"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "name a directory that you may write to with --out"
        }
        io::ErrorKind::FileTooLarge => {
            "raise the limit on the size of files (ulimit -f), or name a directory on a file system \
             that holds larger files with --out"
        }
        io::ErrorKind::NotFound => {
            "something removed it during the run; keep others out of the directory and run again"
        }
        _ => "check that file system, or name another directory with --out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_path_cause_and_what_to_do() {
        let full = OutputError::io("write", Path::new("out/a"), rustix::io::Errno::NOSPC);
        let text = full.to_string();
        assert!(
            text.starts_with("cannot write out/a: No space left on device"),
            "{text}"
        );
        assert!(text.contains("free space there"), "{text}");
        let many = OutputError::io("create", Path::new("b"), rustix::io::Errno::MFILE).to_string();
        assert!(many.contains("ulimit -n"), "{many}");
    }

    #[test]
    fn a_failed_write_inside_the_encoder_is_told_as_one() {
        let inner: io::Error = rustix::io::Errno::DQUOT.into();
        let error = OutputError::table(Path::new("t"), ParquetError::from(inner));
        assert!(
            matches!(
                error,
                OutputError::Io {
                    action: "write",
                    ..
                }
            ),
            "{error}"
        );
        let error = OutputError::table(Path::new("t"), ParquetError::General("x".into()));
        assert!(matches!(error, OutputError::Encode { .. }));
    }
}
