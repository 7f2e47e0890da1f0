//! The contract of [`Fleet`], checked against an adapter.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wordfreq_core::scaling::InstanceState;

use crate::fleet::{Fleet, Member};

/// Far longer than anything takes on a loaded machine.
const GUARD: Duration = Duration::from_secs(60);

/// A fleet to check, without instances, and what its owner cannot do by the port.
pub struct Subject<'a> {
    /// The fleet.
    pub fleet: &'a dyn Fleet,
    /// Waits until it has changed, or for a while.
    pub wait: &'a dyn Fn(Duration),
    /// Makes an instance end unasked, as a crash would.
    pub crash: &'a dyn Fn(&Member),
}

impl Subject<'_> {
    fn until(&self, what: &str, is_so: impl Fn(&[Member]) -> bool) -> Vec<Member> {
        let deadline = Instant::now() + GUARD;
        loop {
            let members = self.fleet.members().expect("members");
            if is_so(&members) {
                return members;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never so: {what}: {members:#?}");
            (self.wait)(left.min(Duration::from_secs(1)));
        }
    }

    fn launch(&self, count: u32) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        let mut planned = |planned: &[String]| {
            let members = self.fleet.members().expect("members");
            for id in planned {
                let member = members.iter().find(|member| member.instance.id == *id).expect("in the list");
                assert_eq!(member.instance.state, InstanceState::Pending, "it has not begun: {member:?}");
            }
            ids.extend_from_slice(planned);
        };
        self.fleet.launch(count, &mut planned).expect("launch");
        assert_eq!(ids.len(), count as usize, "an id for each instance");
        let members = self.fleet.members().expect("members");
        let newest: Vec<&str> =
            members[members.len() - ids.len()..].iter().map(|member| member.instance.id.as_str()).collect();
        assert_eq!(newest, ids, "they are in the list at once, in the order of their launches");
        ids
    }
}

fn in_service(members: &[Member]) -> usize {
    let well =
        |member: &&Member| member.instance.state == InstanceState::InService && member.instance.healthy;
    members.iter().filter(well).count()
}

/// Runs every check.
pub fn check_all(subject: &Subject<'_>) {
    instances_come_into_service_and_go_when_asked(subject);
    who_is_asked_twice_or_is_not_there_is_no_error(subject);
    who_ends_unasked_stays_in_the_list_until_asked_to_go(subject);
    who_is_asked_before_it_is_in_service_goes_too(subject);
}

/// Pending, InService, Terminating, gone; nobody goes back, and nobody who was not asked goes.
pub fn instances_come_into_service_and_go_when_asked(subject: &Subject<'_>) {
    let ids = subject.launch(3);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3, "ids are different");
    for member in subject.until("three in service", |members| in_service(members) == 3) {
        let instance = member.instance;
        assert!(instance.in_service_at.expect("a moment") >= instance.launched_at, "{instance:?}");
        assert!(!instance.busy && !instance.protected, "it holds nothing: {instance:?}");
    }
    subject.fleet.terminate(&ids[1..2]).expect("terminate");
    let members = subject.fleet.members().expect("members");
    let state =
        |id: &str| members.iter().find(|member| member.instance.id == id).map(|member| member.instance.state);
    assert!(matches!(state(&ids[1]), None | Some(InstanceState::Terminating)), "{members:#?}");
    let left = subject.until("one is gone", |members| members.len() == 2);
    assert_eq!(in_service(&left), 2);
    assert!(left.iter().all(|member| member.instance.id != ids[1]));
    subject.fleet.terminate(&ids).expect("terminate");
    subject.until("all are gone", <[Member]>::is_empty);
}

/// Asking again is harmless.
pub fn who_is_asked_twice_or_is_not_there_is_no_error(subject: &Subject<'_>) {
    let ids = subject.launch(1);
    subject.fleet.terminate(&["i-nobody".to_owned()]).expect("who is not there");
    assert_eq!(subject.fleet.members().expect("members").len(), 1);
    subject.fleet.terminate(&ids).expect("terminate");
    subject.fleet.terminate(&ids).expect("again");
    subject.fleet.terminate(&[]).expect("nobody");
    subject.until("it is gone", <[Member]>::is_empty);
    subject.fleet.terminate(&ids).expect("who is gone");
}

/// The owner of the size learns of every loss.
pub fn who_ends_unasked_stays_in_the_list_until_asked_to_go(subject: &Subject<'_>) {
    let ids = subject.launch(2);
    let members = subject.until("two in service", |members| in_service(members) == 2);
    (subject.crash)(&members[0]);
    let members = subject.until("it is found to be lost", |members| in_service(members) == 1);
    let lost = &members[0];
    assert_eq!((members.len(), &lost.instance.id), (2, &ids[0]), "it is still in the list");
    assert!(!lost.instance.healthy && lost.note.is_some() && !lost.instance.busy, "{lost:?}");
    assert_eq!(lost.instance.state, InstanceState::InService, "it keeps its state");
    subject.fleet.terminate(&ids[..1]).expect("terminate");
    subject.until("it is gone", |members| members.len() == 1);
    subject.fleet.terminate(&ids).expect("terminate");
    subject.until("all are gone", <[Member]>::is_empty);
}

/// Also an instance that does not work yet goes when it is asked to.
pub fn who_is_asked_before_it_is_in_service_goes_too(subject: &Subject<'_>) {
    let ids = subject.launch(4);
    subject.fleet.terminate(&ids).expect("terminate");
    subject.until("all are gone", <[Member]>::is_empty);
}
