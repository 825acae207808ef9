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
    assert_eq!(survey.garbage_count, 0, "everything is retained");
    assert!(survey.height >= 2 && survey.branches.page_count >= 1);
    assert!((0.5..1.0).contains(&survey.leaves.fill(4096)), "{}", survey.leaves.fill(4096));
}

#[test]
fn what_no_snapshot_needs_is_garbage_until_its_page_is_written() {
    let (_directory, database) = open(Retention::Txns(1));
    commit(&database, (0..1000).map(|key| (key, Some(100))));
    commit(&database, [(1, Some(1)), (2, None)]);
    assert_eq!(survey(&database).garbage_count, 0, "the first state is still retained");
    commit(&database, [(900, Some(1))]);
    let later = survey(&database);
    assert_eq!(later.garbage_count, later.version_count - 1000, "{later:?}");
}
