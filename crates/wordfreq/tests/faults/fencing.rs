//! A worker that is frozen until its lease has run out, and then thawed: it must notice, and write nothing.

use std::collections::BTreeMap;

use rustix::process::Signal;
use wordfreq_core::ProfileName;

use crate::oracle;
use crate::system::{Running, System};

const KEY: &str = "big.txt";

/// A text that keeps a worker busy for a while; the machine decides how much text that takes.
fn text(megabytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(megabytes << 20);
    let mut number = 0;
    while text.len() < megabytes << 20 {
        number = (number + 1) % 977;
        text.extend_from_slice(format!("word{number} and its Neighbour,\n").as_bytes());
    }
    text
}

/// A worker, stopped while it holds the lease of the document it was counting, and that document.
fn stopped_worker_with_lease(system: &System) -> (Running, Vec<u8>) {
    // Puts the profile in force, without which no worker works.
    system.run_until_idle(&[]);
    for megabytes in [8, 32, 128, 512] {
        let bytes = text(megabytes);
        system.write(KEY, &bytes);
        system.upload(&[KEY]);
        let worker = system.start(&["worker"], &[]);
        system.until("the document is leased or done", || {
            system.depth("in_flight") == 1 || system.depth("visible") == 0
        });
        worker.signal(Signal::STOP);
        // Stopped now; so if the message is there still, it was leased and not settled.
        if system.depth("in_flight") + system.depth("visible") == 1 {
            return (worker, bytes);
        }
        worker.signal(Signal::CONT);
        worker.signal(Signal::KILL);
    }
    panic!("no document is large enough to stop a worker while it counts");
}

/// Waits until a thawed worker has noticed, which it tells otherwise if it was frozen between leasing and beginning to count.
fn notices(worker: &mut Running) {
    worker.wait_for_any_line(&["abandoned: the lease is lost", "given back: not begun within its lease"]);
}

fn ended_well(mut worker: Running) {
    worker.signal(Signal::TERM);
    let status = worker.wait_for_end();
    assert!(status.success(), "{status}: {}", worker.log.join("\n"));
}

#[test]
fn a_stopped_worker_writes_nothing_once_another_has_counted_its_document() {
    let system = System::new().with_short_leases();
    let (mut stopped, bytes) = stopped_worker_with_lease(&system);
    let mut other = system.start(&["worker"], &[]);
    other.wait_for_line(r#""message":"counted""#);
    let before = system.list();
    assert_eq!(before.len(), 1);

    stopped.signal(Signal::CONT);
    notices(&mut stopped);
    ended_well(stopped);
    ended_well(other);
    assert_eq!(system.list(), before, "the same result, of the same moment, by the same count");
    system.run_until_idle(&[]);
    assert_eq!(system.list(), before);
    system.assert_holds(ProfileName::Unicode, &BTreeMap::from([(KEY.to_owned(), bytes)]));
}

#[test]
fn a_stopped_worker_does_not_bring_back_an_old_version() {
    let system = System::new().with_short_leases();
    let (mut stopped, _) = stopped_worker_with_lease(&system);
    let newer = b"the newer version".to_vec();
    system.write(KEY, &newer);
    system.upload(&[KEY]);
    let mut other = system.start(&["worker"], &[]);
    other.wait_for_line(r#""message":"counted""#);
    // The old version's message as well: its lease has run out, and it was found to be superseded.
    system.until("nothing is left to do", || system.depth("in_flight") + system.depth("visible") == 0);
    let before = system.list();

    stopped.signal(Signal::CONT);
    notices(&mut stopped);
    ended_well(stopped);
    ended_well(other);
    assert_eq!(system.list(), before);
    system.run_until_idle(&[]);
    assert_eq!(system.list(), before);
    system.assert_holds(ProfileName::Unicode, &BTreeMap::from([(KEY.to_owned(), newer)]));
}

#[test]
fn a_lease_that_ran_out_is_lost_even_if_nobody_took_it() {
    let system = System::new().with_short_leases();
    let (mut stopped, bytes) = stopped_worker_with_lease(&system);
    system.until("the lease has run out", || system.depth("visible") == 1);
    assert_eq!(system.list(), BTreeMap::new());

    stopped.signal(Signal::CONT);
    notices(&mut stopped);
    // The message comes again, to the same worker, under a lease of its own.
    let counted = stopped.wait_for_line(r#""message":"counted""#);
    assert!(counted.contains(KEY), "{counted}");
    ended_well(stopped);
    assert_eq!(system.list().len(), 1);
    system.run_until_idle(&[]);
    assert_eq!(system.totals(), oracle::report(ProfileName::Unicode, [&bytes[..]]));
    system.assert_holds(ProfileName::Unicode, &BTreeMap::from([(KEY.to_owned(), bytes)]));
}
