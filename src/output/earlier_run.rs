//! What an earlier run has left in the output directory, and its removal.

use std::fs::Metadata;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, OFlags};
use rustix::io::Errno;

use super::directory::{
    CONFLICTS_FILE, FLOWS_CSV_FILE, FLOWS_FILE, GAPS_FILE, MANIFEST_FILE, OutputDir, PAYLOAD_DIR,
    SEGMENTS_FILE, open_beneath,
};
use super::error::OutputError;
use super::payload_part::is_part_file;
use super::pending_file::{UNNAMED, intended_name};
use super::stream_path::{
    CAPTURES_DIR, STREAMS_DIR, is_capture_file, is_numbered_directory, is_stream_file,
};

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

/// Whether there is nothing in the directory.
pub(super) fn is_empty(dir: &OutputDir) -> Result<bool, OutputError> {
    let place = Place::of(dir);
    Ok(place.any()?.is_empty())
}

/// Removes what an earlier run has left, and nothing at all where a file of it is an input.
pub(super) fn remove(
    dir: &OutputDir,
    is_input: &dyn Fn(&Metadata) -> bool,
) -> Result<(), OutputError> {
    let spare = |left: &Left<'_>| left.spare(is_input);
    let place = Place::of(dir);
    tables(&place, &spare)?;
    below(&place, &spare)?;
    // Once its removal is on the device, nothing written from now on can be taken for what the old
    // manifest speaks of.
    let manifest = Left::File(&place, MANIFEST_FILE);
    manifest.remove()?;
    dir.sync_names()?;
    tables(&place, &|left| left.remove())?;
    below(&place, &|left| left.remove())
}

/// A directory in which an earlier run may have left something.
struct Place<'d> {
    descriptor: BorrowedFd<'d>,
    path: PathBuf,
}

impl<'d> Place<'d> {
    fn of(dir: &'d OutputDir) -> Place<'d> {
        Place {
            descriptor: dir.as_fd(),
            path: dir.path().to_path_buf(),
        }
    }

    /// Names in it. Those that are not Unicode are left out: none of ours is.
    fn names(&self) -> Result<Vec<String>, OutputError> {
        let names = self.any()?.into_iter();
        Ok(names
            .filter_map(|name| String::from_utf8(name).ok())
            .collect())
    }

    /// All names in it.
    fn any(&self) -> Result<Vec<Vec<u8>>, OutputError> {
        let list = || -> Result<Vec<Vec<u8>>, Errno> {
            let mut found = Vec::new();
            for entry in Dir::read_from(self.descriptor)? {
                let name = entry?.file_name().to_bytes().to_vec();
                if name != b"." && name != b".." {
                    found.push(name);
                }
            }
            Ok(found)
        };
        list().map_err(|e| OutputError::io("list", &self.path, e))
    }
}

/// Something that an earlier run has left.
enum Left<'a> {
    File(&'a Place<'a>, &'a str),
    /// To be removed if it is empty by then.
    Directory(&'a Place<'a>, &'a str),
}

impl Left<'_> {
    /// Fails where it is an input, by this name or another.
    fn spare(&self, is_input: &dyn Fn(&Metadata) -> bool) -> Result<(), OutputError> {
        match self {
            Left::File(place, name) => {
                let path = place.path.join(name);
                match path.metadata() {
                    Ok(m) if is_input(&m) => Err(OutputError::Input { path }),
                    _ => Ok(()),
                }
            }
            Left::Directory(..) => Ok(()),
        }
    }

    fn remove(&self) -> Result<(), OutputError> {
        let (place, name, flags, fine) = match self {
            Left::File(place, name) => (place, name, AtFlags::empty(), [Errno::NOENT; 2]),
            Left::Directory(place, name) => (
                place,
                name,
                AtFlags::REMOVEDIR,
                // POSIX allows both for a directory that is not empty.
                [Errno::NOTEMPTY, Errno::EXIST],
            ),
        };
        match rustix::fs::unlinkat(place.descriptor, *name, flags) {
            Err(e) if !fine.contains(&e) => Err(OutputError::io(
                "remove an earlier run's",
                &place.path.join(name),
                e,
            )),
            _ => Ok(()),
        }
    }
}

/// What is done with each.
type Visit<'a> = &'a dyn Fn(&Left<'_>) -> Result<(), OutputError>;

/// The tables and the manifest, in the order in which they are to be removed, finished or not.
fn tables(place: &Place<'_>, visit: Visit<'_>) -> Result<(), OutputError> {
    let names = place.names()?;
    for own in OWN_FILES {
        for name in &names {
            if name == own || intended_name(name) == Some(own) {
                visit(&Left::File(place, name))?;
            }
        }
    }
    for name in names
        .iter()
        .filter(|name| intended_name(name) == Some(UNNAMED))
    {
        visit(&Left::File(place, name))?;
    }
    Ok(())
}

/// What lies in directories of its own.
fn below(place: &Place<'_>, visit: Visit<'_>) -> Result<(), OutputError> {
    if let Some(streams) = inside(place, STREAMS_DIR)? {
        numbered(place, (&streams, STREAMS_DIR), is_stream_file, visit)?;
    }
    if let Some(captures) = inside(place, CAPTURES_DIR)? {
        numbered(place, (&captures, CAPTURES_DIR), is_capture_file, visit)?;
    }
    match inside(place, PAYLOAD_DIR)? {
        Some(parts) => files(place, (&parts, PAYLOAD_DIR), is_part_file, visit),
        None => Ok(()),
    }
}

/// The directory `name`, if it is there. Fails where it is a link or anything else.
fn inside(place: &Place<'_>, name: &str) -> Result<Option<OwnedFd>, OutputError> {
    let path = place.path.join(name);
    match open_beneath(place.descriptor, name, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP) => Err(OutputError::SymbolicLink { path }),
        Err(Errno::NOTDIR) => Err(OutputError::NotADirectory { path }),
        Err(e) => Err(OutputError::io("examine", &path, e)),
    }
}

/// The files in numbered directories that `is_own` takes for a run's, and the directories.
fn numbered(
    outer: &Place<'_>,
    (all, all_name): (&OwnedFd, &str),
    is_own: fn(&str) -> bool,
    visit: Visit<'_>,
) -> Result<(), OutputError> {
    let place = Place {
        descriptor: all.as_fd(),
        path: outer.path.join(all_name),
    };
    for name in place.names()? {
        if !is_numbered_directory(&name) {
            continue;
        }
        match inside(&place, &name) {
            Ok(Some(directory)) => files(&place, (&directory, &name), is_own, visit)?,
            // A file of such a name is nobody's that is known here.
            Ok(None) | Err(OutputError::NotADirectory { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    visit(&Left::Directory(outer, all_name))
}

/// The files whose names `is_own` takes for a run's, and then the directory.
fn files(
    outer: &Place<'_>,
    (directory, directory_name): (&OwnedFd, &str),
    is_own: fn(&str) -> bool,
    visit: Visit<'_>,
) -> Result<(), OutputError> {
    let place = Place {
        descriptor: directory.as_fd(),
        path: outer.path.join(directory_name),
    };
    for name in place.names()? {
        if is_own(&name) {
            visit(&Left::File(&place, &name))?;
        }
    }
    visit(&Left::Directory(outer, directory_name))
}
