//! Foreign code is called through here where its panic must end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the call returned; `None` when it panicked.
pub(crate) fn guarded<R>(call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(returned) => Some(returned),
        Err(payload) => {
            discard(payload);
            None
        }
    }
}

/// A payload is foreign, too: its drop may panic, with another one.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another); // or there would be no end to it
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    /// Panics with itself for ever.
    struct Again;

    impl Drop for Again {
        fn drop(&mut self) {
            panic_any(Self);
        }
    }

    #[test]
    fn a_panic_ends_here_whatever_it_carries() {
        assert_eq!(guarded(|| 7), Some(7));
        assert_eq!(guarded(|| panic!("a message")), None::<()>);
        assert_eq!(guarded(|| panic_any(Again)), None::<()>);
    }
}
