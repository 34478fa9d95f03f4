//! The output directory: one run writes to it at a time, and never through a link.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::earlier_run;
use super::error::OutputError;
use super::pending_file::PendingFile;

/// The file whose presence means that the run completed.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The flow table.
pub const FLOWS_FILE: &str = "flows.parquet";
/// The flow table as CSV.
pub const FLOWS_CSV_FILE: &str = "flows.csv";
/// The table of gaps.
pub const GAPS_FILE: &str = "gaps.parquet";
/// The table of conflicts.
pub const CONFLICTS_FILE: &str = "conflicts.parquet";
/// The table of segments.
pub const SEGMENTS_FILE: &str = "segments.parquet";
/// The directory that holds the parts of the payload table.
pub const PAYLOAD_DIR: &str = "payload";

/// How a run takes its output directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taking {
    /// Take a directory that is not empty, and remove an earlier run's own files from it.
    pub force: bool,
    /// What is published is on the device before it is.
    pub sync: bool,
}

/// A directory that is ready to be written to. It holds two descriptors at most.
///
/// The run that has it holds a lock on it (`flock` on the directory itself), which the system lets go of
/// when the process ends, however it ends. All files are opened, renamed and removed relative to the
/// descriptor, so they stay in the directory that was locked whatever becomes of its path.
#[derive(Debug)]
pub struct OutputDir {
    path: PathBuf,
    descriptor: Arc<OwnedFd>,
    /// The directory of the payload table's parts, once one was begun.
    parts: Mutex<Option<Arc<OwnedFd>>>,
    sync: bool,
}

impl OutputDir {
    /// Creates the directory, with its parents, or takes an empty one.
    ///
    /// With `force` a directory that is not empty is taken too: an earlier run's own files are
    /// removed, the manifest first, and nothing else is touched. Below `streams`, `pcaps` and
    /// `payload` a file is its own if its name has the form of those that belong there.
    ///
    /// Fails where the path is a file, another run writes there, the directory is not empty, one of
    /// those three is a symbolic link, or the file system refuses.
    pub fn create(path: &Path, force: bool) -> Result<OutputDir, OutputError> {
        let taking = Taking { force, sync: false };
        OutputDir::create_sparing(path, taking, |_| false)
    }

    /// As [`OutputDir::create`], but fails too, before anything is removed, where one of the files
    /// to be removed is an input or a link to one.
    pub fn create_sparing(
        path: &Path,
        taking: Taking,
        is_input: impl Fn(&Metadata) -> bool,
    ) -> Result<OutputDir, OutputError> {
        let not_a_directory = || OutputError::NotADirectory {
            path: path.to_path_buf(),
        };
        if path.metadata().is_ok_and(|m| !m.is_dir()) {
            return Err(not_a_directory());
        }
        fs::create_dir_all(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotADirectory => not_a_directory(),
            _ => OutputError::io("create the output directory", path, e),
        })?;
        let descriptor = rustix::fs::open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| OutputError::io("open the output directory", path, e))?;
        // Before anything is looked at: of two runs that find it empty, one would write into the other's.
        lock(&descriptor, path)?;
        let dir = OutputDir {
            path: path.to_path_buf(),
            descriptor: Arc::new(descriptor),
            parts: Mutex::default(),
            sync: taking.sync,
        };
        if !earlier_run::is_empty(&dir)? {
            if !taking.force {
                return Err(OutputError::NotEmpty {
                    path: path.to_path_buf(),
                });
            }
            earlier_run::remove(&dir, &is_input)?;
        }
        Ok(dir)
    }

    /// The path that was asked for.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens `path`, relative to this directory. A link is not followed, neither at its end nor on the
    /// way.
    pub(super) fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_beneath(self.as_fd(), path, flags)
    }

    /// The error for a failed [`OutputDir::open`], and for what follows from it.
    pub(super) fn failed(&self, action: &'static str, path: &str, errno: Errno) -> OutputError {
        let path = self.path.join(path);
        match errno {
            Errno::LOOP => OutputError::SymbolicLink { path },
            _ => OutputError::io(action, &path, errno),
        }
    }

    /// Makes the directory `path` below this one, where it is not there.
    pub(super) fn make_directory(&self, path: &str) -> Result<(), OutputError> {
        let made = self.beside(path).and_then(|(directory, name)| {
            rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o777))
        });
        match made {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(self.failed("create the directory", path, e)),
        }
    }

    /// Removes the file `path`.
    pub(super) fn remove_file(&self, path: &str) -> Result<(), OutputError> {
        self.beside(path)
            .and_then(|(directory, name)| rustix::fs::unlinkat(directory, name, AtFlags::empty()))
            .map_err(|e| self.failed("remove", path, e))
    }

    /// The directory that `path` lies in, and the last part of it.
    fn beside<'p>(&self, path: &'p str) -> Result<(Arc<OwnedFd>, &'p str), Errno> {
        let Some((directory, name)) = path.rsplit_once('/') else {
            return Ok((Arc::clone(&self.descriptor), path));
        };
        let open = || {
            self.open(directory, OFlags::RDONLY | OFlags::DIRECTORY)
                .map(Arc::new)
        };
        if directory != PAYLOAD_DIR {
            return Ok((open()?, name));
        }
        // All parts share one descriptor.
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = match &*parts {
            Some(open) => Arc::clone(open),
            None => Arc::clone(parts.insert(open()?)),
        };
        Ok((directory, name))
    }

    /// Opens a file that is to be called `path`, under a temporary name in the same directory.
    pub fn pending_file(&self, path: &str) -> Result<PendingFile, OutputError> {
        let (directory, name) = self
            .beside(path)
            .map_err(|e| self.failed("create", path, e))?;
        PendingFile::create(directory, name, self.path.join(path))
    }

    /// A file without a name in this directory, for as long as it is open.
    pub fn unnamed_file(&self) -> io::Result<fs::File> {
        Ok(PendingFile::unnamed(&self.descriptor)?)
    }

    /// Writes a whole file at once; either all of it appears or nothing.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), OutputError> {
        self.filled(name, bytes)?.commit()
    }

    /// As [`OutputDir::write_file`]; and where the directory was taken so, everything that was written
    /// to it before is on the device when the file appears, and its appearance is, too, when this
    /// returns.
    pub fn publish(&self, name: &str, bytes: &[u8]) -> Result<(), OutputError> {
        let pending = self.filled(name, bytes)?;
        if self.sync {
            let failed = |e| OutputError::io("write to the device what lies in", &self.path, e);
            // One call for all files: millions of them would each wait for the device.
            match rustix::fs::syncfs(self) {
                Ok(()) => {}
                Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                    return Err(OutputError::CannotSync {
                        path: self.path.clone(),
                    });
                }
                Err(e) => return Err(failed(e)),
            }
        }
        pending.commit()?;
        // A manifest says that all is on the device; one of which that is not known must not stand.
        self.sync_names().inspect_err(|_| {
            let _ = rustix::fs::unlinkat(self, name, AtFlags::empty());
        })
    }

    fn filled(&self, name: &str, bytes: &[u8]) -> Result<PendingFile, OutputError> {
        use io::Write as _;
        let mut pending = self.pending_file(name)?;
        pending
            .write_all(bytes)
            .map_err(|e| pending.target().writing_failed(e))?;
        Ok(pending)
    }

    /// Waits until names that were given or taken in this directory are on the device.
    pub(super) fn sync_names(&self) -> Result<(), OutputError> {
        if !self.sync {
            return Ok(());
        }
        match rustix::fs::fsync(self) {
            // Some file systems have no such thing for directories.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(e) => Err(OutputError::io(
                "write to the device the names in",
                &self.path,
                e,
            )),
        }
    }
}

impl AsFd for OutputDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Takes the directory for this run alone.
fn lock(directory: &OwnedFd, path: &Path) -> Result<(), OutputError> {
    loop {
        return match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK) => Err(OutputError::Busy {
                path: path.to_path_buf(),
            }),
            // Some file systems, NFS among them, do not lock directories. Names of temporary files
            // differ from run to run there as well.
            Ok(()) | Err(_) => Ok(()),
        };
    }
}

/// Opens `path` relative to `directory`, through no link.
pub(super) fn open_beneath(
    directory: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = if flags.contains(OFlags::CREATE) {
        Mode::from_raw_mode(0o666)
    } else {
        Mode::empty()
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    loop {
        match rustix::fs::openat2(directory, path, flags, mode, resolve) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            // A kernel before 5.6, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return open_by_parts(directory, path, flags, mode),
            // A link where a directory is wanted is told as what it is not.
            Err(Errno::NOTDIR) if is_link(directory, path) => return Err(Errno::LOOP),
            opened => return opened,
        }
    }
}

/// The same without the help of the kernel: one directory after the other.
fn open_by_parts(
    directory: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let through = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |at: BorrowedFd<'_>, name: &str, flags, mode| loop {
        match rustix::fs::openat(at, name, flags, mode) {
            Err(Errno::INTR) => {}
            Err(Errno::NOTDIR) if is_link(at, name) => return Err(Errno::LOOP),
            opened => return opened,
        }
    };
    let Some((directories, name)) = path.rsplit_once('/') else {
        return open(directory, path, flags, mode);
    };
    let mut held: Option<OwnedFd> = None;
    for part in directories.split('/') {
        let at = held.as_ref().map_or(directory, AsFd::as_fd);
        held = Some(open(at, part, through, Mode::empty())?);
    }
    let at = held.as_ref().map_or(directory, AsFd::as_fd);
    open(at, name, flags, mode)
}

/// Whether the name is one of a link.
fn is_link(directory: BorrowedFd<'_>, name: &str) -> bool {
    use rustix::fs::{FileType, statat};
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const FORCE: Taking = Taking {
        force: true,
        sync: true,
    };

    #[test]
    fn creates_parents_and_takes_an_empty_directory() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b/c");
        OutputDir::create(&path, false).unwrap();
        let dir = OutputDir::create(&path, false).unwrap();
        assert_eq!(dir.path(), path);
    }

    #[test]
    fn refuses_a_file_and_a_path_through_one() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, b"x").unwrap();
        for path in [file.clone(), file.join("below")] {
            for force in [false, true] {
                let error = OutputDir::create(&path, force).unwrap_err();
                assert!(
                    matches!(error, OutputError::NotADirectory { .. }),
                    "{error}"
                );
            }
        }
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }

    #[test]
    fn refuses_what_is_not_empty_and_leaves_it_alone() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join(MANIFEST_FILE), b"x").unwrap();
        let error = OutputDir::create(base.path(), false).unwrap_err();
        assert!(error.to_string().contains("--force"), "{error}");
        assert!(base.path().join(MANIFEST_FILE).exists());
    }

    #[test]
    fn force_removes_an_earlier_run_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        fs::create_dir_all(at("streams/00000")).unwrap();
        fs::create_dir_all(at("streams/00001")).unwrap();
        fs::create_dir_all(at("streams/mine")).unwrap();
        fs::create_dir_all(at("payload")).unwrap();
        fs::create_dir_all(at("pcaps/00000")).unwrap();
        fs::create_dir_all(at("pcaps/00001")).unwrap();
        let own = [
            MANIFEST_FILE,
            FLOWS_FILE,
            ".flows.parquet.tmp",
            ".manifest.json.0123456789abcdef.tmp",
            ".spool.0123456789abcdef.tmp",
            "streams/00000/1-1.2.3.4.5-1.2.3.4.6.c2s",
            "streams/00001/10001-1.2.3.4.5-1.2.3.4.6.s2c",
            "pcaps/00000/1.pcap",
            "pcaps/00001/10001.pcapng",
            "payload/part-07.parquet",
            "payload/.part-63.parquet.tmp",
            "payload/.part-63.parquet.0123456789abcdef.tmp",
        ];
        let foreign = [
            "notes.txt",
            "spool",
            "evidence.pcap",
            "streams/00000/notes.txt",
            "pcaps/00001/mine.pcap",
            "streams/mine/1-1.2.3.4.5-1.2.3.4.6.c2s",
            "payload/part-mine.parquet",
            "payload/.part-1.tmp",
            ".notes.txt.0123456789abcdef.tmp",
            ".flows.parquet.mine.tmp",
        ];
        for name in own.iter().chain(&foreign) {
            fs::write(at(name), b"x").unwrap();
        }
        OutputDir::create(base.path(), true).unwrap();
        for name in own {
            assert!(!at(name).exists(), "{name}");
        }
        for name in foreign {
            assert!(at(name).exists(), "{name}");
        }
        assert!(!at("streams/00001").exists());
        assert!(!at("pcaps/00000").exists());
    }

    #[test]
    fn force_removes_nothing_where_one_file_is_an_input() {
        use std::os::unix::fs::MetadataExt;
        for linked in [false, true] {
            let base = tempfile::tempdir().unwrap();
            let elsewhere = tempfile::tempdir().unwrap();
            let at = |name: &str| base.path().join(name);
            fs::create_dir_all(at("pcaps/00000")).unwrap();
            fs::write(at(MANIFEST_FILE), b"x").unwrap();
            let precious = elsewhere.path().join("evidence.pcap");
            fs::write(&precious, b"x").unwrap();
            let name = at("pcaps/00000/1.pcap");
            if linked {
                std::os::unix::fs::symlink(&precious, &name).unwrap();
            } else {
                fs::hard_link(&precious, &name).unwrap();
            }
            let input = precious.metadata().unwrap();
            let is_input = |m: &Metadata| (m.dev(), m.ino()) == (input.dev(), input.ino());
            let error = OutputDir::create_sparing(base.path(), FORCE, is_input).unwrap_err();
            assert!(
                matches!(&error, OutputError::Input { path } if *path == name),
                "{error}"
            );
            assert!(name.exists() && at(MANIFEST_FILE).exists());
        }
    }

    #[test]
    fn force_follows_no_link_out_of_the_directory() {
        let base = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::create_dir(elsewhere.path().join("00000")).unwrap();
        let precious = elsewhere.path().join("00000/1-1.2.3.4.5-1.2.3.4.6.c2s");
        fs::write(&precious, b"x").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), base.path().join("streams")).unwrap();
        let error = OutputDir::create(base.path(), true).unwrap_err();
        assert!(matches!(error, OutputError::SymbolicLink { .. }), "{error}");
        assert!(precious.exists());

        fs::rename(base.path().join("streams"), base.path().join(PAYLOAD_DIR)).unwrap();
        let error = OutputDir::create(base.path(), true).unwrap_err();
        assert!(matches!(error, OutputError::SymbolicLink { .. }), "{error}");
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let base = tempfile::tempdir().unwrap();
        let dir = OutputDir::create(base.path(), false).unwrap();
        let mut pending = dir.pending_file("a").unwrap();
        pending.write_all(b"half").unwrap();
        assert!(!base.path().join("a").exists());
        drop(pending);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
        dir.write_file("a", b"first").unwrap();
        dir.write_file("a", b"second").unwrap();
        assert_eq!(fs::read(base.path().join("a")).unwrap(), b"second");
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_run_has_it_at_a_time() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("new");
        let first = OutputDir::create(&path, false).unwrap();
        for force in [false, true] {
            let error = OutputDir::create(&path, force).unwrap_err();
            assert!(matches!(error, OutputError::Busy { .. }), "{error}");
            assert!(error.to_string().contains("another run"), "{error}");
        }
        drop(first);
        OutputDir::create(&path, false).unwrap();
    }

    #[test]
    fn temporary_names_are_of_its_own() {
        let base = tempfile::tempdir().unwrap();
        let dir = OutputDir::create(base.path(), false).unwrap();
        let (one, other) = (dir.pending_file("a"), dir.pending_file("a"));
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 2);
        drop((one, other));
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let base = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let dir = OutputDir::create(base.path(), false).unwrap();
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, b"precious").unwrap();
        // The name that a file will have may be a link by then. It is replaced.
        std::os::unix::fs::symlink(&victim, base.path().join("a")).unwrap();
        dir.publish("a", b"new").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert!(base.path().join("a").symlink_metadata().unwrap().is_file());
        // So may be a directory.
        for name in ["payload", "streams"] {
            std::os::unix::fs::symlink(elsewhere.path(), base.path().join(name)).unwrap();
        }
        let error = dir.pending_file("payload/part-00.parquet").unwrap_err();
        assert!(matches!(error, OutputError::SymbolicLink { .. }), "{error}");
        let error = dir.make_directory("streams/00000").unwrap_err();
        assert!(matches!(error, OutputError::SymbolicLink { .. }), "{error}");
        let write = OFlags::WRONLY | OFlags::CREATE;
        assert_eq!(dir.open("streams/x", write).unwrap_err(), Errno::LOOP);
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    }

    #[test]
    fn with_and_without_the_help_of_the_kernel_it_is_the_same() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("a/b")).unwrap();
        fs::write(base.path().join("a/b/file"), b"x").unwrap();
        std::os::unix::fs::symlink("b", base.path().join("a/link")).unwrap();
        std::os::unix::fs::symlink("file", base.path().join("a/b/link")).unwrap();
        let dir = OutputDir::create(base.path(), true).unwrap();
        for path in [
            "a/b/file",
            "a/link/file",
            "a/b/link",
            "a/none/file",
            "a/b/file/below",
            "none",
        ] {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let one = dir.open(path, OFlags::RDONLY).map(drop);
            let other = open_by_parts(dir.as_fd(), path, flags, Mode::empty()).map(drop);
            assert_eq!(one, other, "{path}");
            assert_eq!(one.is_ok(), path == "a/b/file", "{path}");
        }
    }

    #[test]
    fn files_stay_in_the_directory_that_was_locked() {
        let base = tempfile::tempdir().unwrap();
        let (old, new) = (base.path().join("old"), base.path().join("new"));
        let dir = OutputDir::create(&old, false).unwrap();
        let pending = dir.pending_file("a").unwrap();
        fs::rename(&old, &new).unwrap();
        fs::create_dir(&old).unwrap();
        pending.commit().unwrap();
        dir.publish("b", b"").unwrap();
        assert_eq!(fs::read_dir(&old).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&new).unwrap().count(), 2);
    }
}
