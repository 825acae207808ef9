//! What a survey counts, against what was done.

use proofmark_engine::{Database, Options, Retention, Survey};

fn open(retention: Retention) -> (tempfile::TempDir, Database) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new().page_size(4096).retention(retention);
    let database = Database::open(directory.path().join("db"), &options).expect("a database is created");
    (directory, database)
}

fn commit(database: &Database, pairs: impl IntoIterator<Item = (u32, Option<usize>)>) {
    let mut write = database.begin_write().expect("nobody else writes");
    for (key, value) in pairs {
        match value {
            Some(bytes) => write.put(&key.to_be_bytes(), &vec![7; bytes]).expect("legal"),
            None => write.delete(&key.to_be_bytes()).expect("legal"),
        }
    }
    write.commit().expect("the disk is fine");
}

fn survey(database: &Database) -> Survey {
    database.checkpoint().expect("the disk is fine");
    let survey = database.survey().expect("everything can be read");
    let verified = database.verify().expect("everything is whole");
    assert_eq!((survey.page_count, survey.height), (verified.page_count, verified.height));
    assert_eq!(survey.version_count, verified.version_count);
    let trees = [survey.branches, survey.leaves, survey.large_values];
    let pages: u64 = trees.iter().map(|usage| usage.page_count).sum();
    let others = survey.free_list_page_count + survey.free_page_count + survey.waiting_page_count;
    assert_eq!(2 + pages + others, survey.page_count, "every page is counted once: {survey:?}");
    survey
}

#[test]
fn an_empty_database_has_two_meta_pages() {
    let (_directory, database) = open(Retention::Latest);
    let survey = database.survey().expect("there is nothing to read");
    assert_eq!(survey, Survey { page_size: 4096, page_count: 2, ..Survey::default() });
    assert!((survey.leaves.fill(4096) - 1.0).abs() < 1e-9, "no page is badly filled");
}

#[test]
fn pages_and_versions_are_counted() {
    let (_directory, database) = open(Retention::All);
    commit(&database, (0..1000).map(|key| (key, Some(100))));
    commit(&database, (0..100).map(|key| (key, Some(10))));
    commit(&database, (0..50).map(|key| (key, None)));
    commit(&database, [(5000, Some(10_000)), (5001, Some(4096))]);
    let survey = survey(&database);
    assert_eq!((survey.key_count, survey.version_count, survey.deletion_count), (1002, 1152, 50));
    assert_eq!((survey.large_value_count, survey.large_values.page_count), (2, 3 + 1));
    assert_eq!(survey.large_values.used_bytes, 10_000 + 4096);
    assert!(survey.height >= 2 && survey.branches.page_count >= 1);
    assert!((0.5..1.0).contains(&survey.leaves.fill(4096)), "{}", survey.leaves.fill(4096));
}

/// 1000 keys, and then four times a transaction that writes 400 of them again, and one that deletes one of the others; with
/// checkpoints in between.
fn history(retention: Retention) -> Survey {
    let (_directory, database) = open(retention);
    commit(&database, (0..1000).map(|key| (key, Some(100))));
    let mut last = survey(&database);
    for round in 0..4 {
        commit(&database, (0..400).map(|key| (key * 2, Some(round))));
        commit(&database, [(2 * round as u32 + 1, None)]);
        last = survey(&database);
    }
    last
}

#[test]
fn nothing_but_what_is_retained_is_there_after_a_checkpoint() {
    let counts = |survey: Survey| (survey.key_count, survey.version_count, survey.deletion_count);
    assert_eq!(counts(history(Retention::Latest)), (996, 996, 0));
    // The state before the last deletion: the deletion, and what it deleted.
    assert_eq!(counts(history(Retention::Txns(1))), (997, 998, 1));
    // And the one before 400 keys were written last; and the one before the deletion before that.
    assert_eq!(counts(history(Retention::Txns(2))), (997, 997 + 400 + 1, 1));
    assert_eq!(counts(history(Retention::Txns(3))), (998, 998 + 400 + 2, 2));
    assert_eq!(counts(history(Retention::All)), (1000, 1000 + 4 * 400 + 4, 4));
}
