//! `wordfreq loadtest`: puts a load on the real thing, watches it until all is done and the fleet is back at rest, and
//! accounts for every document.
//!
//! Not here: loads (`load`), made-up documents (`corpus`), the `up` that is started for it (`temporary`), the figures
//! (`run`) and the report (`report`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use wordfreq_core::Profile;
use wordfreq_core::scaling::{AlarmState, Bounds, InstanceState, Moment};
use wordfreq_core::simulation::Sample;
use wordfreq_pipeline::embedded::{DocumentState, Embedded, IfMissing, Lock, Options, Sizing, StagedPut};
use wordfreq_pipeline::fleet::Member;
use wordfreq_pipeline::{DocumentEvent, DocumentId, Drain, Queue as _, Sequence, Timestamp};

use super::up::LOCK_FILE;
use crate::cli::LoadtestArgs;
use crate::config::Config;
use crate::corpus::Corpus;
use crate::exit::{Exit, UsageError};
use crate::load::{self, Service, ServiceTimes, Workload};
use crate::output::{self, Cell, Format, Listing};
use crate::prices::Prices;
use crate::run::{Activity, Document, Ending, Fate, Figures, Run, Transition};
use crate::temporary::{Place, Remains, TemporaryUp};
use crate::{data_directory, report, signals};

/// The bucket whose documents are counted.
const BUCKET: &str = "processing";

/// The most documents of one transaction, and the bytes that are enough for one.
const BATCH_DOCUMENTS: usize = 64;
const BATCH_BYTES: u64 = 64 * 1024 * 1024;

/// How often to look at queue and fleet; less often where a look takes long or there were very many.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOKS_KEPT: usize = 4000;

/// How long a new `up` may take to come to rest.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How long a fleet may take to come to rest before it is told that this is what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(10);

/// How many documents are named that something is the matter with; the list has all of them.
const NAMED_TROUBLES: usize = 20;

/// Tests, and prints what came of it.
///
/// # Errors
/// Wrong usage, and whatever keeps the test from being made.
pub fn run(args: &LoadtestArgs, config: &Config) -> anyhow::Result<Exit> {
    let prices = Prices::built_in()?;
    let hourly = prices.instance(&args.instance_type).map_err(UsageError)?;
    let none = Service::Fixed(Duration::ZERO);
    let workload = Workload::new(args.arrivals.clone(), args.work.clone().unwrap_or(none), args.seed)?;
    let work = args.work.clone().map(|work| ServiceTimes::new(work, args.seed)).transpose()?;
    let source = Source::of(args)?;
    let list_file = args.list.as_deref().map(Sink::open).transpose()?;
    let report_file = args.report.as_deref().map(Sink::open).transpose()?;
    let (drain, remains) = (Drain::new(), Remains::default());
    signals::drain_on_signal(drain.clone(), remains.end_at_once())?;
    // In this order, so that nothing is open in the directory any more when it is removed.
    let (temporary, embedded) = match &args.data_dir {
        Some(_) => (None, running(config)?),
        None => {
            let (up, embedded) = temporary(args, config, &remains)?;
            (Some(up), embedded)
        }
    };
    let started = Timestamp::now();
    let folder = load::folder(started.into());
    let progress = progress();
    let begun = Begun::begin(&embedded, temporary.as_ref(), &drain, &progress);
    let seen = begun.and_then(|begun| {
        let mut test = begun.starting(args.timeout)?;
        let seen =
            test.feed(&workload, &source, &folder).and_then(|not_put| test.watch(not_put, work.as_ref()));
        // Whatever else has gone wrong, they are not to stay.
        let deleted = if args.data_dir.is_some() && !args.leave { test.delete() } else { Ok(()) };
        if let Err(error) = deleted {
            output::remark(format!(
                "error: documents of the test stay, with keys that begin with {folder}: {error:#}"
            ));
        }
        seen
    });
    progress.finish_and_clear();
    let Seen { mut run, sizing, deadline } = seen?;
    run.what = what(args, &sizing, started, &folder);
    run.instance_type.clone_from(&args.instance_type);
    drop(embedded);
    let figures = run.figures(&prices, hourly);
    // What took so long to find out is told first, whatever happens then.
    let outcomes = [
        print(args, &figures, &prices),
        list_file.map_or(Ok(()), |file| file.write(|out| report::csv(out, &run.documents))),
        report_file.map_or(Ok(()), |file| {
            let page = report::html(&run, &figures, &prices.date)?;
            file.write(|out| Ok(out.write_all(page.as_bytes())?))
        }),
        temporary.map_or(Ok(()), |up| up.end(deadline)),
    ];
    let exit = conclude(args, &run, &folder);
    let errors: Vec<anyhow::Error> = outcomes.into_iter().filter_map(Result::err).collect();
    errors.iter().for_each(|error| output::remark(format!("error: {error:#}")));
    Ok(if errors.is_empty() { exit } else { Exit::Failed })
}

/// A file for a result, opened before there is any: a load test is too long to find out at its end that it cannot be.
struct Sink<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Sink<'a> {
    fn open(path: &'a Path) -> Result<Self, UsageError> {
        // What is in it stays until there is something new.
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| UsageError(format!("cannot write {}: {error}", path.display())))?;
        Ok(Self { path, file })
    }

    fn emptied(&self) -> io::Result<BufWriter<&File>> {
        // A pipe or a device has no length.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        Ok(BufWriter::new(&self.file))
    }

    fn write(self, fill: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let written = self.emptied().map_err(anyhow::Error::from).and_then(|mut out| {
            fill(&mut out)?;
            out.flush().map_err(anyhow::Error::from)
        });
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Opens the data directory of a running `up`.
fn running(config: &Config) -> anyhow::Result<Embedded> {
    let embedded = data_directory::open(config, IfMissing::Refuse)?;
    if !Lock::is_taken(&embedded.directory().join(LOCK_FILE))? {
        return Err(UsageError(format!(
            "no `wordfreq up` runs on {}: start one, or leave out --data-dir for a temporary one",
            embedded.directory().display()
        ))
        .into());
    }
    Ok(embedded)
}

/// Starts an `up` on a directory of its own, which is made here.
fn temporary(
    args: &LoadtestArgs,
    config: &Config,
    remains: &Remains,
) -> anyhow::Result<(TemporaryUp, Embedded)> {
    let place = Place::make(args.keep.as_deref(), remains)?;
    let options = Options { max_receive_count: config.queue.max_receive_count.value, ..Options::default() };
    let embedded = Embedded::open(place.path(), IfMissing::Create, options)?;
    let up = TemporaryUp::start(args, place)?;
    Ok((up, embedded))
}

/// What documents hold.
enum Source {
    MadeUp(Corpus),
    Files(Vec<PathBuf>),
}

impl Source {
    fn of(args: &LoadtestArgs) -> anyhow::Result<Self> {
        let Some(directory) = &args.documents else {
            return Ok(Self::MadeUp(Corpus::new(args.vocabulary, args.document_size, args.seed)));
        };
        if !directory.is_dir() {
            return Err(UsageError(format!("there is no directory {}", directory.display())).into());
        }
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(directory).sort_by_file_name() {
            // It names the file.
            let entry = entry.context("cannot read a document")?;
            let kind = entry.file_type();
            if kind.is_file() {
                files.push(entry.into_path());
            } else if !kind.is_dir() && entry.depth() > 0 {
                let what =
                    if kind.is_symlink() { "a symbolic link, not followed" } else { "not a regular file" };
                output::remark(format!(
                    "note: {}: {what}, so it is none of the documents",
                    entry.path().display()
                ));
            }
        }
        if files.is_empty() {
            return Err(UsageError(format!("there is no file below {}", directory.display())).into());
        }
        Ok(Self::Files(files))
    }

    /// The bytes of a document, and the number of its words where that is known.
    fn open(&self, number: u64, profile: &Profile) -> anyhow::Result<(Box<dyn Read>, Option<u64>)> {
        match self {
            Self::MadeUp(corpus) => {
                let document = corpus.document(number, profile);
                Ok((Box::new(io::Cursor::new(document.text)), Some(document.words)))
            }
            Self::Files(files) => {
                let path = &files[(number % files.len() as u64) as usize];
                let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                Ok((Box::new(file), None))
            }
        }
    }
}

/// Shown on a terminal only.
fn progress() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{elapsed}  {msg}") {
        bar.set_style(style);
    }
    bar
}

/// The fleet's clock, from this process's.
#[derive(Clone, Copy)]
struct Times {
    at: Moment,
    wall: Timestamp,
    scale: f64,
}

impl Times {
    fn moment(self, wall: Timestamp) -> Moment {
        let ahead = wall.since(self.wall).mul_f64(self.scale);
        let behind = self.wall.since(wall).mul_f64(self.scale);
        (self.at + ahead).saturating_sub(behind)
    }

    fn now(self) -> Moment {
        self.moment(Timestamp::now())
    }
}

/// The whole, when the fleet is known.
struct Begun<'a> {
    embedded: &'a Embedded,
    temporary: Option<&'a TemporaryUp>,
    drain: &'a Drain,
    progress: &'a ProgressBar,
    profile: Profile,
    sizing: Sizing,
}

/// How the fleet stands.
struct Standing {
    sizing: Sizing,
    members: Vec<Member>,
}

impl Standing {
    fn of(embedded: &Embedded) -> anyhow::Result<Option<Self>> {
        let Some(sizing) = embedded.history.sizing()? else { return Ok(None) };
        Ok(Some(Self { sizing, members: embedded.history.members()? }))
    }

    fn in_service(&self) -> u32 {
        let is_in_service = |member: &&Member| member.instance.state == InstanceState::InService;
        self.members.iter().filter(is_in_service).count() as u32
    }

    /// Whether it has as many as it should, and no other is coming or going.
    fn is_settled(&self) -> bool {
        let desired = self.sizing.state.desired;
        self.in_service() == desired && self.members.len() == desired as usize
    }

    /// The sizes it may have now.
    fn bounds(&self) -> Bounds {
        self.sizing.state.scheduled.unwrap_or(self.sizing.bounds)
    }

    fn is_at_rest(&self) -> bool {
        self.is_settled() && self.sizing.state.desired <= self.bounds().min
    }
}

impl<'a> Begun<'a> {
    /// Waits for the fleet to be there; one that was started for the test, to be at rest.
    fn begin(
        embedded: &'a Embedded,
        temporary: Option<&'a TemporaryUp>,
        drain: &'a Drain,
        progress: &'a ProgressBar,
    ) -> anyhow::Result<Self> {
        let asked = Instant::now();
        loop {
            let standing = Standing::of(embedded)?;
            if let (Some(standing), Some(profile)) = (standing, embedded.profile()?)
                && (temporary.is_none() || standing.is_settled())
            {
                return Ok(Self { embedded, temporary, drain, progress, profile, sizing: standing.sizing });
            }
            if let Some(up) = temporary {
                up.check()?;
            }
            if asked.elapsed() > START_WITHIN {
                bail!(
                    "the fleet did not come to rest within {} s: its log tells why",
                    START_WITHIN.as_secs()
                );
            }
            if drain.wait(Duration::from_millis(20)) {
                bail!("stopped before the load began");
            }
        }
    }

    /// Whether the `up` under test still runs.
    fn is_up(&self) -> anyhow::Result<bool> {
        match self.temporary {
            Some(up) => up.is_running(),
            None => Ok(Lock::is_taken(&self.embedded.directory().join(LOCK_FILE))?),
        }
    }

    /// Decides when the load begins.
    fn starting(self, timeout: Duration) -> anyhow::Result<Test<'a>> {
        let Sizing { at, wall, scale, .. } = self.sizing;
        let times = Times { at, wall: Timestamp(wall), scale };
        let now = times.now();
        // A simulated load begins just after a look at the queue, which is at a whole minute; the first that see it are the
        // looks of the next minute. So does this, late enough not to be seen by the look itself and early enough for a
        // burst to be put before the next one. A fleet without alarms does not care.
        let start = if self.sizing.rules.is_empty() {
            now
        } else {
            Duration::from_secs((now.as_secs() / 60 + 1) * 60 + 5)
        };
        let (_, throughput) = self.embedded.queue.depth_and_throughput()?;
        Ok(Test {
            times,
            start,
            received_before: throughput.received,
            there_before: Vec::new(),
            timeline: Timeline::default(),
            timeout,
            sent: Vec::new(),
            is_gone: false,
            begun: self,
        })
    }
}

/// How queue and fleet stood, in bounded memory.
#[derive(Default)]
struct Timeline {
    samples: Vec<Sample>,
    backlog_peak: u64,
    max_in_service: u32,
    next: Option<Instant>,
    /// Every so many looks one is kept.
    keep_every: usize,
    num_looks: usize,
}

impl Timeline {
    fn push(&mut self, sample: Sample) {
        self.backlog_peak = self.backlog_peak.max(sample.visible);
        self.max_in_service = self.max_in_service.max(sample.in_service);
        self.num_looks += 1;
        // A change of the fleet or of an alarm is always kept, so that it is drawn when it was.
        let is_news = self.samples.last().is_none_or(|last| {
            (last.desired, last.in_service, &last.alarms)
                != (sample.desired, sample.in_service, &sample.alarms)
        });
        if is_news || self.num_looks.is_multiple_of(self.keep_every.max(1)) {
            self.samples.push(sample);
        }
        if self.samples.len() >= LOOKS_KEPT {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.keep_every = self.keep_every.max(1) * 2;
        }
    }
}

/// A test that is being made.
struct Test<'a> {
    begun: Begun<'a>,
    times: Times,
    /// Of the first arrival, by the fleet's clock.
    start: Moment,
    received_before: u64,
    there_before: Vec<String>,
    timeline: Timeline,
    timeout: Duration,
    sent: Vec<Sent>,
    /// Whether the `up` under test has ended.
    is_gone: bool,
}

/// All that was seen, and until when the rest may take.
struct Seen {
    run: Run,
    sizing: Sizing,
    deadline: Instant,
}

/// A document that was put.
struct Sent {
    number: u64,
    id: DocumentId,
    arrival: Duration,
    put: Duration,
    expected: Option<u64>,
    sequence: Sequence,
}

impl Test<'_> {
    /// Since the first arrival, by the fleet's clock.
    fn since_start(&self, wall: Timestamp) -> Duration {
        self.times.moment(wall).saturating_sub(self.start)
    }

    /// Looks at queue and fleet, if it is time to.
    fn look(&mut self) -> anyhow::Result<()> {
        let asked = Instant::now();
        if self.timeline.next.is_some_and(|next| asked < next) {
            return Ok(());
        }
        let now = self.times.now();
        self.is_gone = self.is_gone || !self.begun.is_up()?;
        let Some(standing) = Standing::of(self.begun.embedded)? else { return Ok(()) };
        if now < self.start || self.timeline.samples.is_empty() {
            self.there_before = standing.members.iter().map(|member| member.instance.id.clone()).collect();
        }
        let depth = self.begun.embedded.queue.depth()?;
        let alarms = standing.sizing.state.alarms.iter();
        let sample = Sample {
            at: now.saturating_sub(self.start),
            visible: depth.visible,
            not_visible: depth.in_flight,
            desired: standing.sizing.state.desired,
            in_service: standing.in_service(),
            alarms: alarms
                .filter(|alarm| alarm.state == AlarmState::Alarm)
                .map(|alarm| alarm.name.clone())
                .collect(),
        };
        self.begun.progress.set_message(if now < self.start {
            let left = (self.start - now).div_f64(self.times.scale);
            format!("the load begins in {} s, after the fleet's next whole minute", left.as_secs() + 1)
        } else {
            format!(
                "{} documents put, {} waiting, {} in flight; {} of {} workers",
                self.sent.len(),
                sample.visible,
                sample.not_visible,
                sample.in_service,
                sample.desired
            )
        });
        if now >= self.start || self.timeline.samples.is_empty() {
            self.timeline.push(sample);
        }
        // A look must not become a load of its own.
        self.timeline.next = Some(Instant::now() + LOOK_EVERY.max(asked.elapsed() * 20));
        Ok(())
    }

    fn is_cut_short(&self) -> bool {
        self.is_gone || self.begun.drain.requested()
    }

    /// Waits until the fleet's clock shows a moment; whether it may go on then.
    fn wait_until(&mut self, moment: Moment) -> anyhow::Result<bool> {
        loop {
            self.look()?;
            let left = moment.saturating_sub(self.times.now()).div_f64(self.times.scale);
            if left.is_zero() || self.is_cut_short() {
                return Ok(!self.is_cut_short());
            }
            // To the millisecond, which is what the clock has.
            self.begun.drain.wait(left.max(Duration::from_millis(1)).min(LOOK_EVERY));
        }
    }

    /// Puts every document when it is due, several that are due together in one transaction; how many it did not come to.
    fn feed(&mut self, workload: &Workload, source: &Source, folder: &str) -> anyhow::Result<u64> {
        let mut loads = (0..).zip(workload.loads()).peekable();
        while let Some((_, first)) = loads.peek() {
            let due = first.arrival;
            // Those that are late already go with it.
            let until = due.max(self.since_start(Timestamp::now()));
            let (mut batch, mut puts, mut bytes) = (Vec::new(), Vec::new(), 0);
            while batch.len() < BATCH_DOCUMENTS
                && bytes < BATCH_BYTES
                && let Some((number, load)) = loads.next_if(|(_, load)| load.arrival <= until)
            {
                // Made beforehand, so that only the putting is left to do when they are due.
                let (content, expected) = source.open(number, &self.begun.profile)?;
                let staged = self.begun.embedded.bucket.stage(&mut { content })?;
                let id = DocumentId::new(BUCKET, load::key(folder, number))?;
                bytes += staged.bytes();
                puts.push(StagedPut { id: id.clone(), staged, watched: None });
                batch.push((number, id, load.arrival, expected));
            }
            if !self.wait_until(self.start + due)? {
                return Ok((batch.len() + loads.count()) as u64);
            }
            let sequences = self.begun.embedded.bucket.put(puts)?;
            let put = self.since_start(Timestamp::now());
            self.sent.extend(batch.into_iter().zip(sequences).map(
                |((number, id, arrival, expected), sequence)| Sent {
                    number,
                    id,
                    arrival,
                    put,
                    expected,
                    sequence,
                },
            ));
        }
        Ok(0)
    }

    /// Deletes what was put, unless somebody else has replaced it.
    fn delete(&self) -> anyhow::Result<()> {
        let embedded = self.begun.embedded;
        for sent in self.sent.chunks(BATCH_DOCUMENTS) {
            let mut ids = Vec::new();
            for one in sent {
                if embedded.state(&one.id, one.sequence)? != DocumentState::Superseded {
                    ids.push(one.id.clone());
                }
            }
            embedded.bucket.delete_all(&ids)?;
        }
        Ok(())
    }

    /// Waits until every document is settled and the fleet is back at rest, and tells all of it.
    fn watch(&mut self, not_put: u64, work: Option<&ServiceTimes>) -> anyhow::Result<Seen> {
        let deadline = Instant::now() + self.timeout;
        let mut documents = Vec::with_capacity(self.sent.len());
        for index in 0..self.sent.len() {
            documents.push(self.settle(index, deadline)?);
        }
        self.date_failures(&mut documents)?;
        self.begun.progress.set_message("waiting for the fleet to come to rest; workers:");
        let are_settled = documents.iter().all(|(fate, _)| *fate != Fate::Unfinished);
        let ending = self.rest(are_settled, deadline)?;
        let end = self.since_start(Timestamp::now());
        let documents = self.sent.iter().zip(documents).map(|(one, (fate, took))| {
            let modelled = work.map_or(Duration::ZERO, |work| work.of(one.number));
            Document {
                number: one.number,
                key: one.id.key().to_owned(),
                arrival: one.arrival,
                put: one.put,
                work: modelled.max(took.mul_f64(self.times.scale)),
                expected: one.expected,
                fate,
            }
        });
        let documents = documents.collect();
        let history = &self.begun.embedded.history;
        let standing = Standing::of(self.begun.embedded)?.context("the fleet has no history any more")?;
        let (_, throughput) = self.begun.embedded.queue.depth_and_throughput()?;
        let since = |moment: Moment| moment.saturating_sub(self.start);
        let mut activities: Vec<Activity> = history
            .activities(usize::MAX)?
            .into_iter()
            .filter(|kept| kept.activity.at >= self.start)
            .map(|kept| Activity {
                at: since(kept.activity.at),
                ended: kept.ended_at.map(since),
                kind: kept.activity.kind,
                instance: kept.activity.instance,
                cause: kept.activity.cause,
            })
            .collect();
        activities.reverse();
        let mut transitions: Vec<Transition> = history
            .transitions(usize::MAX)?
            .into_iter()
            .filter(|transition| transition.at >= self.start)
            .map(|transition| Transition {
                at: since(transition.at),
                alarm: transition.alarm,
                to: transition.to.to_string(),
                value: transition.value,
                reason: transition.reason,
            })
            .collect();
        transitions.reverse();
        let rules = &standing.sizing.rules;
        let looks = history.looks(self.start)?;
        let seen = looks.iter().map(|look| &look.observation);
        let Timeline { samples, backlog_peak, max_in_service, .. } = std::mem::take(&mut self.timeline);
        let run = Run {
            what: Vec::new(),
            rules: rules.iter().map(|rule| format!("{}: {}", rule.name, rule.condition)).collect(),
            high_alarms: rules.iter().filter(|rule| rule.is_upper).map(|rule| rule.name.clone()).collect(),
            documents,
            not_put,
            timeline: samples,
            // What was seen between the scaler's looks, and by them.
            backlog_peak: seen.clone().map(|look| look.visible).fold(backlog_peak, u64::max),
            max_in_service: seen.map(|look| look.in_service).fold(max_in_service, u32::max),
            there_before: std::mem::take(&mut self.there_before),
            activities,
            transitions,
            received: throughput.received.saturating_sub(self.received_before),
            end,
            ending,
            instance_type: String::new(),
        };
        Ok(Seen { run, sizing: standing.sizing, deadline })
    }

    /// Waits for one document; what became of it, and how long it was worked on.
    fn settle(&mut self, index: usize, deadline: Instant) -> anyhow::Result<(Fate, Duration)> {
        let embedded = self.begun.embedded;
        let _wakes = self.begun.drain.on_request(embedded.settled_waker());
        let mut seen = embedded.settled_so_far();
        loop {
            let sent = &self.sent[index];
            let fate = match embedded.state(&sent.id, sent.sequence)? {
                DocumentState::Counted(result) => {
                    let done = self.since_start(result.committed_at);
                    return Ok((Fate::Counted { done, words: result.words }, result.duration));
                }
                // Until all are settled, as far as is known now.
                DocumentState::Failed(reason) => {
                    Some(Fate::Failed { done: self.since_start(Timestamp::now()), reason })
                }
                DocumentState::Superseded => Some(Fate::Superseded),
                DocumentState::Kept => bail!("{} is in a bucket that keeps its documents", sent.id),
                DocumentState::Waiting => None,
            };
            if let Some(fate) = fate {
                return Ok((fate, Duration::ZERO));
            }
            if self.is_cut_short() || Instant::now() >= deadline {
                return Ok((Fate::Unfinished, Duration::ZERO));
            }
            self.look()?;
            seen = embedded.wait_settled(seen, LOOK_EVERY);
        }
    }

    /// Finds out when each document died that did, in one reading of the dead letters.
    fn date_failures(&self, documents: &mut [(Fate, Duration)]) -> anyhow::Result<()> {
        if !documents.iter().any(|(fate, _)| matches!(fate, Fate::Failed { .. })) {
            return Ok(());
        }
        let letters = self.begun.embedded.queue.dead_letters(usize::MAX)?.into_iter();
        let died: HashMap<(DocumentId, Sequence), Timestamp> = letters
            .filter_map(|letter| {
                // A letter that cannot be read is none of ours.
                let event = DocumentEvent::parse(&letter.body).ok()?;
                Some(((event.id, event.sequence), letter.died_at))
            })
            .collect();
        for (sent, (fate, _)) in self.sent.iter().zip(documents) {
            if let Fate::Failed { done, .. } = fate
                && let Some(at) = died.get(&(sent.id.clone(), sent.sequence))
            {
                *done = self.since_start(*at);
            }
        }
        Ok(())
    }

    /// Waits until the fleet is back at rest, or it is too late for that.
    fn rest(&mut self, are_settled: bool, deadline: Instant) -> anyhow::Result<Ending> {
        let asked = Instant::now();
        let mut is_told = false;
        loop {
            self.look()?;
            let standing = Standing::of(self.begun.embedded)?.context("the fleet has no history any more")?;
            let ending = if self.is_gone {
                Some(Ending::Gone)
            } else if self.begun.drain.requested() {
                Some(Ending::Stopped)
            } else if are_settled && standing.is_at_rest() {
                Some(Ending::Rested)
            } else {
                (Instant::now() >= deadline).then_some(Ending::Timeout)
            };
            if let Some(ending) = ending {
                // As it stands at the end is part of the picture.
                self.timeline.next = None;
                self.look()?;
                return Ok(ending);
            }
            if !is_told && asked.elapsed() >= TELL_AFTER {
                is_told = true;
                let left = Duration::from_secs(deadline.saturating_duration_since(Instant::now()).as_secs());
                self.begun.progress.suspend(|| {
                    output::remark(format!(
                        "every document is settled; waiting for the fleet to come to rest: it has {} workers, should have \
                         {}, and rests at {}; for {} at most, or until control-C",
                        standing.members.len(),
                        standing.sizing.state.desired,
                        standing.bounds().min,
                        humantime::format_duration(left)
                    ));
                });
            }
            self.begun.drain.wait(LOOK_EVERY / 4);
        }
    }
}

/// What was run, for the report.
fn what(
    args: &LoadtestArgs,
    sizing: &Sizing,
    started: Timestamp,
    folder: &str,
) -> Vec<(&'static str, String)> {
    let documents = match &args.documents {
        Some(directory) => format!("the files of {}", directory.display()),
        None => format!("made-up, {} large, of {} words", args.document_size, args.vocabulary),
    };
    let work = match (&args.data_dir, &args.work) {
        (Some(_), _) => "as it is".to_owned(),
        (None, None) => "counting alone".to_owned(),
        (None, Some(work)) => format!("counting, and {work} more for each document"),
    };
    let up = match &args.data_dir {
        Some(directory) => format!("the one that runs on {}", directory.display()),
        None => "a temporary one".to_owned(),
    };
    let took = Timestamp::now().since(started);
    vec![
        ("Arrivals", args.arrivals.to_string()),
        ("Documents", documents),
        ("Keys", format!("begin with {folder}")),
        ("Work", work),
        ("Seed", args.seed.to_string()),
        ("wordfreq up", up),
        ("Plan", format!("{}, {} to {} workers", sizing.plan, sizing.bounds.min, sizing.bounds.max)),
        ("Speed of the fleet's clock", format!("{} times that of time", sizing.scale)),
        ("Begun", started.to_rfc3339()),
        ("Took", humantime::format_duration(Duration::from_secs(took.as_secs())).to_string()),
        ("Version", format!("wordfreq {}", env!("CARGO_PKG_VERSION"))),
    ]
}

fn print(args: &LoadtestArgs, figures: &Figures, prices: &Prices) -> anyhow::Result<()> {
    let style = args.format.style();
    if style.format == Format::Json {
        return output::to_stdout(|out| {
            serde_json::to_writer(&mut *out, figures)?;
            writeln!(out)
        });
    }
    let mut listing = Listing::new(
        "loadtest",
        [
            "documents",
            "counted",
            "failed",
            "superseded",
            "unfinished",
            "wrong",
            "max_in_service",
            "launches",
            "terminations",
            "backlog_peak",
            "instance_hours",
            "cost_usd",
            "lambda_usd",
            "p50_s",
            "p95_s",
            "p99_s",
            "max_s",
        ],
    );
    let [p50, p95, p99, max] = figures.latency_seconds.cells();
    listing.push([
        figures.documents.into(),
        figures.counted.into(),
        figures.failed.into(),
        figures.superseded.into(),
        figures.unfinished.into(),
        figures.wrong.into(),
        u64::from(figures.max_in_service).into(),
        figures.launches.into(),
        figures.terminations.into(),
        figures.backlog_peak.into(),
        Cell::fixed(figures.instance_hours, 3),
        Cell::fixed(figures.cost_usd, 4),
        Cell::fixed(figures.lambda_usd, 4),
        p50,
        p95,
        p99,
        max,
    ]);
    output::to_stdout(|out| output::write_listing(out, &listing, style))?;
    output::remark(format!("prices of {} for {}", prices.date, args.instance_type));
    // Of a burst the last is always put a little later than the first.
    if figures.late_seconds > 1.0 && figures.late_seconds > figures.latency_seconds.p50 / 10.0 {
        output::remark(format!(
            "documents were put up to {:.1} s after they were due, which is part of their latency: they come faster than \
             this machine takes them in",
            figures.late_seconds
        ));
    }
    Ok(())
}

/// Says what is the matter, if anything is, and how the command ends.
fn conclude(args: &LoadtestArgs, run: &Run, folder: &str) -> Exit {
    let troubles: Vec<String> = run
        .documents
        .iter()
        .filter_map(|one| one.trouble().map(|trouble| format!("{}: {trouble}", one.key)))
        .collect();
    troubles.iter().take(NAMED_TROUBLES).for_each(output::remark);
    if troubles.len() > NAMED_TROUBLES {
        let more = troubles.len() - NAMED_TROUBLES;
        output::remark(format!("{more} documents more: --list FILE.csv has all of them"));
    }
    if run.not_put > 0 {
        output::remark(format!("{} documents were not put any more", run.not_put));
    }
    if args.leave {
        output::remark(format!("the documents stay, with keys that begin with {folder}"));
    }
    match run.ending {
        Ending::Rested => {}
        Ending::Stopped => output::remark("stopped before the test was at its end"),
        Ending::Timeout => output::remark(
            "the documents were not done and the fleet back at rest within the time of --timeout",
        ),
        Ending::Gone => {
            let which = args.data_dir.as_ref().map_or_else(
                || "temporary `wordfreq up`".to_owned(),
                |directory| format!("`wordfreq up` on {}", directory.display()),
            );
            output::remark(format!("error: the {which} ended during the test: see why, and test again"));
        }
    }
    match run.ending {
        Ending::Stopped | Ending::Gone => Exit::Failed,
        Ending::Rested | Ending::Timeout => {
            if run.is_flawless() {
                Exit::Done
            } else {
                Exit::Partly
            }
        }
    }
}
