//! Decoders of others are careful and not proof: bytes that make one panic are damaged bytes.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// What `read` gives, or nothing if it panics.
pub fn guarded<T>(read: impl FnOnce() -> T) -> Option<T> {
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(read));
    DEPTH.set(DEPTH.get() - 1);
    result.ok()
}

/// Whether this thread is reading foreign bytes by a decoder whose panic will become an error.
/// For panic hooks, which need not speak of it.
pub fn is_guarded() -> bool {
    DEPTH.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_nothing() {
        assert_eq!(guarded(|| 3), Some(3));
        assert_eq!(guarded(|| assert!(!is_guarded(), "in here it is")), None);
        assert!(!is_guarded());
    }
}
