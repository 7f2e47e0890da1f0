//! Made-up or recorded load: when documents arrive, and how long each takes. The same words and the same seed always give
//! the same load, for `simulate` and for `loadtest`, whose workers see one document each and must agree on its time.
//!
//! Not here: what is in the documents (`corpus`), and what becomes of them (`wordfreq_core::simulation`, `loadtest`).

use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use wordfreq_core::simulation::{Load, exponential, uniform};

/// When documents arrive.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// So many at once, at the beginning.
    Burst(u64),
    /// By chance, so many a second on average, for so long.
    Poisson {
        /// Documents a second.
        rate: f64,
        /// How long.
        duration: Duration,
    },
    /// By chance, at a rate that rises and falls as a sine: from nothing to twice the mean and back in a period.
    Wave {
        /// Documents a second on average.
        rate: f64,
        /// From peak to peak.
        period: Duration,
        /// How long.
        duration: Duration,
    },
    /// As recorded: seconds, one arrival a line; or counts, under a header whose columns are `seconds` and `documents`.
    Recorded(PathBuf),
}

/// How long a document takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Service {
    /// Always as long.
    Fixed(Duration),
    /// Anything between two times, equally likely.
    Uniform(Duration, Duration),
    /// Exponential, with this mean.
    Exponential(Duration),
    /// As recorded: seconds, one document a line, over and over.
    Recorded(PathBuf),
}

const ARRIVALS: &str = "write burst:COUNT, poisson:RATE:DURATION, wave:RATE:PERIOD:DURATION (rates in documents a second), or a CSV file";
const SERVICE: &str = "write a time such as 12s, uniform:10s..20s (or only 10s..20s), exp:12s, or a CSV file";

/// Far more than anyone simulates, and far less than overflows anything.
const MAX_DOCUMENTS: u64 = 1_000_000_000;
const MAX_DURATION: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A length of time of at most ten years, which no sum overflows.
///
/// # Errors
/// Anything else, in words.
pub fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{text:?} is not a time: {error}"))?;
    if time > MAX_DURATION { Err(format!("{text:?} is longer than ten years")) } else { Ok(time) }
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse::<f64>();
    number
        .ok()
        .filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| format!("{text:?} is not a rate: write documents a second, such as 0.5"))
}

/// A rate and a time whose documents would never end are refused.
fn few_enough(rate: f64, duration: Duration) -> Result<(), String> {
    let documents = rate * duration.as_secs_f64();
    if documents <= MAX_DOCUMENTS as f64 {
        return Ok(());
    }
    Err(format!("{documents:.0e} documents are more than {MAX_DOCUMENTS}: lower the rate or the duration"))
}

fn file(text: &str, otherwise: &str) -> Result<PathBuf, String> {
    match Path::new(text) {
        path if path.is_file() => Ok(path.to_owned()),
        // What looks like a file is meant to be one.
        path if path.extension().is_some() || text.contains('/') => {
            Err(format!("there is no file {text:?}; {otherwise}"))
        }
        _ => Err(format!("{text:?} is no load: {otherwise}")),
    }
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            ["burst", count] => match count.parse() {
                Ok(count) if (1..=MAX_DOCUMENTS).contains(&count) => Ok(Self::Burst(count)),
                _ => Err(format!("{count:?} is not a number of documents from 1 to {MAX_DOCUMENTS}")),
            },
            ["poisson", per_second, duration] => {
                let (rate, duration) = (rate(per_second)?, time(duration)?);
                few_enough(rate, duration)?;
                Ok(Self::Poisson { rate, duration })
            }
            ["wave", per_second, period, duration] => {
                let period = time(period)?;
                if period.is_zero() {
                    return Err("a wave needs a period that is not 0".into());
                }
                let (rate, duration) = (rate(per_second)?, time(duration)?);
                few_enough(rate, duration)?;
                Ok(Self::Wave { rate, period, duration })
            }
            _ => file(text, ARRIVALS).map(Self::Recorded),
        }
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_range = |text: &&str| {
            text.split_once("..").is_some_and(|(least, most)| time(least).and(time(most)).is_ok())
        };
        if let Some(range) = text.strip_prefix("uniform:").or(Some(text).filter(is_range)) {
            let (least, most) = range.split_once("..").ok_or(SERVICE)?;
            let (least, most) = (time(least)?, time(most)?);
            if least > most {
                return Err(format!("{range:?} goes backwards: write the shorter time first"));
            }
            return Ok(Self::Uniform(least, most));
        }
        if let Some(mean) = text.strip_prefix("exp:") {
            return time(mean).map(Self::Exponential);
        }
        time(text).map(Self::Fixed).or_else(|_| file(text, SERVICE).map(Self::Recorded))
    }
}

/// As it is read.
impl fmt::Display for Arrivals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: &Duration| humantime::format_duration(*time).to_string().replace(' ', "");
        match self {
            Self::Burst(count) => write!(out, "burst:{count}"),
            Self::Poisson { rate, duration } => write!(out, "poisson:{rate}:{}", time(duration)),
            Self::Wave { rate, period, duration } => {
                write!(out, "wave:{rate}:{}:{}", time(period), time(duration))
            }
            Self::Recorded(path) => write!(out, "{}", path.display()),
        }
    }
}

/// As it is read.
impl fmt::Display for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: &Duration| humantime::format_duration(*time).to_string().replace(' ', "");
        match self {
            Self::Fixed(always) => write!(out, "{}", time(always)),
            Self::Uniform(least, most) => write!(out, "uniform:{}..{}", time(least), time(most)),
            Self::Exponential(mean) => write!(out, "exp:{}", time(mean)),
            Self::Recorded(path) => write!(out, "{}", path.display()),
        }
    }
}

/// What the keys of loads' documents begin and end with.
const KEY: (&str, &str) = ("load/", ".txt");

/// What the keys of the documents of the load that began at this moment begin with: a folder of its own, so that it meets
/// neither another load's documents nor anybody else's.
pub fn folder(began: SystemTime) -> String {
    let moment = humantime::format_rfc3339_millis(began).to_string().replace(['-', ':'], "");
    format!("{}{moment}/", KEY.0)
}

/// The key of a load's document.
pub fn key(folder: &str, number: u64) -> String {
    format!("{folder}{number:08}{}", KEY.1)
}

/// The number of the document with this key. A document that is none of a load's has one that depends on its key.
pub fn number(key: &str) -> u64 {
    let rest = key.strip_prefix(KEY.0).and_then(|rest| rest.strip_suffix(KEY.1));
    let digits = rest.and_then(|rest| rest.rsplit('/').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish()
    })
}

/// Chance that depends on a seed and a document's number alone, so that whoever sees one document draws the same.
pub(crate) fn chance(seed: u64, number: u64) -> fastrand::Rng {
    // Seeds that differ by little must not give numbers that do (the finish of SplitMix64).
    let mut mixed = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    fastrand::Rng::with_seed(mixed ^ (mixed >> 31))
}

/// How long each document of a load takes. It depends on the seed and the document's number alone.
#[derive(Clone, Debug)]
pub struct ServiceTimes {
    service: Service,
    recorded: Vec<Duration>,
    seed: u64,
}

impl ServiceTimes {
    /// Reads what is recorded.
    ///
    /// # Errors
    /// Those of the file, with the line.
    pub fn new(service: Service, seed: u64) -> anyhow::Result<Self> {
        let recorded = match &service {
            Service::Recorded(path) => recording(path)?.times,
            _ => Vec::new(),
        };
        Ok(Self { service, recorded, seed })
    }

    /// How long the document with this number takes.
    pub fn of(&self, number: u64) -> Duration {
        let mut random = chance(self.seed, number);
        match &self.service {
            Service::Fixed(time) => *time,
            Service::Uniform(least, most) => uniform(*least, *most, random.f64()),
            Service::Exponential(mean) => exponential(*mean, random.f64()),
            Service::Recorded(_) => self.recorded[(number % self.recorded.len() as u64) as usize],
        }
    }
}

/// Documents that arrive evenly spread over a time: the first at its beginning, none at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spell {
    from: Duration,
    length: Duration,
    documents: u64,
}

impl Spell {
    /// When the document with this number arrives, from 0.
    fn arrival(self, number: u64) -> Duration {
        let step = self.length.as_secs_f64() / self.documents as f64;
        self.from + Duration::from_secs_f64(step * number as f64)
    }
}

/// A load that can be gone through again and again.
#[derive(Clone, Debug)]
pub struct Workload {
    arrivals: Arrivals,
    /// Recorded arrivals, in their order.
    recorded: Vec<Spell>,
    service: ServiceTimes,
    seed: u64,
}

impl Workload {
    /// Reads what is recorded.
    ///
    /// # Errors
    /// Those of the files, with the line.
    pub fn new(arrivals: Arrivals, service: Service, seed: u64) -> anyhow::Result<Self> {
        let recorded = match &arrivals {
            Arrivals::Recorded(path) => spells(path)?,
            _ => Vec::new(),
        };
        Ok(Self { arrivals, recorded, service: ServiceTimes::new(service, seed)?, seed })
    }

    /// Every document, in the order of arrivals.
    pub fn loads(&self) -> Loads<'_> {
        Loads {
            workload: self,
            arriving: fastrand::Rng::with_seed(self.seed),
            elapsed: 0.0,
            number: 0,
            spells: self.recorded.iter(),
            spell: Spell::default(),
            num_of_spell: 0,
        }
    }
}

/// The documents of a [`Workload`], one after the other: by hand, as there may be a billion of them.
#[derive(Debug)]
pub struct Loads<'a> {
    workload: &'a Workload,
    arriving: fastrand::Rng,
    /// Seconds to the latest arrival by chance.
    elapsed: f64,
    /// Of the next document.
    number: u64,
    /// Recorded spells to come, the one at hand, and how many of its documents have arrived.
    spells: std::slice::Iter<'a, Spell>,
    spell: Spell,
    num_of_spell: u64,
}

impl Loads<'_> {
    fn arrival(&mut self) -> Option<Duration> {
        match &self.workload.arrivals {
            Arrivals::Burst(count) => (self.number < *count).then_some(Duration::ZERO),
            Arrivals::Recorded(_) => {
                while self.num_of_spell == self.spell.documents {
                    (self.spell, self.num_of_spell) = (*self.spells.next()?, 0);
                }
                self.num_of_spell += 1;
                Some(self.spell.arrival(self.num_of_spell - 1))
            }
            Arrivals::Poisson { rate, duration } => {
                self.elapsed += until_next(*rate, &mut self.arriving);
                (self.elapsed < duration.as_secs_f64()).then(|| Duration::from_secs_f64(self.elapsed))
            }
            // By thinning: arrivals at the highest rate, each kept with the share of it that holds at its moment.
            Arrivals::Wave { rate, period, duration } => loop {
                self.elapsed += until_next(2.0 * rate, &mut self.arriving);
                if self.elapsed >= duration.as_secs_f64() {
                    return None;
                }
                let phase = self.elapsed / period.as_secs_f64() * std::f64::consts::TAU;
                if self.arriving.f64() < (1.0 - phase.cos()) / 2.0 {
                    return Some(Duration::from_secs_f64(self.elapsed));
                }
            },
        }
    }
}

impl Iterator for Loads<'_> {
    type Item = Load;

    fn next(&mut self) -> Option<Load> {
        let arrival = self.arrival()?;
        let service = self.workload.service.of(self.number);
        self.number += 1;
        Some(Load { arrival, service })
    }
}

/// Seconds until the next arrival by chance, at so many a second.
fn until_next(rate: f64, random: &mut fastrand::Rng) -> f64 {
    -(1.0 - random.f64()).ln() / rate
}

/// Arrivals as recorded. Counts spread evenly until the next line's second; those of the last line come all at once.
fn spells(path: &Path) -> anyhow::Result<Vec<Spell>> {
    let Recording { times, documents } = recording(path)?;
    let Some(documents) = documents else {
        let mut spells: Vec<Spell> =
            times.into_iter().map(|from| Spell { from, length: Duration::ZERO, documents: 1 }).collect();
        spells.sort_unstable_by_key(|spell| spell.from);
        return Ok(spells);
    };
    let shown = path.display();
    ensure!(times.is_sorted(), "{shown}: counts are not in the order of their seconds: sort the lines");
    let total: u64 = documents.iter().sum();
    ensure!(
        (1..=MAX_DOCUMENTS).contains(&total),
        "{shown}: {total} documents are not from 1 to {MAX_DOCUMENTS}"
    );
    let ends = times.iter().skip(1).chain(times.last());
    let spell = |((&from, &end), &documents)| Spell { from, length: end - from, documents };
    Ok(times.iter().zip(ends).zip(&documents).map(spell).collect())
}

/// What a CSV file says: the seconds of its first column, and the counts of a second column that a header names
/// `documents`.
struct Recording {
    times: Vec<Duration>,
    documents: Option<Vec<u64>>,
}

/// Reads a recording; a first line that is no number is a header.
fn recording(path: &Path) -> anyhow::Result<Recording> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let mut recording = Recording { times: Vec::new(), documents: None };
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.with_context(|| format!("cannot read {shown}"))?;
        let mut cells = line.split(',').map(str::trim);
        let cell = cells.next().unwrap_or_default();
        let second = cells.next().unwrap_or_default();
        if cell.is_empty() {
            continue;
        }
        match cell.parse::<f64>() {
            Ok(seconds) if (0.0..=MAX_DURATION.as_secs_f64()).contains(&seconds) => {
                recording.times.push(Duration::from_secs_f64(seconds));
            }
            Err(_) if number == 1 => {
                recording.documents = second.eq_ignore_ascii_case("documents").then(Vec::new);
                continue;
            }
            _ => bail!("{shown}, line {number}: {cell:?} is not a number of seconds from 0 to ten years"),
        }
        if recording.documents.is_none() && second.parse::<f64>().is_ok() {
            bail!(
                "{shown}, line {number}: what are the numbers of the second column? If they count documents, let the first \
                 line be `seconds,documents`; if not, leave them out"
            );
        }
        if let Some(documents) = &mut recording.documents {
            let count = second.parse().ok().filter(|count| *count <= MAX_DOCUMENTS);
            documents.push(count.with_context(|| {
                format!("{shown}, line {number}: {second:?} is not a number of documents from 0 to {MAX_DOCUMENTS}")
            })?);
        }
    }
    ensure!(!recording.times.is_empty(), "{shown} holds no times: write seconds, one a line");
    Ok(recording)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(arrivals: &str, service: &str) -> Workload {
        Workload::new(arrivals.parse().unwrap(), service.parse().unwrap(), 7).unwrap()
    }

    #[test]
    fn loads_are_in_order_repeatable_and_of_their_kind() {
        for arrivals in ["burst:500", "poisson:2:10min", "wave:2/s:2min:10min"] {
            for service in ["12s", "uniform:10s..20s", "exp:12s"] {
                let workload = workload(arrivals, service);
                let loads: Vec<_> = workload.loads().collect();
                assert_eq!(loads, workload.loads().collect::<Vec<_>>());
                assert!(loads.is_sorted_by_key(|load| load.arrival), "{arrivals}");
                assert!((400..2000).contains(&loads.len()), "{arrivals}: {}", loads.len());
                let mean =
                    loads.iter().map(|load| load.service.as_secs_f64()).sum::<f64>() / loads.len() as f64;
                assert!((9.0..17.0).contains(&mean), "{service}: {mean}");
            }
        }
        let between = workload("burst:1000", "uniform:10s..20s");
        assert!(between.loads().all(|load| (10..=20).contains(&load.service.as_secs())));
        let in_quarter = |quarter: u64| {
            let wave = workload("wave:5:400s:400s", "1s");
            wave.loads().filter(|load| load.arrival.as_secs() / 100 == quarter).count()
        };
        assert!(in_quarter(1) > 3 * in_quarter(0) / 2 && in_quarter(2) > 3 * in_quarter(3) / 2);
    }

    #[test]
    fn a_service_time_is_known_from_the_seed_and_the_key_alone() {
        let times = ServiceTimes::new("10s..20s".parse().unwrap(), 7).unwrap();
        for (n, load) in (0..).zip(workload("burst:200", "uniform:10s..20s").loads()) {
            assert_eq!(load.service, times.of(number(&key(&folder(SystemTime::UNIX_EPOCH), n))));
        }
        assert_ne!(times.of(1), ServiceTimes::new("10s..20s".parse().unwrap(), 8).unwrap().of(1));
        let folder = folder(SystemTime::UNIX_EPOCH);
        assert_eq!(key(&folder, 42), "load/19700101T000000.000Z/00000042.txt");
        assert_eq!(number(&key(&folder, 100_000_000)), 100_000_000);
        assert_eq!(number("another.txt"), number("another.txt"));
        assert_ne!(number("another.txt"), number("load/x.txt"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["burst:130", "poisson:0.5:1h30m", "wave:2:2m:10m"] {
            assert_eq!(text.parse::<Arrivals>().unwrap().to_string(), text);
        }
        for text in ["12s", "1s500ms", "uniform:10s..20s", "exp:12s"] {
            assert_eq!(text.parse::<Service>().unwrap().to_string(), text);
        }
        assert_eq!("10s..20s".parse::<Service>(), "uniform:10s..20s".parse());
        assert!("20s..10s".parse::<Service>().unwrap_err().contains("shorter time first"));
    }

    #[test]
    fn what_is_recorded_is_read_with_or_without_a_header_and_refused_by_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let arrivals = write("arrivals.csv", "seconds,name\n3,a\n1.5,b\n\n2,c\n");
        let service = write("service.csv", "10\n20\n");
        let loads: Vec<_> = workload(&arrivals, &service).loads().collect();
        let of = |load: &Load| (load.arrival.as_secs_f64(), load.service.as_secs());
        assert_eq!(loads.iter().map(of).collect::<Vec<_>>(), [(1.5, 10), (2.0, 20), (3.0, 10)]);
        let bad = write("bad.csv", "1\nx\n");
        let error = Workload::new(bad.parse().unwrap(), Service::Fixed(Duration::ZERO), 1).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        let empty = write("empty.csv", "seconds\n");
        assert!(Workload::new(empty.parse().unwrap(), Service::Fixed(Duration::ZERO), 1).is_err());
    }

    #[test]
    fn counts_spread_evenly_until_the_next_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("counts.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Workload::new(Arrivals::Recorded(path.clone()), Service::Fixed(Duration::ZERO), 1)
        };
        let workload = read("seconds,documents\n10,4\n20,0\n30,2\n30,1\n60,3\n").unwrap();
        let arrivals: Vec<f64> = workload.loads().map(|load| load.arrival.as_secs_f64()).collect();
        assert_eq!(arrivals, [10.0, 12.5, 15.0, 17.5, 30.0, 30.0, 30.0, 60.0, 60.0, 60.0]);
        for (text, mend) in [
            ("Seconds,Documents\n20,1\n10,1\n", "sort the lines"),
            // Nobody must take a count for a remark.
            ("10,4\n20,0\n", "line 1: what are the numbers"),
            ("seconds,docs\n10,4\n", "line 2: what are the numbers"),
            ("seconds,documents\n10,few\n", "line 2: \"few\""),
            ("seconds,documents\n10\n", "line 2: \"\""),
            ("seconds,documents\n10,0\n", "0 documents are not from 1"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(mend), "{error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_mend() {
        for (text, mend) in [
            ("burst:0", "from 1 to"),
            ("poisson:-1:1h", "documents a second"),
            ("poisson:1:soon", "not a time"),
            ("wave:1:0s:1h", "not 0"),
            ("poisson:1e300:1h", "lower the rate"),
            ("wave:1e308:1m:1h", "lower the rate"),
            ("nowhere.csv", "there is no file \"nowhere.csv\""),
            ("nothing", "burst:COUNT"),
        ] {
            let error = text.parse::<Arrivals>().unwrap_err();
            assert!(error.contains(mend), "{error}");
        }
        for (text, mend) in
            [("uniform:20s..10s", "shorter time first"), ("uniform:1s", "uniform:10s..20s"), ("x", "exp:12s")]
        {
            let error = text.parse::<Service>().unwrap_err();
            assert!(error.contains(mend), "{error}");
        }
    }
}
