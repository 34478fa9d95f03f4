//! Which files the arguments name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::CaptureError;
use super::feed;
use super::natural;
use super::regular::Identity;

/// How deep below a named directory captures are looked for: a choice, against paths that the system does not
/// take.
const DEEPEST: usize = 64;
/// Bytes in which a manifest says whose it is.
const MANIFEST_HEAD: u64 = 256;

/// The files that a run writes at the top of its directory. The first is always among them, under its own
/// name or a temporary one, and so shows output whose manifest is not written yet, or never was.
const OWN_FILES: [&str; 6] = [
    "flows.parquet",
    "flows.csv",
    "gaps.parquet",
    "conflicts.parquet",
    "segments.parquet",
    "manifest.json",
];
/// The directories that it makes there.
const OWN_DIRECTORIES: [&str; 3] = ["streams", "pcaps", "payload"];

/// A file that may be a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    /// It was named, and not only the directory that it lies in: then it must be a capture.
    pub(super) named: bool,
}

/// A file or directory that was not read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// Its path.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// Where captures are looked for besides the arguments.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Search {
    /// Also in the directories below those that are named.
    pub recursive: bool,
    /// Not in this directory, which the run writes to.
    pub output: PathBuf,
}

/// What the arguments came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order of the arguments, each file once.
    pub(super) candidates: Vec<Candidate>,
    pub(super) skipped: Vec<Skipped>,
    seen: BTreeSet<Identity>,
    recursive: bool,
    output: Option<Identity>,
}

/// The files that `arguments` name. A directory stands for the files in it and, if the search is recursive, for
/// those in the directories below it, but for such as hold output of this program; and `-` for standard
/// input. An argument that names nothing and has `*`, `?` or `[` in it is taken for a
/// pattern that the shell did not expand.
pub(super) fn find(arguments: &[PathBuf], search: &Search) -> Result<Found, CaptureError> {
    let output = search.output.metadata().ok();
    let mut found = Found {
        recursive: search.recursive,
        output: output.map(|metadata| Identity::of(&metadata)),
        ..Found::default()
    };
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
            Some(pattern) if is_missing(argument) => found.add_pattern(argument, pattern)?,
            _ => found.add(argument)?,
        }
    }
    Ok(found)
}

/// Nothing has this name, and not only that it may not be looked at.
fn is_missing(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

impl Found {
    fn add_pattern(&mut self, argument: &Path, pattern: &str) -> Result<(), CaptureError> {
        let no_pattern = |reason: String| CaptureError::Pattern {
            path: argument.to_path_buf(),
            reason,
        };
        let paths = glob::glob(pattern).map_err(|error| no_pattern(error.to_string()))?;
        let mut any = false;
        for path in paths {
            let path = path.map_err(|error| {
                let path = error.path().to_path_buf();
                CaptureError::from_io(path, "look into it", error.into())
            })?;
            any = true;
            self.add(&path)?;
        }
        if any {
            return Ok(());
        }
        Err(no_pattern(
            "there is no such file, and as a pattern no file matches it".to_owned(),
        ))
    }

    fn add(&mut self, path: &Path) -> Result<(), CaptureError> {
        if !path.is_dir() {
            self.take_file(path.to_path_buf(), true);
            return Ok(());
        }
        self.list(path, 0)
            .map_err(|error| CaptureError::from_io(path.to_path_buf(), "list it", error))
    }

    /// Takes what a directory holds; an error if it cannot be listed.
    fn list(&mut self, directory: &Path, depth: usize) -> io::Result<()> {
        let identity = Identity::of(&directory.metadata()?);
        if !self.seen.insert(identity) {
            self.skip(directory, "an input already, by this path or another");
            return Ok(());
        }
        let entries: io::Result<Vec<PathBuf>> = fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect();
        let mut paths = entries?;
        paths.sort_unstable_by(|a, b| natural::compare(a, b));
        let of_this_run = self.output == Some(identity);
        if let Some(holds) = output_in(directory, &paths, of_this_run) {
            if depth > 0 {
                // Whoever comes to it by its own name finds it not read yet.
                self.seen.remove(&identity);
                self.skip(directory, holds);
                return Ok(());
            }
            // Who names it means the captures that lie beside the output.
            paths.retain(|path| {
                let own = is_own(path);
                if own {
                    self.skip(path, holds);
                }
                !own
            });
        }
        let (below, files): (Vec<PathBuf>, Vec<PathBuf>) =
            paths.into_iter().partition(|path| path.is_dir());
        for path in files {
            self.take_file(path, false);
        }
        let is_recursive = self.recursive;
        for path in below.into_iter().filter(|_| is_recursive) {
            if path.is_symlink() {
                self.skip(
                    &path,
                    "a link to a directory; name that directory to have it read",
                );
            } else if depth >= DEEPEST {
                self.skip(
                    &path,
                    "too deep below the directory that was named; name it itself",
                );
            } else if let Err(error) = self.list(&path, depth + 1) {
                // Others may work there: what is gone meanwhile is nothing that was asked for.
                self.skip(
                    &path,
                    &format!("a directory that cannot be listed: {error}"),
                );
            }
        }
        Ok(())
    }

    fn skip(&mut self, path: &Path, reason: &str) {
        self.skipped.push(Skipped {
            path: path.to_path_buf(),
            reason: reason.to_owned(),
        });
    }

    fn take_file(&mut self, path: PathBuf, named: bool) {
        let identity = path.metadata().ok().map(|m| Identity::of(&m));
        self.take(path, identity, named);
    }

    /// A path that leads to a file which is there already is passed over: its frames must not count
    /// twice.
    fn take(&mut self, path: PathBuf, identity: Option<Identity>, named: bool) {
        if identity.is_some_and(|identity| !self.seen.insert(identity)) {
            self.skip(&path, "is an input already, by this path or another");
            return;
        }
        self.candidates.push(Candidate { path, named });
    }
}

/// Whose output a directory holds, if it does.
fn output_in(directory: &Path, paths: &[PathBuf], of_this_run: bool) -> Option<&'static str> {
    if of_this_run {
        return Some("the output directory of this run");
    }
    if has_manifest(directory) {
        return Some("a directory with the output of an earlier run");
    }
    let [table, ..] = OWN_FILES;
    let any = paths.iter().any(|path| is_file_of(path, table));
    any.then_some("a directory with the output of a run that has not ended, or was ended")
}

/// Whether a run gives this name to what lies at the top of its directory.
fn is_own(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    OWN_DIRECTORIES.iter().any(|own| name == *own)
        || OWN_FILES.iter().any(|own| is_file_of(path, own))
}

/// Whether a run gives this name to its file `own`, for good or, as `.own.number.tmp`, for the time being.
fn is_file_of(path: &Path, own: &str) -> bool {
    let name = path.file_name().unwrap_or_default();
    let temporary = name.to_str().and_then(|name| name.strip_prefix('.'));
    let number = temporary.and_then(|name| name.strip_prefix(own)?.strip_suffix(".tmp"));
    name == own || number.is_some()
}

/// Whether a run of this program wrote its manifest there.
fn has_manifest(directory: &Path) -> bool {
    let path = directory.join("manifest.json");
    // Nothing but a file is opened, since a pipe may never open.
    if !path.symlink_metadata().is_ok_and(|m| m.is_file()) {
        return false;
    }
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MANIFEST_HEAD).read_to_end(&mut head));
    let text = String::from_utf8_lossy(&head);
    let words: Vec<&str> = text.split('"').collect();
    let is_own = |words: &[&str]| matches!(words, ["program", between, "bulkreasm"] if between.trim() == ":");
    read.is_ok() && words.windows(3).any(is_own)
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

    fn find_in(arguments: &[PathBuf]) -> Result<Found, CaptureError> {
        find(arguments, &Search::default())
    }

    #[test]
    fn directories_below_are_searched_but_for_links_and_output() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        for directory in [
            "in/b/c",
            "in/a10",
            "in/a9",
            "in/out/pcaps",
            "in/old/streams",
            "in/other",
        ] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        std::os::unix::fs::symlink(at("in"), at("in/b/loop")).unwrap();
        let own = "{\n  \"program\": \"bulkreasm\",\n  \"version\": \"0\"";
        fs::write(at("in/old/manifest.json"), own).unwrap();
        fs::write(at("in/other/manifest.json"), "{\"program\": \"npm\"}").unwrap();
        for name in [
            "in/z",
            "in/b/c/y",
            "in/a10/x",
            "in/a9/w",
            "in/out/pcaps/1",
            "in/old/streams/2",
        ] {
            fs::write(at(name), "x").unwrap();
        }
        let search = Search {
            recursive: true,
            output: at("in/out"),
        };
        let found = find(&[at("in")], &search).unwrap();
        let wanted = ["z", "w", "x", "y", "manifest.json"].map(|name| named(name, false));
        assert_eq!(names(&found), wanted);
        let skipped: Vec<_> = found.skipped.iter().map(|one| one.path.clone()).collect();
        assert_eq!(skipped, [at("in/b/loop"), at("in/old"), at("in/out")]);
        let flat = Search {
            recursive: false,
            ..search
        };
        let found = find(&[at("in"), at("in/b/c")], &flat).unwrap();
        assert_eq!(names(&found), ["z", "y"].map(|name| named(name, false)));
        assert!(found.skipped.is_empty());
    }

    fn named(name: &str, named: bool) -> (String, bool) {
        (name.to_owned(), named)
    }

    #[test]
    fn output_without_a_manifest_is_passed_over_below_and_read_beside_where_named() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let table = ".flows.parquet.0123456789abcdef.tmp";
        let own = [
            (table, ".gaps.parquet.0123456789abcdef.tmp"),
            ("flows.parquet", "flows.csv"),
            (".flows.parquet.tmp", "segments.parquet"),
        ];
        for (table, other) in own {
            let running = at("in/running");
            for directory in ["in/running/pcaps", "in/running/below", "in/near"] {
                fs::create_dir_all(at(directory)).unwrap();
            }
            for name in [table, other, "pcaps/1", "below/2", "3"] {
                fs::write(running.join(name), "x").unwrap();
            }
            for name in ["flows.parquet.pcap", "gaps.parquet", ".flows.tmp"] {
                fs::write(at("in/near").join(name), "x").unwrap();
            }
            let search = |output: &str| Search {
                recursive: true,
                output: at(output),
            };
            let found = find(&[at("in")], &search("none")).unwrap();
            let near = [".flows.tmp", "flows.parquet.pcap", "gaps.parquet"];
            assert_eq!(names(&found), near.map(|name| named(name, false)));
            let [skipped] = &found.skipped[..] else {
                panic!("{:?}", found.skipped);
            };
            assert_eq!(skipped.path, running);
            // Named, before or behind the directory above, of this run or of another.
            for output in ["none", "in/running"] {
                let beside = ["3", "2"].map(|name| named(name, false));
                let found = find(std::slice::from_ref(&running), &search(output)).unwrap();
                assert_eq!(names(&found), beside);
                let mut skipped: Vec<_> = found.skipped.iter().map(|one| &one.path).collect();
                skipped.sort();
                let mut wanted = [table, other, "pcaps"].map(|name| running.join(name));
                wanted.sort();
                assert_eq!(skipped, wanted.each_ref());
                for arguments in [[at("in"), running.clone()], [running.clone(), at("in")]] {
                    let found = find(&arguments, &search(output)).unwrap();
                    assert_eq!(found.candidates.len(), near.len() + beside.len());
                }
            }
            fs::remove_dir_all(at("in")).unwrap();
        }
    }

    #[test]
    fn directories_and_patterns_stand_for_their_files() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        fs::create_dir(at("below")).unwrap();
        for name in ["b.pcap", "a.pcap", "c.txt", "below/d.pcap", "[e].pcap"] {
            fs::write(at(name), "x").unwrap();
        }
        let all = find_in(&[base.path().to_path_buf()]).unwrap();
        let wanted = ["[e].pcap", "a.pcap", "b.pcap", "c.txt"].map(|name| named(name, false));
        assert_eq!(names(&all), wanted);
        let some = find_in(&[at("?.pcap")]).unwrap();
        assert_eq!(names(&some), [named("a.pcap", true), named("b.pcap", true)]);
        let literal = find_in(&[at("[e].pcap")]).unwrap();
        assert_eq!(names(&literal), [named("[e].pcap", true)]);
        for none in ["*.pcapng", "***"] {
            let error = find_in(&[at(none)]).unwrap_err();
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
        let found = find_in(&[at("a"), base.path().to_path_buf()]).unwrap();
        assert_eq!(names(&found), [named("a", true)]);
        let skipped: Vec<_> = found.skipped.iter().map(|one| one.path.clone()).collect();
        assert_eq!(skipped, [at("a"), at("b"), at("c")]);
    }
}
