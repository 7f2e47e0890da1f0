//! Several tables into one, by tasks that share nothing they write to: each has some lines of short words and some of medium ones, and
//! one more has the long words. No lock, and no word is looked at by two.
//!
//! As lines are by the first bits of a hash, the words of some lines are in the same lines of another table with the same keys, or
//! in those right behind. Not here: in which threads tasks run, which is up to the caller.

use super::buckets::{Buckets, add_to, lines_for};
use super::{Key, Keys, Line, SWEEP, Table, key_in};
use crate::simd::lines::shift_for;

/// Something to do, at the same time as others or not.
pub type Task<'a> = Box<dyn FnOnce() + Send + 'a>;

/// So many lines tell how much two tables have in common.
const LOOKED_AT: usize = 1024;

/// What a task has done to some lines.
#[derive(Default)]
struct Done {
    used: usize,
    /// For what there was no room in them.
    left: Vec<(Key, u32)>,
}

impl Table {
    /// Adds all of `others` by one task more than `parts`, of which there is one at least; `run` must run all of them.
    pub(crate) fn merge_in_parts(
        &mut self,
        others: &[&Table],
        parts: usize,
        run: impl FnOnce(Vec<Task<'_>>),
    ) {
        let tables = || std::iter::once(&*self).chain(others.iter().copied());
        let unswept = tables().fold(others.len() as u64, |sum, table| sum.saturating_add(table.unswept));
        if unswept >= SWEEP || others.iter().any(|other| other.keys != self.keys) {
            return others.iter().for_each(|other| self.merge(other));
        }
        self.unswept = unswept;
        let keys = self.keys;
        let mut long = Table {
            long: std::mem::take(&mut self.long),
            long_used: std::mem::take(&mut self.long_used),
            arena: std::mem::take(&mut self.arena),
            keys,
            debt: self.debt,
            ..Table::default()
        };
        self.short.make_room(others.iter().map(|other| &other.short), keys);
        self.medium.make_room(others.iter().map(|other| &other.medium), keys);
        let mut done: Vec<[Done; 2]> = Vec::new();
        done.resize_with(parts.max(1), Default::default);
        let mut tasks: Vec<Task<'_>> =
            vec![Box::new(|| others.iter().for_each(|other| long.merge_long(other)))];
        let parts = self.short.split(done.len()).zip(self.medium.split(done.len()));
        for ((mut short, mut medium), [short_done, medium_done]) in parts.zip(&mut done) {
            tasks.push(Box::new(move || {
                others.iter().for_each(|other| short.merge(&other.short.lines, keys, short_done));
                others.iter().for_each(|other| medium.merge(&other.medium.lines, keys, medium_done));
            }));
        }
        run(tasks);
        self.short.used += done.iter().map(|[short, _]| short.used).sum::<usize>();
        self.medium.used += done.iter().map(|[_, medium]| medium.used).sum::<usize>();
        (self.long, self.long_used, self.arena) = (long.long, long.long_used, long.arena);
        if long.keys != keys {
            // Long words collided.
            self.keys = long.keys;
            self.short.resize(self.short.lines.len(), self.keys);
            self.medium.resize(self.medium.lines.len(), self.keys);
        }
        self.debt = long.debt;
        for (key, count) in done.into_iter().flatten().flat_map(|done| done.left) {
            self.add_key(key, u64::from(count));
        }
        others.iter().for_each(|other| self.merge_swept(other));
        self.reserve(0);
    }
}

impl<const LEN: usize, const SLOTS: usize> Buckets<LEN, SLOTS> {
    /// Makes room for the words of all of `others`.
    pub(super) fn make_room<'a>(&mut self, others: impl Iterator<Item = &'a Self> + Clone, keys: Keys) {
        let new: usize = others.clone().map(|other| self.new_of(other, keys)).sum();
        let most = others.map(|other| other.lines.len()).fold(self.lines.len(), usize::max);
        // Each task only knows whether there is room in its own lines: some more of it.
        let used = self.used + new;
        let lines = lines_for::<SLOTS>(used + used / 2).max(most);
        if self.lines.len() < lines {
            self.resize(lines, keys);
        }
    }

    /// About how many of the words of `other` are not here, by some of them: tables of the same text have most in common, and those of
    /// different ones nothing.
    fn new_of(&self, other: &Self, keys: Keys) -> usize {
        let step = other.lines.len().div_ceil(LOOKED_AT).max(1);
        let some = other.lines.iter().step_by(step).flat_map(Line::used);
        let (mut all, mut new) = (0, 0);
        for (slot, _) in some {
            all += 1;
            new += usize::from(self.count(key_in(slot), keys) == 0);
        }
        (other.used * new).div_ceil(all.max(1))
    }

    /// Cuts the lines into that many parts.
    fn split(&mut self, parts: usize) -> impl Iterator<Item = Part<'_, LEN, SLOTS>> {
        let all = self.lines.len();
        let (mut rest, mut start) = (&mut self.lines[..], 0);
        (1..=parts).map(move |part| {
            let end = part * all / parts;
            let own;
            (own, rest) = std::mem::take(&mut rest).split_at_mut(end - start);
            let part = Part { own, start, all };
            start = end;
            part
        })
    }
}

/// Some lines of a table, from the line `start` on, and how many it has in all.
struct Part<'a, const LEN: usize, const SLOTS: usize> {
    own: &'a mut [Line<LEN, SLOTS>],
    start: usize,
    all: usize,
}

impl<const LEN: usize, const SLOTS: usize> Part<'_, LEN, SLOTS> {
    /// Adds those words of another table's lines, of which there are no more, that belong to these.
    fn merge(&mut self, other: &[Line<LEN, SLOTS>], keys: Keys, done: &mut Done) {
        if self.own.is_empty() || other.is_empty() {
            return;
        }
        let (start, end, ratio) = (self.start, self.start + self.own.len(), self.all / other.len());
        let shift = shift_for(self.all);
        let (from, to) = (start / ratio, (end - 1) / ratio);
        for (at, line) in (from..).zip(other[from..].iter().chain(&other[..from])) {
            for (key, count) in line.used().map(|(slot, count)| (key_in(slot), count)) {
                let first = (keys.hash(key) >> shift) as usize;
                if (start..end).contains(&first)
                    && add_to(&mut self.own[first - start..], key, count, &mut done.used).is_none()
                {
                    done.left.push((key, count));
                }
            }
            // What did not fit its line went on from one that is full to the next.
            if at >= to && line.counts.contains(&0) {
                break;
            }
        }
    }
}
