//! Large buffers stay with the process: a training step makes and drops the same ones over
//! and over, and giving each back to the system costs more than some operations on it.

#![allow(unsafe_code, reason = "mallopt has no safe interface")]

/// Tells the C library's allocator so, where it is glibc's. Before any thread starts.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes plain numbers; those it does not understand it ignores.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
