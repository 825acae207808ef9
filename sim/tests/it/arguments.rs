//! Questions that make no sense.

use crate::command::{contents, proofmark};

#[test]
fn bad_arguments_are_refused_and_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 27] = [
        (&["bogus"], "bogus"),
        (&["--bogus"], "--bogus"),
        (&["run", "extra"], "extra"),
        (&["run", "--store", "mysql"], "engine, redb"),
        (&["run", "--store"], "--store"),
        (&["run", "--seeds", "0"], "--seeds"),
        (&["run", "--seeds", "-1"], "-1"),
        (&["run", "--seeds", "many"], "many"),
        (&["run", "--seed", "18446744073709551616"], "18446744073709551616"),
        (&["run", "--seed", "1", "--seeds", "2"], "cannot be used with"),
        (&["run", "--seed", "1", "--time", "1s"], "cannot be used with"),
        (&["run", "--time", "soon"], "soon"),
        (&["run", "--time", "0s"], "longer than nothing"),
        (&["run", "--jobs", "0"], "1..=1024"),
        (&["run", "--jobs", "1025"], "1..=1024"),
        (&["run", "--jobs", "100000"], "100000"),
        (&["run", "--start", "18446744073709551615", "--seeds", "2"], "the largest is 18446744073709551615"),
        (
            &["replica", "--start", "18446744073709551615", "--seeds", "1000"],
            "the largest is 18446744073709551615",
        ),
        (&["torture", "--scheduler", "random", "--depth", "5"], "--scheduler pct"),
        (&["torture", "--forced-yields", "0.0005"], "from 0.001 to 1"),
        (&["replay", "1", "--torture", "--scheduler", "urw", "--depth", "5"], "--scheduler pct"),
        (&["replay"], "SEED|PLAN-FILE"),
        (&["plan"], "required"),
        (&["shrink"], "required"),
        (&["shrink", "1", "--time", "0s"], "longer than nothing"),
        (&["db", "repair", "."], "repair"),
        (&["db", "verify"], "PATH"),
    ];
    for (arguments, reason) in cases {
        proofmark(directory.path(), arguments).assert_refused(&[reason]);
    }
    assert!(contents(directory.path()).is_empty());
}

#[test]
fn help_and_version_are_answers() {
    let directory = tempfile::tempdir().unwrap();
    let version = proofmark(directory.path(), ["--version"]);
    version.assert_sound();
    assert_eq!(version.out, concat!("proofmark ", env!("CARGO_PKG_VERSION"), "\n"));
    for arguments in [
        &["--help"] as &[&str],
        &["run", "--help"],
        &["replay", "--help"],
        &["shrink", "--help"],
        &["db", "--help"],
    ] {
        let help = proofmark(directory.path(), arguments);
        help.assert_sound();
        assert!(help.out.contains("Examples:\n  proofmark"), "{}", help.out);
        assert!(help.out.lines().all(|line| line.len() <= 120), "{}", help.out);
    }
}
