//! Several tables into one, by tasks that share nothing they write to: each has some lines of the narrow part, and one has the wide
//! part. No lock, and no word is looked at by two.
//!
//! As lines are by the first bits of a hash, the words of some lines are in the same lines of another table with the same keys, or
//! in those right behind. Not here: in which threads tasks run, which is up to the caller.

use super::{FEWEST, Key, Line, SLOTS, SWEEP, Table, add_to, key_in, narrow_words, shift};

/// Something to do, at the same time as others or not.
pub type Task<'a> = Box<dyn FnOnce() + Send + 'a>;

/// What a task has done to some lines.
#[derive(Default)]
struct Done {
    used: usize,
    /// For what there was no room in them.
    left: Vec<(Key, u32)>,
}

impl Table {
    /// Adds all of `others` by about so many tasks, all of which `run` must run.
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
        // Each task only knows whether there is room in its own lines: some more of it. The same words in all of them are the rule.
        let used: usize = tables().map(|table| table.narrow_used).sum();
        let slots = (used + used / 2).next_power_of_two().max(FEWEST);
        let lines = tables().map(|table| table.narrow.len()).fold(slots / SLOTS, usize::max);
        if self.narrow.len() < lines {
            self.resize_narrow(lines);
        }
        self.unswept = unswept;
        let mut wide = Table {
            wide: std::mem::take(&mut self.wide),
            wide_used: std::mem::take(&mut self.wide_used),
            arena: std::mem::take(&mut self.arena),
            keys: self.keys,
            debt: self.debt,
            ..Table::default()
        };
        let mut done: Vec<Done> = Vec::new();
        done.resize_with(parts.clamp(1, lines), Done::default);
        let parts = done.len();
        let mut tasks: Vec<Task<'_>> = Vec::with_capacity(1 + parts);
        tasks.push(Box::new(|| others.iter().for_each(|other| wide.merge_wide(other))));
        let (keys, shift) = (self.keys, shift(&self.narrow));
        let (mut rest, mut start) = (&mut self.narrow[..], 0);
        for (part, done) in done.iter_mut().enumerate() {
            let end = (part + 1) * lines / parts;
            let own;
            (own, rest) = rest.split_at_mut(end - start);
            tasks.push(Box::new(move || {
                for other in others.iter().map(|other| &other.narrow[..]).filter(|lines| !lines.is_empty()) {
                    let first = |key| (keys.narrow(key) >> shift) as usize;
                    done.merge(own, start, lines / other.len(), first, other);
                }
            }));
            start = end;
        }
        run(tasks);
        self.narrow_used += done.iter().map(|done| done.used).sum::<usize>();
        (self.wide, self.wide_used, self.arena) = (wide.wide, wide.wide_used, wide.arena);
        if wide.keys != self.keys {
            // Long words collided.
            self.keys = wide.keys;
            self.resize_narrow(lines);
        }
        self.debt = wide.debt;
        for (key, count) in done.into_iter().flat_map(|done| done.left) {
            self.add_key(key, u64::from(count));
        }
        others.iter().for_each(|other| self.merge_swept(other));
        self.reserve_narrow(0);
    }
}

impl Done {
    /// Adds the words of another table that belong to `own` lines, of which the first is `start`. `first` tells the line of a key;
    /// there are `ratio` lines for each of the other table.
    fn merge(
        &mut self,
        own: &mut [Line],
        start: usize,
        ratio: usize,
        first: impl Fn(Key) -> usize,
        other: &[Line],
    ) {
        let end = start + own.len();
        let (from, to) = (start / ratio, (end - 1) / ratio);
        for (at, line) in (from..).zip(other[from..].iter().chain(&other[..from])) {
            for (key, count) in
                narrow_words(std::slice::from_ref(line)).map(|(slot, count)| (key_in(slot), count))
            {
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
