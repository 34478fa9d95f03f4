//! Which files the arguments name.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::CaptureError;
use super::feed;
use super::regular::Identity;

/// A file that may be a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    /// It was named, and not only the directory that it lies in: then it must be a capture.
    pub(super) named: bool,
}

/// A file that was not read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// Its path.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// What the arguments came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order of the arguments, each file once.
    pub(super) candidates: Vec<Candidate>,
    pub(super) skipped: Vec<Skipped>,
    seen: BTreeSet<Identity>,
}

/// The files that `arguments` name. A directory stands for the files in it, not for those in
/// directories below it, and `-` for standard input. An argument that names nothing and has `*`, `?` or `[` in it is taken for a
/// pattern that the shell did not expand.
pub(super) fn find(arguments: &[PathBuf]) -> Result<Found, CaptureError> {
    let mut found = Found::default();
    for argument in arguments {
        if feed::is_standard_input(argument) {
            if found.candidates.iter().any(|one| one.path == *argument) {
                return Err(CaptureError::StandardInputTwice);
            }
            found.take(argument.clone(), feed::redirected_file(), true);
            continue;
        }
        let pattern = argument
            .to_str()
            .filter(|text| text.contains(['*', '?', '[']));
        match pattern {
            Some(pattern) if argument.symlink_metadata().is_err() => {
                let paths = glob::glob(pattern).map_err(|error| CaptureError::Pattern {
                    path: argument.clone(),
                    reason: error.to_string(),
                })?;
                let before = found.candidates.len();
                for path in paths {
                    let path = path.map_err(|error| {
                        let path = error.path().to_path_buf();
                        CaptureError::from_io(path, "look into it", error.into())
                    })?;
                    found.add(&path)?;
                }
                if found.candidates.len() == before {
                    return Err(CaptureError::Pattern {
                        path: argument.clone(),
                        reason: "no file matches".to_owned(),
                    });
                }
            }
            _ => found.add(argument)?,
        }
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, path: &Path) -> Result<(), CaptureError> {
        if !path.is_dir() {
            self.take_file(path.to_path_buf(), true);
            return Ok(());
        }
        let list = || -> io::Result<Vec<PathBuf>> {
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
        };
        let mut paths =
            list().map_err(|error| CaptureError::from_io(path.to_path_buf(), "list it", error))?;
        paths.sort_unstable();
        for path in paths.into_iter().filter(|path| !path.is_dir()) {
            self.take_file(path, false);
        }
        Ok(())
    }

    fn take_file(&mut self, path: PathBuf, named: bool) {
        let identity = path.metadata().ok().map(|m| Identity::of(&m));
        self.take(path, identity, named);
    }

    /// A path that leads to a file which is there already is passed over: its frames must not count
    /// twice.
    fn take(&mut self, path: PathBuf, identity: Option<Identity>, named: bool) {
        if identity.is_some_and(|identity| !self.seen.insert(identity)) {
            self.skipped.push(Skipped {
                path,
                reason: "is an input already, by this path or another".to_owned(),
            });
            return;
        }
        self.candidates.push(Candidate { path, named });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &Found) -> Vec<(String, bool)> {
        let name = |candidate: &Candidate| {
            let name = candidate.path.file_name().unwrap();
            (name.to_str().unwrap().to_owned(), candidate.named)
        };
        found.candidates.iter().map(name).collect()
    }

    fn named(name: &str, named: bool) -> (String, bool) {
        (name.to_owned(), named)
    }

    #[test]
    fn directories_and_patterns_stand_for_their_files() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        fs::create_dir(at("below")).unwrap();
        for name in ["b.pcap", "a.pcap", "c.txt", "below/d.pcap", "[e].pcap"] {
            fs::write(at(name), "x").unwrap();
        }
        let all = find(&[base.path().to_path_buf()]).unwrap();
        let wanted = ["[e].pcap", "a.pcap", "b.pcap", "c.txt"].map(|name| named(name, false));
        assert_eq!(names(&all), wanted);
        let some = find(&[at("?.pcap")]).unwrap();
        assert_eq!(names(&some), [named("a.pcap", true), named("b.pcap", true)]);
        let literal = find(&[at("[e].pcap")]).unwrap();
        assert_eq!(names(&literal), [named("[e].pcap", true)]);
        for none in ["*.pcapng", "***"] {
            let error = find(&[at(none)]).unwrap_err();
            assert!(matches!(error, CaptureError::Pattern { .. }), "{error}");
        }
    }

    #[test]
    fn a_file_counts_once_whatever_it_is_called() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        fs::write(at("a"), "x").unwrap();
        fs::hard_link(at("a"), at("b")).unwrap();
        std::os::unix::fs::symlink(at("a"), at("c")).unwrap();
        let found = find(&[at("a"), base.path().to_path_buf()]).unwrap();
        assert_eq!(names(&found), [named("a", true)]);
        let skipped: Vec<_> = found.skipped.iter().map(|one| one.path.clone()).collect();
        assert_eq!(skipped, [at("a"), at("b"), at("c")]);
    }
}
