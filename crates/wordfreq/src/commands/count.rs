//! `wordfreq count`: files, directories or standard input, counted here and now on several threads.
//!
//! Work is shared by documents, and a large regular file is cut into ranges at line ends, which are word boundaries
//! in every profile. Memory is the tables and one buffer a thread, whatever the size of a file. A document counts as
//! a whole or, if anything is wrong with it, not at all.
//!
//! Not here: what a word is (`wordfreq-core`), and the printed forms (`output`).

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, IsTerminal as _, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use walkdir::WalkDir;
use wordfreq_core::{CountError, Counter, Counts, MAX_TOKEN_BYTES, Profile, certain_boundary};

use crate::cli::CountArgs;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::output::{self, CountReport, FileReport};

const BUFFER_BYTES: usize = 256 * 1024;
/// Bounds of a range's length. Long ranges cost nothing but balance at the end; short ones cost a seek and a scan.
const MIN_RANGE_BYTES: u64 = 1024 * 1024;
const MAX_RANGE_BYTES: u64 = 16 * 1024 * 1024;
/// How many ranges a thread should get of a file, so that a slow one is made up for by the others.
const RANGES_PER_THREAD: u64 = 4;
/// Work of this size is sure to last long enough for a progress bar; any other gets one after [`PROGRESS_AFTER`].
const PROGRESS_BYTES: u64 = 64 * 1024 * 1024;
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// Counts and prints. [`Exit::Partly`] when a document failed, [`Exit::Failed`] when there was something to count
/// and none of it could be.
pub fn run(args: &CountArgs, config: &Config) -> anyhow::Result<Exit> {
    let profile = config.profile();
    let limit = args.limit.limit();
    let plan = Plan::new(&args.paths)?;
    let job = Job::new(
        &plan.documents,
        &profile,
        config.threads.value,
        args.per_file.then_some(limit),
    );
    let tally = job.count();

    let has_failures = plan.num_failed + tally.num_failed > 0;
    if tally.num_documents == 0 && (has_failures || plan.num_links > 0) {
        output::remark("error: nothing could be counted");
        return Ok(Exit::Failed);
    }
    let style = args.format.style();
    if args.per_file {
        let mut files = tally.files;
        files.sort_unstable_by_key(|(document, _)| *document);
        let files: Vec<FileReport> = files.into_iter().map(|(_, file)| file).collect();
        output::to_stdout(|out| output::write_files(out, &files, style))?;
    } else {
        let report = CountReport::new(&profile, tally.num_documents, &tally.counts, limit);
        output::to_stdout(|out| output::write_count(out, &report, style))?;
    }
    Ok(if has_failures { Exit::Partly } else { Exit::Done })
}

/// One thing to count.
struct Document {
    /// `-` for standard input.
    path: PathBuf,
    source: Source,
}

enum Source {
    Stdin,
    /// A regular file, and its length when it was found.
    File {
        len: u64,
    },
    /// A pipe, a device: no length, and no reading out of order.
    Stream,
}

/// What the arguments come to.
#[derive(Default)]
struct Plan {
    documents: Vec<Document>,
    /// Things that could not be looked at or read; each has been named.
    num_failed: u64,
    /// Symbolic links inside directories; each has been named.
    num_links: u64,
}

impl Plan {
    fn new(paths: &[PathBuf]) -> Result<Self, UsageError> {
        let is_stdin = |path: &&PathBuf| path.as_os_str() == "-";
        if paths.iter().filter(is_stdin).count() > 1 {
            return Err(UsageError(
                "`-` is given more than once, but standard input can be read only once; name it once, \
                 or write ./- for a file of that name"
                    .to_owned(),
            ));
        }
        let mut plan = Self::default();
        let stdin = PathBuf::from("-");
        let default = [stdin];
        for path in if paths.is_empty() { &default } else { paths } {
            if is_stdin(&path) {
                plan.add_stdin();
                continue;
            }
            match std::fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => plan.add_directory(path),
                Ok(metadata) => plan.add_file(path, &metadata),
                Err(error) => plan.fail(path, &error),
            }
        }
        Ok(plan)
    }

    fn add_stdin(&mut self) {
        if io::stdin().is_terminal() && io::stderr().is_terminal() {
            output::remark("reading from the terminal; end with control-D");
        }
        self.documents.push(Document {
            path: PathBuf::from("-"),
            source: Source::Stdin,
        });
    }

    fn add_file(&mut self, path: &Path, metadata: &Metadata) {
        let source = if metadata.is_file() {
            Source::File { len: metadata.len() }
        } else {
            Source::Stream
        };
        self.documents.push(Document {
            path: path.to_owned(),
            source,
        });
    }

    /// Adds the files below `root` in the order of their names. Nothing is left out in silence: reading a pipe or a
    /// device that happens to lie in a directory could block for ever, so it is named as failed; a symbolic link is
    /// only named, since what it points at is a document of its own wherever it lies.
    fn add_directory(&mut self, root: &Path) {
        // The root, at depth 0, is a directory or a link to one, and a link that was named is followed.
        for entry in WalkDir::new(root).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(root).to_owned();
                    self.fail(&path, &error.into());
                    continue;
                }
            };
            let kind = entry.file_type();
            if kind.is_file() {
                match entry.metadata() {
                    Ok(metadata) => self.add_file(entry.path(), &metadata),
                    Err(error) => self.fail(entry.path(), &error.into()),
                }
            } else if kind.is_symlink() && entry.depth() > 0 {
                self.num_links += 1;
                output::remark(format!(
                    "note: {}: a symbolic link, not followed; name it to count what it points at",
                    entry.path().display()
                ));
            } else if !kind.is_dir() && entry.depth() > 0 {
                let error = io::Error::other("not a regular file; name it to have it read");
                self.fail(entry.path(), &error);
            }
        }
    }

    fn fail(&mut self, path: &Path, error: &io::Error) {
        self.num_failed += 1;
        output::remark(failure_message(path, &error.to_string()));
    }
}

fn failure_message(path: &Path, cause: &str) -> String {
    format!("error: could not count {}: {cause}", path.display())
}

/// A piece of work that one thread does at a time.
#[derive(Clone, Copy)]
enum Task {
    /// A document in one go, by its number.
    Whole { document: usize },
    /// One range of a document that has a [`Split`], by its number.
    Range {
        document: usize,
        split: usize,
        range: Range,
    },
}

/// A range of a regular file. It owns the text after the first line end at or after the byte before it, up to the
/// first line end at or after its own last byte; so neighbours agree, without a word between them, on who counts
/// what. A range with no line end in it owns nothing, and the one before reads on: a file that is a single line costs
/// one more scan, not one for every range.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: u64,
    end: u64,
    /// The length of the file when it was found, where the last range ends.
    len: u64,
}

impl Range {
    /// Cuts `len` bytes into ranges of `step`; the last one may be shorter.
    fn cut(len: u64, step: u64) -> impl Iterator<Item = Self> {
        (0..len.div_ceil(step)).map(move |index| {
            let start = index * step;
            Self {
                start,
                end: (start + step).min(len),
                len,
            }
        })
    }
}

/// A file that several threads count.
struct Split {
    file: OnceLock<Result<File, String>>,
    state: Mutex<SplitState>,
}

struct SplitState {
    num_ranges_left: usize,
    counts: Counts,
    failure: Option<Failure>,
}

/// Why a document is left out.
#[derive(Debug)]
struct Failure {
    /// Position in the document; of several failures the first is told.
    offset: u64,
    cause: String,
}

impl Failure {
    fn read(offset: u64, error: &io::Error) -> Self {
        Self {
            offset,
            cause: format!("reading failed at byte {offset}: {error}"),
        }
    }

    fn first(one: Option<Self>, other: Self) -> Self {
        match one {
            Some(one) if one.offset <= other.offset => one,
            _ => other,
        }
    }
}

/// A counter that knows where in its document each byte it was fed stands.
struct Feeder {
    counter: Counter,
    num_fed: u64,
    /// Where the text continues after a gap: bytes fed before it, and its position in the document.
    pieces: Vec<(u64, u64)>,
    /// Position after the last byte fed.
    end: u64,
}

impl Feeder {
    fn new(profile: &Profile) -> Self {
        Self {
            counter: Counter::new(profile),
            num_fed: 0,
            pieces: Vec::new(),
            end: 0,
        }
    }

    fn feed(&mut self, offset: u64, chunk: &[u8]) {
        if self.pieces.is_empty() || offset != self.end {
            self.pieces.push((self.num_fed, offset));
        }
        self.counter.feed(chunk);
        self.num_fed += chunk.len() as u64;
        self.end = offset + chunk.len() as u64;
    }

    fn finish(self) -> Result<Counts, Failure> {
        self.counter.finish().map_err(|CountError::TokenTooLong { offset }| {
            let piece = self.pieces.iter().rfind(|(num_fed, _)| *num_fed <= offset);
            let offset = piece.map_or(offset, |(num_fed, position)| position + (offset - num_fed));
            let cause = format!(
                "the word at byte {offset} is longer than the {MAX_TOKEN_BYTES} bytes that profile go-sample \
                 allows; count it with another profile"
            );
            Failure { offset, cause }
        })
    }
}

/// What one thread has counted of a file that is split. Ranges are handed out in ascending order and each but the
/// last ends at a line end, so one counter can take them all, and tables are merged once for every thread only.
struct Part {
    document: usize,
    split: usize,
    num_ranges: usize,
    feeder: Feeder,
    failure: Option<Failure>,
}

/// What a thread has done, and in the end all of them.
#[derive(Default)]
struct Tally {
    counts: Counts,
    num_documents: u64,
    num_failed: u64,
    /// Reports by document number, if each file is to be reported by itself.
    files: Vec<(usize, FileReport)>,
}

impl Tally {
    fn merge(&mut self, other: Self) {
        self.counts.merge(other.counts);
        self.num_documents += other.num_documents;
        self.num_failed += other.num_failed;
        self.files.extend(other.files);
    }
}

struct Job<'a> {
    documents: &'a [Document],
    profile: &'a Profile,
    num_threads: usize,
    /// When each file is reported by itself: how many words of it, as in [`CountReport::new`].
    per_file: Option<Option<usize>>,
    tasks: Vec<Task>,
    next_task: AtomicUsize,
    splits: Vec<Split>,
    progress: Progress,
}

impl<'a> Job<'a> {
    fn new(
        documents: &'a [Document],
        profile: &'a Profile,
        num_threads: usize,
        per_file: Option<Option<usize>>,
    ) -> Self {
        let mut tasks = Vec::with_capacity(documents.len());
        let mut splits = Vec::new();
        for (number, document) in documents.iter().enumerate() {
            match document.source {
                Source::File { len } if num_threads > 1 && len >= 2 * MIN_RANGE_BYTES => {
                    let step = len / (num_threads as u64 * RANGES_PER_THREAD);
                    let step = step.clamp(MIN_RANGE_BYTES, MAX_RANGE_BYTES);
                    let num_tasks = tasks.len();
                    tasks.extend(Range::cut(len, step).map(|range| Task::Range {
                        document: number,
                        split: splits.len(),
                        range,
                    }));
                    splits.push(Split {
                        file: OnceLock::new(),
                        state: Mutex::new(SplitState {
                            num_ranges_left: tasks.len() - num_tasks,
                            counts: Counts::new(),
                            failure: None,
                        }),
                    });
                }
                Source::File { .. } | Source::Stdin | Source::Stream => {
                    tasks.push(Task::Whole { document: number });
                }
            }
        }
        let progress = Progress::new(documents);
        Self {
            documents,
            profile,
            num_threads,
            per_file,
            tasks,
            next_task: AtomicUsize::new(0),
            splits,
            progress,
        }
    }

    /// Counts every document; each one that fails is named on standard error.
    fn count(&self) -> Tally {
        let mut total = Tally::default();
        std::thread::scope(|scope| {
            let num_others = self.num_threads.min(self.tasks.len()).saturating_sub(1);
            let others: Vec<_> = (0..num_others).map(|_| scope.spawn(|| self.work())).collect();
            total = self.work();
            for other in others {
                match other.join() {
                    Ok(tally) => total.merge(tally),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        self.progress.finish();
        total
    }

    fn work(&self) -> Tally {
        let mut tally = Tally::default();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut current: Option<Part> = None;
        while let Some(task) = self.tasks.get(self.next_task.fetch_add(1, Ordering::Relaxed)) {
            match *task {
                Task::Whole { document } => {
                    let outcome = self.count_whole(&self.documents[document], &mut buffer);
                    self.settle(document, outcome, &mut tally);
                }
                Task::Range {
                    document,
                    split,
                    range,
                } => {
                    if let Some(part) = current.take_if(|part| part.split != split) {
                        self.hand_in(part, &mut tally);
                    }
                    let part = current.get_or_insert_with(|| Part {
                        document,
                        split,
                        num_ranges: 0,
                        feeder: Feeder::new(self.profile),
                        failure: None,
                    });
                    self.count_range(part, range, &mut buffer);
                }
            }
        }
        if let Some(part) = current {
            self.hand_in(part, &mut tally);
        }
        tally
    }

    fn count_whole(&self, document: &Document, buffer: &mut [u8]) -> Result<Counts, Failure> {
        match document.source {
            Source::Stdin => self.count_stream(&mut io::stdin().lock(), buffer),
            Source::File { .. } | Source::Stream => {
                let mut file = File::open(&document.path).map_err(|error| Failure {
                    offset: 0,
                    cause: error.to_string(),
                })?;
                self.count_stream(&mut file, buffer)
            }
        }
    }

    fn count_stream(&self, stream: &mut dyn Read, buffer: &mut [u8]) -> Result<Counts, Failure> {
        let mut feeder = Feeder::new(self.profile);
        loop {
            match stream.read(buffer) {
                Ok(0) => return feeder.finish(),
                Ok(num_read) => {
                    feeder.feed(feeder.end, &buffer[..num_read]);
                    self.progress.advance(num_read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::read(feeder.end, &error)),
            }
        }
    }

    fn count_range(&self, part: &mut Part, range: Range, buffer: &mut [u8]) {
        part.num_ranges += 1;
        let path = &self.documents[part.document].path;
        let file = self.splits[part.split]
            .file
            .get_or_init(|| File::open(path).map_err(|error| error.to_string()));
        let outcome = match file {
            Ok(file) => read_range(file, range, buffer, |offset, chunk| {
                part.feeder.feed(offset, chunk);
                self.progress.advance(chunk.len());
            }),
            Err(cause) => Err(Failure {
                offset: 0,
                cause: cause.clone(),
            }),
        };
        if let Err(failure) = outcome {
            part.failure = Some(Failure::first(part.failure.take(), failure));
        }
    }

    /// Adds a thread's part to the rest of its file; whoever hands in the last one settles the document.
    fn hand_in(&self, part: Part, tally: &mut Tally) {
        let outcome = match (part.feeder.finish(), part.failure) {
            (Ok(counts), None) => Ok(counts),
            (Ok(_), Some(failure)) => Err(failure),
            (Err(failure), other) => Err(Failure::first(other, failure)),
        };
        let mut state = self.splits[part.split]
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(counts) => state.counts.merge(counts),
            Err(failure) => state.failure = Some(Failure::first(state.failure.take(), failure)),
        }
        state.num_ranges_left -= part.num_ranges;
        if state.num_ranges_left == 0 {
            let counts = std::mem::take(&mut state.counts);
            let outcome = state.failure.take().map_or(Ok(counts), Err);
            drop(state);
            self.settle(part.document, outcome, tally);
        }
    }

    /// A document is through: counts it in, or names it as failed.
    fn settle(&self, document: usize, outcome: Result<Counts, Failure>, tally: &mut Tally) {
        let path = &self.documents[document].path;
        match outcome {
            Ok(counts) => {
                tally.num_documents += 1;
                match self.per_file {
                    Some(limit) => {
                        let path = path.to_string_lossy().into_owned();
                        let report = CountReport::new(self.profile, 1, &counts, limit);
                        tally.files.push((document, FileReport { path, report }));
                    }
                    None => tally.counts.merge(counts),
                }
            }
            Err(failure) => {
                tally.num_failed += 1;
                self.progress
                    .suspend(|| output::remark(failure_message(path, &failure.cause)));
            }
        }
    }
}

/// Reads the text that `range` owns and passes it on in order, each piece with its position in the file.
fn read_range(
    file: &File,
    range: Range,
    buffer: &mut [u8],
    mut feed: impl FnMut(u64, &[u8]),
) -> Result<(), Failure> {
    let last_byte = range.end - 1;
    let mut offset = range.start.saturating_sub(1);
    let mut is_owner = range.start == 0;
    loop {
        let num_read = match file.read_at(buffer, offset) {
            Ok(num_read) => num_read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::read(offset, &error)),
        };
        if num_read == 0 {
            if offset < range.len {
                let cause = "it became shorter while it was read; count it when nobody writes it".to_owned();
                return Err(Failure { offset, cause });
            }
            return Ok(());
        }
        let mut chunk = &buffer[..num_read];
        if !is_owner {
            let num_left = (last_byte - offset).min(num_read as u64) as usize;
            match certain_boundary(&chunk[..num_left]) {
                Some(start) => {
                    is_owner = true;
                    chunk = &chunk[start..];
                    offset += start as u64;
                }
                None => {
                    offset += num_left as u64;
                    if offset == last_byte {
                        return Ok(());
                    }
                    continue;
                }
            }
        }
        // The last range has no successor to stop for, and goes on to the end.
        if range.end < range.len && offset + chunk.len() as u64 > last_byte {
            let from = last_byte.saturating_sub(offset) as usize;
            if let Some(end) = certain_boundary(&chunk[from..]) {
                feed(offset, &chunk[..from + end]);
                return Ok(());
            }
        }
        feed(offset, chunk);
        offset += chunk.len() as u64;
    }
}

/// A bar on standard error while the work is long, on a terminal only.
struct Progress {
    /// `None` when standard error is no terminal.
    bar: Option<ProgressBar>,
    started: Instant,
    is_shown: AtomicBool,
}

impl Progress {
    fn new(documents: &[Document]) -> Self {
        let hidden = || Self {
            bar: None,
            started: Instant::now(),
            is_shown: AtomicBool::new(false),
        };
        if !io::stderr().is_terminal() {
            return hidden();
        }
        let total: Option<u64> = documents
            .iter()
            .map(|document| match document.source {
                Source::File { len } => Some(len),
                Source::Stdin | Source::Stream => None,
            })
            .sum();
        let template = match total {
            Some(_) => "counting {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
            None => "counting {bytes} {bytes_per_sec}",
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let progress = Self {
            bar: Some(bar),
            ..hidden()
        };
        if total.is_some_and(|total| total > PROGRESS_BYTES) {
            progress.show();
        }
        progress
    }

    fn show(&self) {
        if let Some(bar) = &self.bar
            && !self.is_shown.swap(true, Ordering::Relaxed)
        {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    fn advance(&self, num_bytes: usize) {
        let Some(bar) = &self.bar else { return };
        bar.inc(num_bytes as u64);
        if !self.is_shown.load(Ordering::Relaxed) && self.started.elapsed() > PROGRESS_AFTER {
            self.show();
        }
    }

    fn suspend(&self, speak: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(speak),
            None => speak(),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// What each range owns, in order.
    fn owned(bytes: &[u8], step: u64, buffer_len: usize) -> Vec<Vec<u8>> {
        let file = file_of(bytes);
        let mut buffer = vec![0; buffer_len];
        Range::cut(bytes.len() as u64, step)
            .map(|range| {
                let mut text: Vec<u8> = Vec::new();
                let mut expected_offset = None;
                read_range(&file, range, &mut buffer, |offset, chunk| {
                    assert!(
                        expected_offset.is_none_or(|expected| expected == offset),
                        "{range:?}"
                    );
                    assert_eq!(&bytes[offset as usize..][..chunk.len()], chunk, "{range:?}");
                    expected_offset = Some(offset + chunk.len() as u64);
                    text.extend(chunk);
                })
                .unwrap();
                text
            })
            .collect()
    }

    #[test]
    fn ranges_own_every_byte_once_and_end_at_line_ends() {
        let texts: [&[u8]; 9] = [
            b"one line without an end",
            b"a\nb\nc\nd\n",
            b"\n\n\n\n\n\n\n",
            b"\nleading",
            b"trailing in the last byte\n",
            b"a long first line\nx",
            b"x\na long last line",
            b"x",
            b"ab\ncdefgh\n\nijklmnopqrstuvw\nx\r\ny",
        ];
        for text in texts {
            for step in 1..=text.len() as u64 + 1 {
                for buffer_len in [1, 2, 3, 7, 64] {
                    let parts = owned(text, step, buffer_len);
                    assert_eq!(parts.concat(), text, "{step} {buffer_len}");
                    // In order, each but the last that owns anything ends at a line end.
                    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                    for part in &parts[..parts.len() - 1] {
                        assert!(part.ends_with(b"\n"), "{parts:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_single_line_belongs_to_the_first_range_alone() {
        let parts = owned(&[b'x'; 1000], 10, 16);
        assert_eq!(parts[0].len(), 1000);
        assert!(parts[1..].iter().all(Vec::is_empty));
    }

    #[test]
    fn a_file_that_became_shorter_is_a_failure() {
        let file = file_of(b"a\nb\nc\n");
        let range = Range {
            start: 4,
            end: 100,
            len: 100,
        };
        let failure = read_range(&file, range, &mut [0; 16], |_, _| {}).unwrap_err();
        assert!(failure.cause.contains("became shorter"), "{failure:?}");
    }

    #[test]
    fn a_failing_word_is_placed_in_the_document_across_gaps() {
        let profile = Profile::new(wordfreq_core::ProfileName::GoSample);
        let mut feeder = Feeder::new(&profile);
        feeder.feed(0, b"first range\n");
        feeder.feed(1000, b"third range\nab ");
        feeder.feed(1015, &vec![b'x'; MAX_TOKEN_BYTES + 1]);
        assert_eq!(feeder.finish().unwrap_err().offset, 1015);
    }

    #[test]
    fn of_several_failures_the_first_is_told() {
        let failure = |offset| Failure {
            offset,
            cause: String::new(),
        };
        assert_eq!(Failure::first(Some(failure(3)), failure(2)).offset, 2);
        assert_eq!(Failure::first(Some(failure(1)), failure(2)).offset, 1);
        assert_eq!(Failure::first(None, failure(2)).offset, 2);
    }
}
