//! How much memory the process has used.

/// Greatest resident set of the process so far, bytes, as Linux tells it; the mapped input counts
/// as far as it was resident. `None` elsewhere.
pub(super) fn peak_resident() -> Option<u64> {
    field("VmHWM:")
}

fn field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
