//! Which captures there are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The variable that names folders of captures beyond the repository's own, separated by colons.
const VARIABLE: &str = "BULKREASM_CAPTURES";

/// The captures of `data/`.
pub fn own() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let mut all = Vec::new();
    for folder in ["real", "generated"] {
        all.extend(within(&data.join(folder)));
    }
    all.retain(|path| {
        path.extension()
            .is_some_and(|e| e == "pcap" || e == "pcapng")
    });
    all
}

/// Both: those of `data/`, and where the environment names any, the further ones.
pub fn all() -> Vec<PathBuf> {
    let mut all = own();
    all.extend(foreign().unwrap_or_default());
    all
}

/// The captures of the folders that the environment names; `None`, and a word on standard error,
/// where it names none.
pub fn foreign() -> Option<Vec<PathBuf>> {
    let Some(folders) = env::var_os(VARIABLE) else {
        #[expect(clippy::print_stderr, reason = "a skipped test must say so")]
        let () = eprintln!("skipped: {VARIABLE} names no folder of further captures");
        return None;
    };
    let all: Vec<PathBuf> = env::split_paths(&folders)
        .flat_map(|folder| within(&folder))
        .collect();
    assert!(!all.is_empty(), "{VARIABLE} names no captures");
    Some(all)
}

fn within(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.is_file());
    all.sort();
    all
}
