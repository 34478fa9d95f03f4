//! How many files may stay open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit};

/// Descriptors that the run needs besides payload files: standard streams, input, directory,
/// tables under way, and one file that each worker opens without a permit.
const BASE_RESERVE: usize = 16;

/// More open files than this save nothing and cost kernel memory.
const MOST_PERMITS: usize = 1 << 16;

/// Permits to keep a payload file open, shared by all writers.
///
/// A file without a permit is opened, written and closed at once, so the limit on open files costs
/// time and never data.
#[derive(Debug)]
pub struct DescriptorBudget {
    free: AtomicUsize,
}

impl DescriptorBudget {
    /// A budget that leaves the process, whose limit is `RLIMIT_NOFILE` now, what is open already,
    /// one descriptor for each of `threads` workers, and some for tables.
    pub fn from_process(threads: usize) -> Arc<DescriptorBudget> {
        let limit = getrlimit(Resource::Nofile)
            .current
            .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let reserve = open_now()
            .saturating_add(BASE_RESERVE)
            .saturating_add(threads);
        DescriptorBudget::with_permits(limit.saturating_sub(reserve).min(MOST_PERMITS))
    }

    /// A budget of so many files.
    pub fn with_permits(permits: usize) -> Arc<DescriptorBudget> {
        Arc::new(DescriptorBudget {
            free: AtomicUsize::new(permits),
        })
    }

    /// Takes a permit, where one is free.
    pub(super) fn acquire(self: &Arc<Self>) -> Option<Permit> {
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
            .ok()
            .map(|_| Permit(Arc::clone(self)))
    }

    /// Permits not taken.
    pub fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }
}

/// Descriptors open at this moment, where the system tells.
fn open_now() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The right to keep one file open; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<DescriptorBudget>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_come_back() {
        let budget = DescriptorBudget::with_permits(2);
        let (a, b) = (budget.acquire(), budget.acquire());
        assert!(a.is_some() && b.is_some() && budget.acquire().is_none());
        drop(a);
        assert_eq!(budget.free(), 1);
        assert!(budget.acquire().is_some());
        assert!(DescriptorBudget::with_permits(0).acquire().is_none());
    }

    #[test]
    fn the_process_limit_is_respected() {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let permits = DescriptorBudget::from_process(2).free();
        assert!(u64::try_from(permits).unwrap() < limit);
        assert!(permits <= MOST_PERMITS);
        assert_eq!(DescriptorBudget::from_process(usize::MAX).free(), 0);
    }
}
