//! `wordfreq count`: files, directories or standard input, counted here and now on several threads.
//!
//! A document counts as a whole or, if anything is wrong with it, not at all. Counts that outgrow `--memory` go to disk.
//!
//! Not here: what a word is (`wordfreq-core`), how a file is read and cut (`wordfreq_pipeline::reading`), counts on disk
//! (`spill`), and the printed forms (`output`).

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use walkdir::WalkDir;
use wordfreq_core::{Counts, Profile, WordCount};
use wordfreq_pipeline::reading::{Budget, LARGE_BYTES, ReadError, count_file, count_reader};

use crate::cli::CountArgs;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::output::{self, CountReport, FileReport};
use wordfreq_pipeline::spill::{Runs, Totals};

/// Work of this size is sure to last long enough for a progress bar; any other gets one after [`PROGRESS_AFTER`].
const PROGRESS_BYTES: u64 = 64 * 1024 * 1024;
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// Counts and prints. [`Exit::Partly`] when a document failed, [`Exit::Failed`] when there was something to count
/// and none of it could be.
pub fn run(args: &CountArgs, config: &Config) -> anyhow::Result<Exit> {
    let profile = config.profile();
    let limit = args.limit.limit();
    let plan = Plan::new(&args.paths)?;
    let job = Job {
        documents: &plan.documents,
        profile: &profile,
        num_threads: config.threads.value,
        memory: config.memory.value,
        per_file: args.per_file.then_some(limit),
        progress: Progress::new(&plan.documents),
    };
    let mut tally = job.count()?;

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
    } else if tally.runs.is_empty() {
        let report = CountReport::new(&profile, tally.num_documents, Totals::from(&tally.counts));
        let rows = ranked(&tally.counts, limit).into_iter().map(|row| Ok((row.word, row.count)));
        output::to_stdout(|out| output::write_count(out, &report, rows, style))?;
    } else {
        tally.runs.spill(&std::mem::take(&mut tally.counts))?;
        let (totals, ranking) = tally.runs.rank(limit, job.memory)?;
        let report = CountReport::new(&profile, tally.num_documents, totals);
        output::to_stdout(|out| output::write_count(out, &report, ranking, style))?;
    }
    Ok(if has_failures { Exit::Partly } else { Exit::Done })
}

/// The `limit` first of the ranking, or all of it.
fn ranked(counts: &Counts, limit: Option<usize>) -> Vec<WordCount<'_>> {
    limit.map_or_else(|| counts.ranked(), |limit| counts.top(limit))
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
        self.documents.push(Document { path: PathBuf::from("-"), source: Source::Stdin });
    }

    fn add_file(&mut self, path: &Path, metadata: &Metadata) {
        let source = if metadata.is_file() { Source::File { len: metadata.len() } } else { Source::Stream };
        self.documents.push(Document { path: path.to_owned(), source });
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

/// What a thread has done, and in the end all of them.
#[derive(Default)]
struct Tally {
    counts: Counts,
    /// The counts that went to disk.
    runs: Runs,
    num_documents: u64,
    num_failed: u64,
    /// Reports by document number, if each file is to be reported by itself.
    files: Vec<(usize, FileReport)>,
}

impl Tally {
    fn merge(&mut self, other: Self, memory: u64) -> io::Result<()> {
        self.num_documents += other.num_documents;
        self.num_failed += other.num_failed;
        self.files.extend(other.files);
        self.add(other.counts, other.runs, memory)
    }

    /// Adds counts, as long as there is memory for them.
    fn add(&mut self, counts: Counts, runs: Runs, memory: u64) -> io::Result<()> {
        if self.counts.memory_with(counts.distinct()) > memory {
            self.runs.spill(&std::mem::take(&mut self.counts))?;
        }
        self.counts.merge(counts);
        self.runs.append(runs)
    }
}

struct Job<'a> {
    documents: &'a [Document],
    profile: &'a Profile,
    num_threads: usize,
    /// For all tables of words together, in bytes.
    memory: u64,
    /// When each file is reported by itself: how many words of it, or all.
    per_file: Option<Option<usize>>,
    progress: Progress,
}

impl Job<'_> {
    /// Counts every document; each one that fails is named on standard error. Large files come first, one after the
    /// other with every thread; the others are shared out, one thread each.
    fn count(&self) -> io::Result<Tally> {
        let is_large = |number: &usize| matches!(self.documents[*number].source, Source::File { len } if len >= LARGE_BYTES && self.num_threads > 1);
        let (large, others): (Vec<usize>, Vec<usize>) = (0..self.documents.len()).partition(is_large);
        let mut total = Tally::default();
        for number in large {
            self.settle(number, self.num_threads, &mut total)?;
        }
        let next = AtomicUsize::new(0);
        let work = || {
            let mut tally = Tally::default();
            while let Some(&number) = others.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.settle(number, 1, &mut tally)?;
            }
            Ok::<_, io::Error>(tally)
        };
        std::thread::scope(|scope| {
            let num_helping = self.num_threads.min(others.len()).saturating_sub(1);
            let helping: Vec<_> = (0..num_helping).map(|_| scope.spawn(work)).collect();
            total.merge(work()?, self.table_memory())?;
            for thread in helping {
                let tally = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                total.merge(tally, self.table_memory())?;
            }
            Ok::<_, io::Error>(())
        })?;
        self.progress.finish();
        Ok(total)
    }

    /// What one table of words may take: a thread has one of the document in hand and, if there are several, one of those before.
    fn table_memory(&self) -> u64 {
        self.memory / (self.num_threads.max(1) as u64 * if self.documents.len() > 1 { 2 } else { 1 })
    }

    fn count_document(
        &self,
        number: usize,
        num_threads: usize,
        runs: &Mutex<Runs>,
    ) -> Result<Counts, ReadError> {
        let document = &self.documents[number];
        let observe = |num_bytes: u64| {
            self.progress.advance(num_bytes);
            true
        };
        let spill = |counts: Counts| {
            let mut run = Runs::default();
            run.spill(&counts)?;
            drop(counts);
            runs.lock().unwrap_or_else(PoisonError::into_inner).append(run)
        };
        let budget = Some(Budget { bytes: self.table_memory(), spill: &spill });
        let count_stream = |stream: &mut dyn Read| {
            count_reader(stream, self.profile, budget.as_ref(), |piece| observe(piece.len() as u64))
        };
        let open = || File::open(&document.path).map_err(|source| ReadError::Io { offset: 0, source });
        match document.source {
            Source::Stdin => count_stream(&mut io::stdin().lock()),
            Source::File { len } if num_threads > 1 => {
                count_file(&open()?, len, self.profile, num_threads, budget.as_ref(), &observe)
            }
            Source::File { .. } | Source::Stream => count_stream(&mut open()?),
        }
    }

    /// Counts a document in, or names it as failed.
    ///
    /// # Errors
    /// When there is no room for counts: no other document would fare better.
    fn settle(&self, number: usize, num_threads: usize, tally: &mut Tally) -> io::Result<()> {
        let path = &self.documents[number].path;
        let runs = Mutex::default();
        let outcome = self.count_document(number, num_threads, &runs);
        let mut runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(counts) => {
                tally.num_documents += 1;
                let Some(limit) = self.per_file else {
                    return tally.add(counts, runs, self.table_memory());
                };
                let path = path.to_string_lossy().into_owned();
                let (totals, counts) = if runs.is_empty() {
                    let rows = ranked(&counts, limit).into_iter().map(|row| (row.word.to_owned(), row.count));
                    (Totals::from(&counts), rows.collect())
                } else {
                    runs.spill(&counts)?;
                    let (totals, ranking) = runs.rank(limit, self.table_memory())?;
                    (totals, ranking.collect::<io::Result<_>>()?)
                };
                let report = CountReport::new(self.profile, 1, totals);
                tally.files.push((number, FileReport { path, report, counts }));
            }
            Err(ReadError::Spill(error)) => return Err(error),
            Err(error) => {
                tally.num_failed += 1;
                self.progress.suspend(|| output::remark(failure_message(path, &error.to_string())));
            }
        }
        Ok(())
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
        let hidden = || Self { bar: None, started: Instant::now(), is_shown: AtomicBool::new(false) };
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
        let progress = Self { bar: Some(bar), ..hidden() };
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

    fn advance(&self, num_bytes: u64) {
        let Some(bar) = &self.bar else { return };
        bar.inc(num_bytes);
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
