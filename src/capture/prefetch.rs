//! Asks for memory before it is needed.
//!
//! A walk is a chase through memory: where a record begins is known only when the one before it has been
//! read, and each is a cache miss of a hundred nanoseconds. Records of a busy capture are of few sizes, so
//! the one after the next is asked for where it would be if sizes alternated.

#![expect(
    unsafe_code,
    reason = "the hint is an intrinsic that takes a raw pointer"
)]

/// Hints that the bytes at `at` will be read soon. It changes nothing but time.
#[inline]
pub(super) fn prefetch(data: &[u8], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(byte) = data.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the pointer is that of a byte in a slice; a prefetch reads nothing and faults on
        // nothing, and every x86-64 processor has it (SSE).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (data, at);
}
