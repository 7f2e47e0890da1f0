//! A database that this program did not write, or that is damaged: refused in plain words, and left as it is.

use std::fs;
use std::path::PathBuf;

use crate::system::System;

/// Every command that opens a data directory.
const COMMANDS: [&[&str]; 5] =
    [&["up"], &["worker"], &["upload", "a.txt"], &["results", "totals"], &["queue", "status"]];

/// Where a database's header holds `user_version`, big-endian (<https://www.sqlite.org/fileformat.html>).
const USER_VERSION: std::ops::Range<usize> = 60..64;

/// A system that has counted one document, and its database at rest.
fn counted() -> (System, PathBuf, Vec<u8>) {
    let system = System::new();
    system.write("a.txt", "a word");
    system.upload(&["a.txt"]);
    system.run_until_idle(&[]);
    // The last to close the database puts it to rest, and this one closes it.
    system.depth("visible");
    let database = system.data().join("wordfreq.db");
    // Or the header would not be the last word.
    assert!(!system.data().join("wordfreq.db-wal").exists(), "the log is left");
    let sound = fs::read(&database).unwrap();
    (system, database, sound)
}

fn assert_all_refuse(system: &System, database: &PathBuf, bytes: &[u8], says: &[&str]) {
    fs::write(database, bytes).unwrap();
    for command in COMMANDS {
        let ended = system.run(command).code(1);
        ended.says(says);
        ended.says(&["error: ", database.to_str().unwrap()]);
        assert!(fs::read(database).unwrap() == bytes, "{command:?} wrote to a database it refused");
    }
}

fn assert_unharmed(system: &System, database: &PathBuf, sound: &[u8]) {
    fs::write(database, sound).unwrap();
    system.run_until_idle(&[]);
    assert_eq!(system.totals()["words"], 2);
}

#[test]
fn a_newer_schema_is_refused() {
    let (system, database, sound) = counted();
    let mut newer = sound.clone();
    newer[USER_VERSION].copy_from_slice(&99_u32.to_be_bytes());
    assert_all_refuse(&system, &database, &newer, &["schema 99", "newer wordfreq", "use that version"]);
    assert_unharmed(&system, &database, &sound);
}

#[test]
fn an_impossible_schema_is_refused() {
    let (system, database, sound) = counted();
    let mut impossible = sound.clone();
    impossible[USER_VERSION].copy_from_slice(&(-1_i32).to_be_bytes());
    assert_all_refuse(&system, &database, &impossible, &["no valid schema"]);
    assert_unharmed(&system, &database, &sound);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let (system, database, sound) = counted();
    let mut garbage = sound.clone();
    garbage[..100].fill(b'#');
    assert_all_refuse(&system, &database, &garbage, &["not a database"]);
    assert_unharmed(&system, &database, &sound);
}
