//! Numbered pieces of work, handed out to threads.
//!
//! Which thread does which piece is left to the operating system, so nothing that is found may depend on it: results are put
//! into the order of their numbers, or are sums.

use std::io;
use std::ops::ControlFlow;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// Calls `work` with 0, 1, 2, ... on so many threads, of which the caller's is one, till one of the calls breaks. What others
/// are doing by then is finished, so the numbers that were worked on are all from 0 to some number.
///
/// # Errors
/// If the operating system has no room for so many threads.
///
/// # Panics
/// If there is no thread to do the work, or if `work` panics.
pub(crate) fn share_out(thread_count: usize, work: impl Fn(u64) -> ControlFlow<()> + Sync) -> io::Result<()> {
    share_out_to(thread::Builder::new, thread_count, work)
}

fn share_out_to(
    builder: fn() -> thread::Builder,
    thread_count: usize,
    work: impl Fn(u64) -> ControlFlow<()> + Sync,
) -> io::Result<()> {
    assert!(thread_count > 0, "somebody has to do the work");
    let next = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let run = || {
        let _end = End(&is_over);
        // Relaxed: the flag and the counter order nothing else; results travel under the locks of `work`.
        while !is_over.load(Ordering::Relaxed) {
            if work(next.fetch_add(1, Ordering::Relaxed)).is_break() {
                break;
            }
        }
    };
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 1..thread_count {
            // A scope waits for its threads, so those that did start are told to stop if one can't.
            let started = builder().spawn_scoped(scope, run);
            threads.push(started.inspect_err(|_| drop(End(&is_over)))?);
        }
        run();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
        }
        Ok(())
    })
}

/// Ends the work of all threads when it goes, be it that one is done or that it panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn all_numbers_up_to_the_end_are_worked_on_once() {
        for thread_count in [1, 3] {
            let seen = Mutex::new(Vec::new());
            let work = |number| {
                seen.lock().unwrap().push(number);
                if number < 1000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            share_out(thread_count, work).unwrap();
            let seen = seen.into_inner().unwrap();
            let distinct: BTreeSet<u64> = seen.iter().copied().collect();
            assert_eq!(distinct.len(), seen.len(), "no number twice");
            assert!(distinct.into_iter().eq(0..seen.len() as u64), "none left out");
            assert!((1001..1001 + thread_count).contains(&seen.len()), "{}", seen.len());
        }
    }

    #[test]
    fn a_thread_that_cannot_be_started_is_an_error() {
        // No address space has room for this stack.
        let builder = || thread::Builder::new().stack_size(1 << 60);
        assert!(share_out_to(builder, 2, |_| ControlFlow::Continue(())).is_err());
        assert!(share_out_to(builder, 1, |_| ControlFlow::Break(())).is_ok(), "the caller's is there");
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn a_panic_ends_the_work_of_all_and_is_passed_on() {
        let work = |number| if number == 10 { panic!("out of order") } else { ControlFlow::Continue(()) };
        let _ = share_out(3, work);
    }
}
