//! The import rules of the rooms, held against the source: data goes one way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms each room may import; its own name is always allowed.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("model", &[]),
    ("config", &[]),
    ("filter", &["model"]),
    ("capture", &["model"]),
    ("decode", &["model", "config", "filter"]),
    ("reassembly", &["model", "config"]),
    ("shard", &["model", "config", "decode"]),
    ("output", &["model", "config", "reassembly::event"]),
    (
        "pipeline",
        &[
            "model",
            "config",
            "capture",
            "decode",
            "shard",
            "reassembly",
            "output",
        ],
    ),
    (
        "cli",
        &["config", "filter", "pipeline", "output::accounting"],
    ),
];

/// The files in which `unsafe` may stand.
const UNSAFE_FILES: [&str; 2] = ["capture/mmap.rs", "capture/prefetch.rs"];

/// What the pure core must not touch: files, clocks, threads, the environment.
const IMPURE: [&str; 6] = [
    "std::fs",
    "std::io",
    "std::time",
    "std::thread",
    "std::env",
    "rayon",
];

/// Most lines of production code in one file.
const MOST_LINES: usize = 500;

fn source_files() -> Vec<(String, String)> {
    fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let name = |path: &Path| {
        path.strip_prefix(&root)
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    files
        .iter()
        .map(|path| (name(path), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The file without comments and without what follows its unit tests.
fn production(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let code = text[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

fn is_test_file(name: &str) -> bool {
    name.contains("tests") || name.ends_with("testing.rs")
}

#[test]
fn rooms_import_only_what_they_may() {
    let mut wrong = Vec::new();
    for (name, text) in source_files() {
        let Some((room, _)) = name.split_once('/') else {
            continue;
        };
        let allowed = ALLOWED.iter().find(|(r, _)| *r == room);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("no rule for the room {room}"));
        let code = if is_test_file(&name) {
            String::new()
        } else {
            production(&text)
        };
        for (at, _) in code.match_indices("crate::") {
            let path: String = code[at + "crate::".len()..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
                .collect();
            let own = path.split("::").next() == Some(room);
            let ok = allowed
                .iter()
                .any(|prefix| path == *prefix || path.starts_with(&format!("{prefix}::")));
            if !own && !ok {
                wrong.push(format!("{name}: crate::{path}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports against the rules:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_core_is_pure() {
    for (name, text) in source_files() {
        if ["reassembly/", "model/", "filter/"]
            .iter()
            .any(|room| name.starts_with(room))
        {
            let code = production(&text);
            for impure in IMPURE {
                assert!(!code.contains(impure), "{name} uses {impure}");
            }
        }
    }
}

#[test]
fn unsafe_stays_in_its_fences() {
    for (name, text) in source_files() {
        let has = production(&text)
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe");
        assert_eq!(has, UNSAFE_FILES.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn files_stay_readable() {
    for (name, text) in source_files() {
        let lines = production(&text).lines().count();
        assert!(
            is_test_file(&name) || lines <= MOST_LINES,
            "{name} has {lines} lines of code"
        );
    }
}
