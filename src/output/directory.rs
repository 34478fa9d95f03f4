//! The output directory, and files that appear in it only when they are whole.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::OutputError;
use super::payload_part::is_part_file;
use super::stream_path::{
    CAPTURES_DIR, STREAMS_DIR, is_capture_file, is_numbered_directory, is_stream_file,
};

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

/// What an earlier run may have left, in the order in which it is removed: without its manifest a
/// directory no longer claims to be complete, whatever happens next.
const OWN_FILES: [&str; 6] = [
    MANIFEST_FILE,
    FLOWS_FILE,
    FLOWS_CSV_FILE,
    GAPS_FILE,
    CONFLICTS_FILE,
    SEGMENTS_FILE,
];

/// A directory that is ready to be written to. It holds one descriptor.
#[derive(Debug)]
pub struct OutputDir {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl OutputDir {
    /// Creates the directory, with its parents, or takes an empty one.
    ///
    /// With `force` a directory that is not empty is taken too: an earlier run's own files are
    /// removed, the manifest first, and nothing else is touched. Below `streams`, `pcaps` and
    /// `payload` a file is its own if its name has the form of those that belong there.
    ///
    /// Fails where the path is a file, the directory is not empty, one of those three is a symbolic
    /// link, or the file system refuses.
    pub fn create(path: &Path, force: bool) -> Result<OutputDir, OutputError> {
        OutputDir::create_sparing(path, force, |_| false)
    }

    /// As [`OutputDir::create`], but fails too, before anything is removed, where one of the files
    /// to be removed is an input or a link to one.
    pub fn create_sparing(
        path: &Path,
        force: bool,
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
        let mut entries = fs::read_dir(path)
            .map_err(|e| OutputError::io("list the output directory", path, e))?;
        if entries.next().is_some() {
            if !force {
                return Err(OutputError::NotEmpty {
                    path: path.to_path_buf(),
                });
            }
            earlier_run(path, &|left| left.spare(&is_input))?;
            earlier_run(path, &|left| left.remove())?;
        }
        let descriptor = rustix::fs::open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| OutputError::io("open the output directory", path, e))?;
        Ok(OutputDir {
            path: path.to_path_buf(),
            descriptor,
        })
    }

    /// The path that was asked for.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory `name` in this one, where it is not there.
    pub(super) fn make_directory(&self, name: &str) -> Result<(), OutputError> {
        match rustix::fs::mkdirat(self, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(OutputError::io(
                "create the directory",
                &self.path.join(name),
                e,
            )),
        }
    }

    /// Opens a file that is to be called `name`, under a temporary name in the same directory.
    pub fn pending_file(&self, name: &str) -> Result<PendingFile, OutputError> {
        let temporary = self.path.join(temporary_name(name));
        let file =
            File::create(&temporary).map_err(|e| OutputError::io("create", &temporary, e))?;
        Ok(PendingFile {
            file,
            target: self.path.join(name),
            temporary: Some(temporary),
            written: 0,
        })
    }

    /// Writes a whole file at once; either all of it appears or nothing.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), OutputError> {
        let mut pending = self.pending_file(name)?;
        pending
            .write_all(bytes)
            .map_err(|e| OutputError::io("write", &pending.target, e))?;
        pending.commit()
    }
}

impl AsFd for OutputDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn temporary_name(name: &str) -> String {
    match name.rsplit_once('/') {
        Some((directory, name)) => format!("{directory}/.{name}.tmp"),
        None => format!(".{name}.tmp"),
    }
}

/// A file under a temporary name. [`PendingFile::commit`] gives it its own; dropped before that,
/// it is removed.
#[derive(Debug)]
pub struct PendingFile {
    file: File,
    target: PathBuf,
    /// `None` once renamed.
    temporary: Option<PathBuf>,
    written: u64,
}

impl PendingFile {
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
            fs::rename(temporary, &self.target)
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
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Something that an earlier run has left.
enum Left<'a> {
    File(&'a Path),
    /// To be removed if it is empty by then.
    Directory(&'a Path),
}

impl Left<'_> {
    /// Fails where it is an input, by this name or another.
    fn spare(&self, is_input: &impl Fn(&Metadata) -> bool) -> Result<(), OutputError> {
        match self {
            Left::File(path) if path.metadata().is_ok_and(|m| is_input(&m)) => {
                Err(OutputError::Input {
                    path: path.to_path_buf(),
                })
            }
            _ => Ok(()),
        }
    }

    fn remove(&self) -> Result<(), OutputError> {
        use io::ErrorKind::{DirectoryNotEmpty, NotFound};
        let (path, removed, fine) = match self {
            Left::File(path) => (path, fs::remove_file(path), NotFound),
            Left::Directory(path) => (path, fs::remove_dir(path), DirectoryNotEmpty),
        };
        match removed {
            Err(e) if e.kind() != fine => Err(OutputError::io("remove an earlier run's", path, e)),
            _ => Ok(()),
        }
    }
}

/// What is done with each.
type Visit<'a> = &'a dyn Fn(&Left<'_>) -> Result<(), OutputError>;

/// All that an earlier run may have left in `path`, in the order in which it is to be removed.
fn earlier_run(path: &Path, visit: Visit<'_>) -> Result<(), OutputError> {
    for name in OWN_FILES {
        visit(&Left::File(&path.join(name)))?;
        visit(&Left::File(&path.join(temporary_name(name))))?;
    }
    below(&path.join(STREAMS_DIR), |streams| {
        numbered(streams, is_stream_file, visit)
    })?;
    below(&path.join(CAPTURES_DIR), |captures| {
        numbered(captures, is_capture_file, visit)
    })?;
    below(&path.join(PAYLOAD_DIR), |parts| {
        files(parts, is_part_file, visit)
    })
}

/// Goes through a directory of an earlier run's, if it is there.
fn below(
    directory: &Path,
    through: impl FnOnce(&Path) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    let path = || directory.to_path_buf();
    match directory.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(OutputError::io("examine", directory, e)),
        Ok(m) if m.is_symlink() => Err(OutputError::SymbolicLink { path: path() }),
        Ok(m) if !m.is_dir() => Err(OutputError::NotADirectory { path: path() }),
        Ok(_) => through(directory),
    }
}

/// The files in numbered directories that `is_own` takes for a run's, and the directories.
fn numbered(all: &Path, is_own: fn(&str) -> bool, visit: Visit<'_>) -> Result<(), OutputError> {
    for (name, directory) in entries(all)? {
        if !is_numbered_directory(&name) {
            continue;
        }
        match directory.symlink_metadata() {
            Ok(m) if m.is_symlink() => {
                return Err(OutputError::SymbolicLink { path: directory });
            }
            Ok(m) if m.is_dir() => {}
            _ => continue,
        }
        files(&directory, is_own, visit)?;
    }
    visit(&Left::Directory(all))
}

/// The files whose names `is_own` takes for a run's, and then the directory.
fn files(directory: &Path, is_own: fn(&str) -> bool, visit: Visit<'_>) -> Result<(), OutputError> {
    for (name, file) in entries(directory)? {
        if is_own(&name) {
            visit(&Left::File(&file))?;
        }
    }
    visit(&Left::Directory(directory))
}

/// Names and paths in a directory. Names that are not Unicode are left out: none of ours is.
fn entries(directory: &Path) -> Result<Vec<(String, PathBuf)>, OutputError> {
    let list = || -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, entry.path()));
            }
        }
        Ok(found)
    };
    list().map_err(|e| OutputError::io("list", directory, e))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "streams/00000/1-1.2.3.4.5-1.2.3.4.6.c2s",
            "streams/00001/10001-1.2.3.4.5-1.2.3.4.6.s2c",
            "pcaps/00000/1.pcap",
            "pcaps/00001/10001.pcapng",
            "payload/part-07.parquet",
            "payload/.part-63.parquet.tmp",
        ];
        let foreign = [
            "notes.txt",
            "evidence.pcap",
            "streams/00000/notes.txt",
            "pcaps/00001/mine.pcap",
            "streams/mine/1-1.2.3.4.5-1.2.3.4.6.c2s",
            "payload/part-mine.parquet",
            "payload/.part-1.tmp",
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
            let error = OutputDir::create_sparing(base.path(), true, is_input).unwrap_err();
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
}
