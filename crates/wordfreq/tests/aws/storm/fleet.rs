//! Worker processes that die at named places and at random, and are started anew. Not here: what they work on.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;

use super::ground::Ground;
use crate::oracle::Random;
use crate::process::{Running, is_kill};
use crate::world::Program;

/// Every place of a worker on AWS.
pub(super) const PLACES: [&str; 15] = [
    "worker.before_receive",
    "worker.leased",
    "process.before_open",
    "process.before_count",
    "process.after_count",
    "dynamo.after_spill",
    "dynamo.before_put",
    "dynamo.after_put",
    "worker.before_tell",
    "worker.after_tell",
    "sqs.before_dead_letter",
    "sqs.dead_letter_sent",
    "sqs.after_dead_letter",
    "worker.before_ack",
    "worker.after_ack",
];

/// Places that few messages lead to: the first time there must do.
const RARE: [&str; 4] =
    ["dynamo.after_spill", "sqs.before_dead_letter", "sqs.dead_letter_sent", "sqs.after_dead_letter"];

const AT_RANDOM: &str = "(at random)";

/// Processes of each ground, the first of which has most to do.
const PROCESSES: [usize; 3] = [3, 1, 1];

/// One turn in so many somebody is shot.
const SHOT_ONE_IN: usize = 25;

/// Much longer than a process takes to start, much shorter than a message stays hidden.
const REST: Duration = Duration::from_millis(100);

/// A place for a process.
struct Slot {
    program: Program,
    process: Option<Running>,
    /// Where it will be killed.
    place: Option<&'static str>,
    is_shot: bool,
    /// The last of each ground's several is never told where to die.
    is_spared: bool,
}

pub(super) struct Fleet {
    slots: Vec<Slot>,
    kills: BTreeMap<&'static str, usize>,
    is_calm: bool,
    /// Of all that have ended.
    log: Vec<String>,
}

impl Fleet {
    pub(super) fn new(grounds: &[Ground]) -> Self {
        let mut slots = Vec::new();
        for (ground, processes) in grounds.iter().zip(PROCESSES) {
            for number in 1..=processes {
                let program = ground.program().clone();
                let is_spared = number == processes && processes > 1;
                slots.push(Slot { program, process: None, place: None, is_shot: false, is_spared });
            }
        }
        Self { slots, kills: BTreeMap::new(), is_calm: false, log: Vec::new() }
    }

    /// From now on workers are told to die again.
    pub(super) fn restart(&mut self, random: &mut Random) {
        self.is_calm = false;
        for process in self.slots.iter_mut().filter_map(|slot| slot.process.take()) {
            self.log.extend(process.stop());
        }
        self.tend(random);
    }

    /// From now on nobody is told to die any more.
    pub(super) fn calm(&mut self) {
        self.is_calm = true;
        for slot in &mut self.slots {
            // Who still has it coming is ended now.
            if let (Some(process), Some(_)) = (&slot.process, slot.place) {
                process.signal(Signal::KILL);
                slot.is_shot = true;
            }
        }
    }

    /// Sees who has died, and starts the next in its stead.
    pub(super) fn tend(&mut self, random: &mut Random) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if let Some(process) = &mut slot.process {
                process.read_on(Duration::ZERO);
                let Some(status) = process.ended() else { continue };
                let log = std::mem::take(&mut process.log);
                assert!(is_kill(status), "a worker ended by itself: {status}: {}", log.join("\n"));
                let place = if slot.is_shot { Some(AT_RANDOM) } else { slot.place };
                let place = place.unwrap_or_else(|| panic!("nobody killed this worker: {}", log.join("\n")));
                *self.kills.entry(place).or_default() += 1;
                self.log.extend(log);
            }
            self.start(index, random);
        }
    }

    fn start(&mut self, index: usize, random: &mut Random) {
        let place =
            if self.is_calm || self.slots[index].is_spared { None } else { Some(self.next_place(random)) };
        let at = match place {
            Some(place) if !RARE.contains(&place) => 1 + random.below(4),
            _ => 1,
        };
        let failpoints = place.map(|place| format!("{place}=kill@{at}")).unwrap_or_default();
        let slot = &mut self.slots[index];
        slot.process = Some(slot.program.worker(&[("WORDFREQ_FAILPOINTS", &failpoints)]));
        slot.place = place;
        slot.is_shot = false;
    }

    /// Where fewest have died or will.
    fn next_place(&self, random: &mut Random) -> &'static str {
        let first = random.below(PLACES.len());
        let places = (0..PLACES.len()).map(|offset| PLACES[(first + offset) % PLACES.len()]);
        let told = |place| self.slots.iter().filter(|slot| slot.place == Some(place)).count();
        places.min_by_key(|place| self.num_kills(place) + told(*place)).unwrap()
    }

    /// Now and then, kills somebody whatever it does.
    pub(super) fn shoot(&mut self, random: &mut Random) {
        if random.below(SHOT_ONE_IN) != 0 {
            return;
        }
        let index = random.below(self.slots.len());
        let slot = &mut self.slots[index];
        if let Some(process) = &slot.process {
            process.signal(Signal::KILL);
            slot.is_shot = true;
        }
    }

    /// Lets the workers work.
    pub(super) fn rest(&mut self) {
        if let Some(process) = self.slots.iter_mut().find_map(|slot| slot.process.as_mut()) {
            process.read_on(REST);
        }
    }

    /// Ends all, which must go well.
    pub(super) fn drain(&mut self) {
        self.slots
            .iter()
            .filter_map(|slot| slot.process.as_ref())
            .for_each(|process| process.signal(Signal::TERM));
        for process in self.slots.iter_mut().filter_map(|slot| slot.process.take()) {
            self.log.extend(process.end_well());
        }
    }

    fn num_kills(&self, place: &str) -> usize {
        self.kills.get(place).copied().unwrap_or(0)
    }

    pub(super) fn is_killed_enough(&self, (at_each_place, at_random): (usize, usize)) -> bool {
        PLACES.iter().all(|place| self.num_kills(place) >= at_each_place)
            && self.num_kills(AT_RANDOM) >= at_random
    }

    pub(super) fn total_kills(&self) -> usize {
        self.kills.values().sum()
    }

    /// How often a line of a log had this text.
    pub(super) fn num_lines(&self, text: &str) -> usize {
        self.log.iter().filter(|line| line.contains(text)).count()
    }

    /// What was said of a document.
    pub(super) fn history(&self, name: &str) -> String {
        let name = serde_json::to_string(name).unwrap();
        let lines: Vec<_> = self.log.iter().filter(|line| line.contains(&name)).cloned().collect();
        lines.join("\n")
    }

    pub(super) fn summary(&self) -> String {
        let Self { kills, .. } = self;
        let lost = self.num_lines("lease lost");
        format!("{} kills: {kills:?}; {lost} leases were lost", self.total_kills())
    }
}
