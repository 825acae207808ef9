//! Panics of a store under test, turned into values.
//!
//! A panic inside [`catch`] is neither printed nor passed on. Outside of it, on the same thread or on others, panics
//! are what they always were: the hook that is installed here hands them to the one before it.
//!
//! The threads of a simulated schedule share one of the operating system, and each may be inside of [`catch`] while
//! another one is not. So it is known which of them [goes on](goes_on), and each has its own place for what it said.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::Path;
use std::sync::Once;

use shuttle::scheduler::RoundRobinScheduler;
use shuttle::{Config, Runner};

thread_local! {
    /// Which of the simulated threads on this one goes on; 0 if there are none.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
    /// For each of them, what it is catching.
    static CATCHES: RefCell<Vec<Catches>> = const { RefCell::new(Vec::new()) };
}

/// The calls of [`catch`] of one simulated thread.
#[derive(Debug, Default)]
struct Catches {
    /// How many of them are under way, one in another.
    depth: usize,
    /// The message of the latest panic in them.
    message: Option<String>,
}

/// Calls `body`; if it panics, returns what it said and where.
///
/// Whatever `body` was changing is in an unknown state after a panic, and may only be dropped.
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    with_catches(|catches| catches.depth += 1);
    let outcome = panic::catch_unwind(AssertUnwindSafe(body));
    let message = with_catches(|catches| {
        catches.depth -= 1;
        if outcome.is_err() { catches.message.take() } else { None }
    });
    outcome.map_err(|_| message.unwrap_or_else(|| "panicked without a message".to_owned()))
}

/// From here on it is the simulated thread with this number that goes on, on this thread.
pub(crate) fn goes_on(thread: usize) {
    RUNNING.set(thread);
}

/// What the simulated thread that goes on is catching.
fn with_catches<T>(change: impl FnOnce(&mut Catches) -> T) -> T {
    CATCHES.with_borrow_mut(|all| {
        let running = RUNNING.get();
        if all.len() <= running {
            all.resize_with(running + 1, Catches::default);
        }
        change(&mut all[running])
    })
}

/// Keeps what a panic said, if it is caught. Whether it is.
fn keep(describe: impl FnOnce() -> String) -> bool {
    // Nobody catches anything on a thread that is going down.
    let kept = CATCHES.try_with(|all| {
        let mut all = all.borrow_mut();
        let catches = all.get_mut(RUNNING.get()).filter(|catches| catches.depth > 0)?;
        catches.message = Some(describe());
        Some(())
    });
    kept.is_ok_and(|kept| kept.is_some())
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
            if !keep(|| describe(info)) {
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

    /// Runs another simulated thread while this one unwinds.
    struct Meanwhile<F: FnMut()>(F);

    impl<F: FnMut()> Drop for Meanwhile<F> {
        fn drop(&mut self) {
            goes_on(1);
            self.0();
            goes_on(0);
        }
    }

    #[test]
    fn each_simulated_thread_hears_its_own_panic() {
        let mut of_other = None;
        let of_this = catch(|| {
            let _meanwhile = Meanwhile(|| of_other = Some(catch(|| -> () { panic!("the other") })));
            panic!("this one")
        });
        let (of_this, of_other): (Result<(), String>, _) = (of_this, of_other.expect("it ran"));
        assert!(of_this.as_ref().is_err_and(|message| message.ends_with("this one")), "{of_this:?}");
        assert!(of_other.as_ref().is_err_and(|message| message.ends_with("the other")), "{of_other:?}");
    }

    #[test]
    fn who_catches_nothing_is_heard_though_others_catch() {
        let kept = catch(|| {
            let of_this = keep(|| "this one".to_owned());
            goes_on(1);
            let of_other = keep(|| "the other".to_owned());
            goes_on(0);
            (of_this, of_other)
        });
        assert_eq!(kept, Ok((true, false)));
    }

    #[test]
    fn catching_nests() {
        let inner = catch(|| catch(|| panic!("inner")).unwrap_err()).unwrap();
        assert!(inner.ends_with("inner"));
        assert!(catch(|| -> () { panic!("outer") }).is_err());
    }
}
