//! Several tables into one, by tasks that share nothing they write to: each has some lines of short words or of medium ones, and one
//! has the long words. No lock, and no word is looked at by two.
//!
//! As lines are by the first bits of a hash, the words of some lines are in the same lines of another table with the same keys, or
//! in those right behind. Not here: in which threads tasks run, which is up to the caller.

use super::buckets::{Buckets, add_to, lines_for, words};
use super::{Key, Keys, Line, SWEEP, Table, key_in, shift};

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
    /// Adds all of `others` by about so many tasks for each kind of word, all of which `run` must run.
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
        let short: Vec<_> = others.iter().map(|other| &other.short).collect();
        let medium: Vec<_> = others.iter().map(|other| &other.medium).collect();
        let mut short_done = self.short.make_room(&short, parts, keys);
        let mut medium_done = self.medium.make_room(&medium, parts, keys);
        let mut tasks: Vec<Task<'_>> =
            vec![Box::new(|| others.iter().for_each(|other| long.merge_long(other)))];
        self.short.merge_tasks(&short, keys, &mut short_done, &mut tasks);
        self.medium.merge_tasks(&medium, keys, &mut medium_done, &mut tasks);
        run(tasks);
        self.short.used += short_done.iter().map(|done| done.used).sum::<usize>();
        self.medium.used += medium_done.iter().map(|done| done.used).sum::<usize>();
        (self.long, self.long_used, self.arena) = (long.long, long.long_used, long.arena);
        if long.keys != keys {
            // Long words collided.
            self.keys = long.keys;
            self.short.resize(self.short.lines.len(), self.keys);
            self.medium.resize(self.medium.lines.len(), self.keys);
        }
        self.debt = long.debt;
        for (key, count) in short_done.into_iter().chain(medium_done).flat_map(|done| done.left) {
            self.add_key(key, u64::from(count));
        }
        others.iter().for_each(|other| self.merge_swept(other));
        self.reserve(0);
    }
}

impl<const LEN: usize, const SLOTS: usize> Buckets<LEN, SLOTS> {
    /// Makes room for the words of all of `others`. Returns what that many parts have done: nothing.
    fn make_room(&mut self, others: &[&Self], parts: usize, keys: Keys) -> Vec<Done> {
        let new: usize = others.iter().map(|other| self.new_of(other, keys)).sum();
        let most = others.iter().map(|other| other.lines.len()).fold(self.lines.len(), usize::max);
        // Each task only knows whether there is room in its own lines: some more of it.
        let used = self.used + new;
        let lines = lines_for::<SLOTS>(used + used / 2).max(most);
        if self.lines.len() < lines {
            self.resize(lines, keys);
        }
        let mut done = Vec::new();
        done.resize_with(parts.clamp(1, lines), Done::default);
        done
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

    /// Makes a task for each part that adds what `others` have for the lines of that part.
    fn merge_tasks<'a>(
        &'a mut self,
        others: &'a [&'a Self],
        keys: Keys,
        done: &'a mut [Done],
        tasks: &mut Vec<Task<'a>>,
    ) {
        let (lines, parts, shift) = (self.lines.len(), done.len(), shift(&self.lines));
        let (mut rest, mut start) = (&mut self.lines[..], 0);
        for (part, done) in done.iter_mut().enumerate() {
            let end = (part + 1) * lines / parts;
            let own;
            (own, rest) = rest.split_at_mut(end - start);
            tasks.push(Box::new(move || {
                for other in others.iter().map(|other| &other.lines[..]).filter(|lines| !lines.is_empty()) {
                    let first = |key| (keys.hash(key) >> shift) as usize;
                    done.merge(own, start, lines / other.len(), first, other);
                }
            }));
            start = end;
        }
    }
}

impl Done {
    /// Adds the words of another table that belong to `own` lines, of which the first is `start`. `first` tells the line of a key;
    /// there are `ratio` lines for each of the other table.
    fn merge<const LEN: usize, const SLOTS: usize>(
        &mut self,
        own: &mut [Line<LEN, SLOTS>],
        start: usize,
        ratio: usize,
        first: impl Fn(Key) -> usize,
        other: &[Line<LEN, SLOTS>],
    ) {
        let end = start + own.len();
        let (from, to) = (start / ratio, (end - 1) / ratio);
        for (at, line) in (from..).zip(other[from..].iter().chain(&other[..from])) {
            for (key, count) in words(std::slice::from_ref(line)).map(|(slot, count)| (key_in(slot), count)) {
                let first = first(key);
                if (start..end).contains(&first)
                    && add_to(&mut own[first - start..], key, count, &mut self.used).is_none()
                {
                    self.left.push((key, count));
                }
            }
            // What did not fit its line went on from one that is full to the next.
            if at >= to && line.counts.contains(&0) {
                break;
            }
        }
    }
}
