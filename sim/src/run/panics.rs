//! Panics of a store under test, turned into values.
//!
//! A panic inside [`catch`] is neither printed nor passed on. Outside of it, on the same thread or on others, panics
//! are what they always were: the hook that is installed here hands them to the one before it.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::Path;
use std::sync::Once;

use shuttle::scheduler::RoundRobinScheduler;
use shuttle::{Config, Runner};

thread_local! {
    /// The message of the latest panic, inside of [`catch`].
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
    /// How many calls of [`catch`] are under way: on threads of a simulated schedule they need not be nested.
    static CATCHES: Cell<usize> = const { Cell::new(0) };
}

/// Calls `body`; if it panics, returns what it said and where.
///
/// Whatever `body` was changing is in an unknown state after a panic, and may only be dropped.
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    CATCHES.set(CATCHES.get() + 1);
    let outcome = panic::catch_unwind(AssertUnwindSafe(body));
    CATCHES.set(CATCHES.get() - 1);
    outcome.map_err(|_| CAUGHT.take().unwrap_or_else(|| "panicked without a message".to_owned()))
}

/// Sees to it that panics of stores go to whoever catches them, and nowhere else.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        // Shuttle installs a hook of its own when it runs for the first time, which announces every panic. Let it be now, to
        // be replaced.
        Runner::new(RoundRobinScheduler::new(1), Config::new()).run(|| ());
        let _shuttles = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHES.get() > 0 {
                CAUGHT.set(Some(describe(info)));
            } else {
                previous(info);
            }
        }));
    });
}

/// The message and the place, without the directories in which a machine happens to keep its sources.
fn describe(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message.as_str(),
        _ => "no message",
    };
    match info.location() {
        Some(location) => {
            let file = Path::new(location.file()).file_name().unwrap_or_default();
            format!("panicked at {}:{}: {message}", file.display(), location.line())
        }
        None => format!("panicked: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(catch(|| 7), Ok(7));
        let number = 3;
        let message = catch(|| panic!("number {number} is odd")).unwrap_err();
        assert!(message.starts_with("panicked at panics.rs:"), "{message}");
        assert!(message.ends_with(": number 3 is odd"), "{message}");
    }

    #[test]
    fn catching_nests() {
        let inner = catch(|| catch(|| panic!("inner")).unwrap_err()).unwrap();
        assert!(inner.ends_with("inner"));
        assert!(catch(|| -> () { panic!("outer") }).is_err());
    }
}
