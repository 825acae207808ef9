//! What came of shrinking, as it is kept: a plan that tells its story, and a test of its own.

use std::fmt::Write;

use proofmark_model::{Checker, Violation};

use super::{Shrunk, Size};
use crate::disk::Profile;
use crate::plan::Plan;

/// The width of comments.
const WIDTH: usize = 116;

/// The plan with comments in front that say what is wrong in it, where it comes from, and what it needs: ready to be
/// kept among the regressions. `origin` names the plan that was shrunk.
pub fn commented_plan(shrunk: &Shrunk, origin: &str) -> String {
    let mut text = String::new();
    for paragraph in story(shrunk, origin) {
        if !text.is_empty() {
            text.push_str("#\n");
        }
        wrap(&mut text, "# ", &paragraph);
    }
    write!(text, "\n{}", shrunk.plan).expect("a string takes any text");
    text
}

/// A Rust file with one test that needs nothing but this package and the model: it runs the plan, and holds the store to
/// its promises. Of a plan that plants faults in secret the test says that they are found, because no store is at fault.
pub fn regression_test(shrunk: &Shrunk, origin: &str) -> String {
    let Violation { checker, kind, .. } = shrunk.violation;
    let mut text = String::new();
    for paragraph in story(shrunk, origin) {
        if !text.is_empty() {
            text.push_str("//!\n");
        }
        // Some characters are refused in a comment, and a file may be called anything.
        wrap(
            &mut text,
            "//! ",
            &paragraph.replace(|character: char| !character.is_ascii_graphic() && character != ' ', "?"),
        );
    }
    let plan = shrunk.plan.to_string();
    let fence = "#".repeat(1 + longest_fence(&plan));
    let name = format!("{checker}_{kind}").replace(|character: char| !character.is_ascii_alphanumeric(), "_");
    let (import, verdict) = if shrunk.plan.sabotage.is_empty() {
        ("", "    assert_eq!(run.verdict, Ok(()), \"{}\", run.history);\n".to_owned())
    } else {
        let verdict = format!(
            "    let found = run.verdict.map_err(|violation| (violation.checker, violation.kind));\n    \
             assert_eq!(found, Err((Checker::{}, \"{kind}\")), \"{{}}\", run.history);\n",
            variant(checker)
        );
        ("use proofmark_model::Checker;\n", verdict)
    };
    write!(
        text,
        "\n{import}use proofmark_sim::plan::Plan;\nuse proofmark_sim::run::run_plan;\n\n\
         const PLAN: &str = r{fence}\"{plan}\"{fence};\n\n\
         #[test]\nfn {name}() {{\n    \
         let plan: Plan = PLAN.parse().expect(\"it was printed by the program that reads it\");\n    \
         let run = run_plan(&plan, plan.store.factory());\n{verdict}}}\n"
    )
    .expect("a string takes any text");
    text
}

/// What there is to say of it, in paragraphs.
fn story(shrunk: &Shrunk, origin: &str) -> [String; 3] {
    let Shrunk { plan, violation, reason: _, before, runs, is_complete } = shrunk;
    let after = Size::of(plan);
    let end = if *is_complete { "" } else { " Shrinking was stopped before it came to an end." };
    [
        format!("{}: {}: {}", violation.checker, violation.kind, violation.message),
        format!("Shrunk from {origin} in {runs} runs, from {before} to {after}.{end}"),
        needs(plan, *is_complete),
    ]
}

/// Which disk it takes. Once shrinking is complete, what is milder has been tried: a disk that forgets less makes a
/// lighter plan.
fn needs(plan: &Plan, is_complete: bool) -> String {
    let disk = &plan.disk;
    let granule = disk.granule;
    match Profile::of(disk) {
        Some(Profile::Strict) if granule.bytes() == 4096 => {
            format!(
                "It fails on the mildest disk there is: profile {}, granules of {granule} bytes.",
                Profile::Strict
            )
        }
        Some(profile) if !is_complete => format!(
            "It fails on a disk of profile {profile} with granules of {granule} bytes; not all milder ones were tried."
        ),
        Some(profile) => format!(
            "It needs no more than a disk of profile {profile} with granules of {granule} bytes; on milder ones it \
             was not seen to fail."
        ),
        None => format!(
            "It was seen to fail on a disk of no profile{}: order {}, sizes {}, directories {}, granules of {granule} \
             bytes.",
            if is_complete { " only" } else { "" },
            disk.order,
            disk.sizes,
            disk.directory_persistence
        ),
    }
}

/// Writes a paragraph in lines that start with `margin`.
fn wrap(text: &mut String, margin: &str, paragraph: &str) {
    let mut line = String::new();
    for word in paragraph.split_whitespace() {
        if !line.is_empty() && margin.len() + line.len() + 1 + word.len() > WIDTH {
            text.push_str(&format!("{margin}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    text.push_str(&format!("{margin}{line}\n"));
}

/// The most number signs that follow a quote in `text`.
fn longest_fence(text: &str) -> usize {
    let after_quotes = text.split('"').skip(1);
    after_quotes.map(|rest| rest.bytes().take_while(|byte| *byte == b'#').count()).max().unwrap_or_default()
}

/// The checker's name as Rust writes it.
fn variant(checker: Checker) -> String {
    format!("{checker:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shrink::Reason;

    fn shrunk(plan: &str) -> Shrunk {
        Shrunk {
            plan: format!("proofmark plan 1\n{plan}").parse().unwrap(),
            violation: Violation {
                checker: Checker::CrashPrefix,
                kind: "lost-acknowledged-commit",
                step: 6,
                message: "t1 is gone ".repeat(20),
            },
            reason: Reason {
                checker: Checker::CrashPrefix,
                kind: "lost-acknowledged-commit",
                is_in_creation: false,
            },
            before: Size { operations: 163, strikes: 1, faults: 2, switches: 0 },
            runs: 477,
            is_complete: true,
        }
    }

    const STEPS: &str =
        "profile strict\n\nc0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\ncrash call=1 before keep=all";

    #[test]
    fn a_kept_plan_tells_its_story_and_is_still_that_plan() {
        let shrunk = shrunk(STEPS);
        let text = commented_plan(&shrunk, "seed 5 of engine");
        assert_eq!(text.parse::<Plan>().as_ref(), Ok(&shrunk.plan), "{text}");
        assert!(text.starts_with("# crash-prefix: lost-acknowledged-commit: t1 is gone t1"), "{text}");
        let joined = text.replace("\n# ", " ");
        let sizes = "from 163 operations, 1 power loss and 2 faults to 3 operations and 1 power loss.\n";
        assert!(joined.contains(&format!("# Shrunk from seed 5 of engine in 477 runs, {sizes}")), "{joined}");
        let needs = "\n# It fails on the mildest disk there is: profile strict, granules of 4096 bytes.\n\nproofmark plan 1\n";
        assert!(text.contains(needs), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
    }

    #[test]
    fn what_it_needs_is_said() {
        let needs = |disk: &str| needs(&shrunk(&format!("{disk}\n\nverify")).plan, true);
        assert!(needs("profile xfs\ngranule 8").contains("profile xfs with granules of 8 bytes"));
        assert!(needs("").contains("profile posix-worst with granules of 512 bytes"));
        assert!(
            needs("order prefix\nsizes size-first").contains("order prefix, sizes size-first, directories")
        );
        let stopped = Shrunk { is_complete: false, ..shrunk("profile xfs\n\nverify") };
        let text = commented_plan(&stopped, "a.plan");
        assert!(text.contains("stopped") && text.contains("not all milder ones were tried"), "{text}");
        assert!(!text.contains("was not seen to fail"), "{text}");
    }

    #[test]
    fn a_test_asks_for_no_violation_unless_one_is_planted() {
        let honest = regression_test(&shrunk(STEPS), "seed 5 of engine");
        assert!(honest.contains("fn crash_prefix_lost_acknowledged_commit() {"), "{honest}");
        assert!(honest.contains("assert_eq!(run.verdict, Ok(()), "), "{honest}");
        // A value stands behind a quote and a blank, and never ends the string.
        assert!(honest.contains("r#\"proofmark plan 1\n") && honest.contains("\n\"#;\n"), "{honest}");
    }

    #[test]
    fn a_plan_does_not_end_its_own_string() {
        assert_eq!(longest_fence("c0 put \"k\" #1*8"), 0);
        assert_eq!(longest_fence("c0 put \"#k\"##\""), 2);
    }
}
