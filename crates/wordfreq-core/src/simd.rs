//! What the counting kernel needs of the processor: the one place of this crate with `unsafe`.
//!
//! Every function here has a scalar twin that says what it does, and a test that holds the two against each other.

#![allow(unsafe_code)]

/// Asks for the cache line of `slice[index]`, if there is such an element; a hint without any other effect.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults, whatever the address; SSE is part of x86-64. The address
        // is computed without the promise to stay within the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().wrapping_add(index).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index);
}
