//! [`Results`] on a DynamoDB table: an item a document, which the Go sample's readers go on understanding.
//!
//! | attribute | type | what it is |
//! | --- | --- | --- |
//! | `Filename` | S, the key | `bucket/key`, as it is |
//! | `Words` | M of N | the ten best words, as the sample writes them |
//! | `TopWords` | L of {`Word`, `Count`} | the same in their order |
//! | `TotalWords`, `Distinct`, `OverLong`, `Bytes` | N | sums over the document |
//! | `Profile`, `Fingerprint` | S | the rule that counted it |
//! | `Sequencer` | S | 32 hexadecimal digits, so that their order is the versions' order |
//! | `ETag`, `VersionId`, `Region` | S | what S3 says of the version |
//! | `DurationNanoseconds`, `CommittedAt` | N, S | how long counting took, and when it was committed |
//! | `Counts` | B | the whole count table, deflated, where it fits |
//! | `CountsObject` | M of `Bucket`, `Key` | where it lies else |
//! | `Deleted`, `ExpiresAt` | BOOL, N | the mark of a deleted document, and when DynamoDB may forget it |
//! | `CommitId` | S | names the write, to tell one's own from another's |
//!
//! A write is conditional on the sequencer, so what is late or comes twice changes nothing. Where two versions have the
//! same one (stores without sequencers, two events of one moment), the bucket is asked which of them is there, and the
//! write is conditional on what it replaces. Not here: reading documents, and telling who asked (`result_queue`).

use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use futures_util::future::try_join_all;
use wordfreq_core::{Counts, Profile};
use wordfreq_pipeline::results::{
    CommitOutcome, Committed, Completion, DocumentResult, Effect, ResultSummary, Results, TotalWord, Totals,
};
use wordfreq_pipeline::{
    BackendError, DocumentEvent, DocumentId, ErrorKind, Sequence, Timestamp, encoding, failpoint,
};

use crate::connection::Connection;
use crate::error::failed;
use crate::leases::Leases;
use crate::objects::Objects;
use crate::spilled::{self, SpillLocation};

/// Words the sample keeps.
const TOP: usize = 10;

/// The most an item may have, of DynamoDB's 409,600 bytes; its emulator stops at 405,000.
const MAX_ITEM_BYTES: usize = 400_000;

/// How long the mark of a deletion stays: longer than any event that could undo it can wait in a queue (14 days) and,
/// after a redrive, in it once more.
const MARK_LIVES: Duration = Duration::from_secs(90 * 24 * 3600);

/// What a table may inflate to, so that no stored byte can exhaust the memory of who reads it.
const MAX_TABLE_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// How often a write that must replace one certain item is tried against others who do the same.
const MAX_RACES: u32 = 20;

/// Where results are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLocation {
    /// The table's name.
    pub table: String,
    /// Where count tables go that do not fit their item; without it they are not kept.
    pub spill: Option<SpillLocation>,
}

type Item = HashMap<String, AttributeValue>;

/// The results in a table.
#[derive(Debug)]
pub struct DynamoResults {
    connection: Arc<Connection>,
    location: TableLocation,
    profile: Profile,
    fingerprint: String,
    leases: Arc<Leases>,
}

impl DynamoResults {
    /// Whether there is such a table, with the key that items need.
    ///
    /// # Errors
    /// `NotFound` or `Invalid` if not; others if nothing can be said, as without the permission to look.
    pub(crate) fn look(&self) -> Result<(), BackendError> {
        let table = &self.location.table;
        let describe = self.connection.dynamo.describe_table().table_name(table).send();
        let described = self.connection.wait(describe);
        let described = described.map_err(|error| failed(&format!("look at the table {table}"), error))?;
        let keys = described.table.and_then(|table| table.key_schema).unwrap_or_default();
        let names: Vec<&str> = keys.iter().map(|key| key.attribute_name()).collect();
        if names == ["Filename"] {
            return Ok(());
        }
        Err(BackendError::new(
            ErrorKind::Invalid,
            format!(
                "the table {table} has the key {names:?}: results need one with the hash key `Filename` alone"
            ),
        ))
    }

    /// Whether a version with this tag is the document's result.
    pub fn has(&self, document: &DocumentId, etag: &str) -> Result<bool, BackendError> {
        let item = self.connection.wait(self.item(document))?;
        Ok(item.is_some_and(|item| !is_deleted(&item) && text(&item, "ETag") == Some(etag)))
    }

    /// Asks nothing of the table yet. `profile` is the one in force: no other's counts are taken, and totals are its.
    pub fn new(
        connection: Arc<Connection>,
        location: TableLocation,
        profile: Profile,
        leases: Arc<Leases>,
    ) -> Self {
        let fingerprint = profile.fingerprint();
        Self { connection, location, profile, fingerprint, leases }
    }

    /// Commits what concerns one document, one after the other.
    async fn commit_each(
        &self,
        completions: Vec<(usize, &Completion)>,
    ) -> Result<Vec<(usize, CommitOutcome)>, BackendError> {
        let mut outcomes = Vec::with_capacity(completions.len());
        for (index, completion) in completions {
            outcomes.push((index, self.commit_one(completion).await?));
        }
        Ok(outcomes)
    }

    async fn commit_one(&self, completion: &Completion) -> Result<CommitOutcome, BackendError> {
        let Completion { receipt, event, effect } = completion;
        if !self.leases.is_held(receipt) {
            return Ok(CommitOutcome::LeaseLost);
        }
        let mut written = match effect {
            Effect::Removed => Version::removed(event),
            Effect::Counted { fingerprint, .. } if *fingerprint != self.fingerprint => {
                return Ok(CommitOutcome::ProfileChanged);
            }
            Effect::Counted { counts, duration, .. } => {
                let mut version = Version::counted(event, counts, *duration, &self.profile)?;
                let table = deflated(counts)?;
                let full = version.bytes() + table.len() > MAX_ITEM_BYTES;
                match &self.location.spill {
                    _ if !full => {
                        version.item.insert("Counts".into(), AttributeValue::B(Blob::new(table)));
                    }
                    Some(spill) => {
                        let key = spill.key(event, &self.fingerprint);
                        spill.put(&self.connection, &key, table).await?;
                        failpoint::hit("dynamo.after_spill");
                        let text = |text: &String| AttributeValue::S(text.clone());
                        let place = [("Bucket".into(), text(&spill.bucket)), ("Key".into(), text(&key))];
                        version.spilled = Some((spill.bucket.clone(), key));
                        version.item.insert("CountsObject".into(), AttributeValue::M(place.into()));
                    }
                    None => tracing::warn!(
                        document = %event.id,
                        bytes = table.len(),
                        "its whole count table does not fit its item and is not kept: set WORKER_RESULT_BUCKET"
                    ),
                }
                version
            }
        };
        // Names this write among all: whoever tries it again after an answer that got lost knows his own.
        let name =
            blake3::hash(format!("{}\n{}\n{}", receipt.0, written.sequencer, self.fingerprint).as_bytes());
        let commit_id = name.to_hex()[..32].to_owned();
        written.item.insert("CommitId".into(), AttributeValue::S(commit_id.clone()));
        failpoint::hit("dynamo.before_put");
        let outcome = self.put(&written, event, &commit_id, receipt).await?;
        failpoint::hit("dynamo.after_put");
        // Nobody points to it then. After any other outcome somebody does, or whoever has the message now may.
        if let (CommitOutcome::Superseded, Some((bucket, key))) = (outcome, &written.spilled) {
            self.forget_table(bucket, key).await;
        }
        Ok(outcome)
    }

    async fn put(
        &self,
        written: &Version,
        event: &DocumentEvent,
        commit_id: &str,
        receipt: &wordfreq_pipeline::queue::Receipt,
    ) -> Result<CommitOutcome, BackendError> {
        // An item without a sequencer is the sample's: it is as old as can be.
        let mut condition = "attribute_not_exists(#seq) OR #seq < :seq";
        let mut values: Item =
            HashMap::from([(":seq".to_owned(), AttributeValue::S(written.sequencer.clone()))]);
        let mut names = HashMap::from([("#seq".to_owned(), "Sequencer".to_owned())]);
        for _ in 0..MAX_RACES {
            // Whatever took so long, the lease must outlast it.
            if !self.leases.is_held(receipt) {
                return Ok(CommitOutcome::LeaseLost);
            }
            let request = self
                .connection
                .dynamo
                .put_item()
                .table_name(&self.location.table)
                .set_item(Some(written.item.clone()))
                .condition_expression(condition)
                .set_expression_attribute_names(Some(names.clone()))
                // DynamoDB refuses an empty map.
                .set_expression_attribute_values((!values.is_empty()).then(|| values.clone()))
                .return_values(ReturnValue::AllOld)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let present = match request.send().await {
                Ok(done) => {
                    let replaced = done.attributes.as_ref().and_then(table_place);
                    if let Some((bucket, key)) =
                        replaced.filter(|place| written.spilled.as_ref() != Some(place))
                    {
                        self.forget_table(&bucket, &key).await;
                    }
                    return Ok(CommitOutcome::Committed);
                }
                Err(error) => match error.as_service_error() {
                    Some(PutItemError::ConditionalCheckFailedException(failure)) => {
                        failure.item.clone().unwrap_or_default()
                    }
                    _ => return Err(failed(&format!("store the result of {}", event.id), error)),
                },
            };
            let sequencer = text(&present, "Sequencer").unwrap_or_default();
            let theirs = text(&present, "CommitId").unwrap_or_default();
            if theirs == commit_id {
                // The answer to this write was lost, and it was sent again.
                return Ok(CommitOutcome::Committed);
            }
            if sequencer > &*written.sequencer {
                return Ok(CommitOutcome::Superseded);
            }
            if sequencer == written.sequencer {
                let same_version = is_deleted(&present) == is_deleted(&written.item)
                    && text(&present, "ETag") == text(&written.item, "ETag");
                let same_profile = text(&present, "Fingerprint") == text(&written.item, "Fingerprint");
                if same_version && same_profile {
                    return Ok(CommitOutcome::AlreadyCommitted);
                }
                if !same_version && !self.is_current(written, event).await? {
                    return Ok(CommitOutcome::Superseded);
                }
            }
            // From here on this write replaces the very item that was seen, or looks again.
            condition = "#commit = :theirs";
            values = HashMap::from([(":theirs".to_owned(), AttributeValue::S(theirs.to_owned()))]);
            names = HashMap::from([("#commit".to_owned(), "CommitId".to_owned())]);
            if theirs.is_empty() {
                condition = "attribute_not_exists(#commit)";
                values = HashMap::new();
            }
        }
        Err(BackendError::new(
            ErrorKind::Busy,
            format!("cannot store the result of {}: others write it all the time", event.id),
        ))
    }

    /// Whether the bucket holds now what is to be written.
    async fn is_current(&self, written: &Version, event: &DocumentEvent) -> Result<bool, BackendError> {
        let region = event.provenance.region.as_deref();
        let present = Objects::current(&self.connection, &event.id, region).await?;
        Ok(match present {
            None => is_deleted(&written.item),
            Some(etag) => !is_deleted(&written.item) && etag.as_deref() == text(&written.item, "ETag"),
        })
    }

    /// An object nobody points to costs storage and nothing else, so failing here is no failure of the commit.
    async fn forget_table(&self, bucket: &str, key: &str) {
        if let Err(error) = spilled::delete(&self.connection, bucket, key).await {
            tracing::warn!(%error, "a count table that nobody needs stays");
        }
    }

    async fn item(&self, document: &DocumentId) -> Result<Option<Item>, BackendError> {
        let request =
            self.connection.dynamo.get_item().table_name(&self.location.table).consistent_read(true);
        let request = request.key("Filename", AttributeValue::S(document.to_string()));
        let found =
            request.send().await.map_err(|error| failed(&format!("read the result of {document}"), error))?;
        Ok(found.item)
    }

    /// Every item of the table, page by page; without `attributes`, whole ones.
    async fn scan(
        &self,
        attributes: Option<&[&str]>,
        mut visit: impl AsyncFnMut(Item) -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        let names = attributes.unwrap_or_default().iter().enumerate();
        let names: HashMap<_, _> =
            names.map(|(index, name)| (format!("#a{index}"), (*name).to_owned())).collect();
        let projection = names.keys().cloned().collect::<Vec<_>>().join(", ");
        let mut start = None;
        loop {
            let mut request = self
                .connection
                .dynamo
                .scan()
                .table_name(&self.location.table)
                .consistent_read(true)
                .set_exclusive_start_key(start);
            if attributes.is_some() {
                request = request
                    .projection_expression(&projection)
                    .set_expression_attribute_names(Some(names.clone()));
            }
            let context = format!("read the table {}", self.location.table);
            let page = request.send().await.map_err(|error| failed(&context, error))?;
            for item in page.items.unwrap_or_default() {
                visit(item).await?;
            }
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(());
            }
        }
    }

    /// The whole count table of an item, encoded; `None` if it was not kept.
    async fn table(&self, document: &DocumentId, item: &Item) -> Result<Table, BackendError> {
        let deflated = match (item.get("Counts"), table_place(item)) {
            (Some(AttributeValue::B(table)), _) => Some(table.as_ref().to_vec()),
            (_, Some((bucket, key))) => match spilled::get(&self.connection, &bucket, &key).await? {
                None => return Ok(Table::Moved),
                found => found,
            },
            _ => None,
        };
        deflated.map_or(Ok(Table::NotKept), |table| inflated(document, &table).map(Table::Encoded))
    }
}

enum Table {
    Encoded(Vec<u8>),
    /// The item points to an object that was there when it was read.
    Moved,
    NotKept,
}

fn not_kept(document: &DocumentId) -> BackendError {
    BackendError::new(
        ErrorKind::NotFound,
        format!(
            "the whole count table of {document} was not kept, as it did not fit its item: set WORKER_RESULT_BUCKET for \
             the workers, and put the document again; its ten best words are there (--top 10)"
        ),
    )
}

impl Results for DynamoResults {
    fn commit(&self, completions: &[Completion]) -> Result<Vec<Committed>, BackendError> {
        let mut by_document: BTreeMap<&DocumentId, Vec<(usize, &Completion)>> = BTreeMap::new();
        for (index, completion) in completions.iter().enumerate() {
            by_document.entry(&completion.event.id).or_default().push((index, completion));
        }
        let commits = by_document.into_values().map(|completions| self.commit_each(completions));
        let outcomes = self.connection.wait(try_join_all(commits))?;
        let mut committed =
            vec![Committed { outcome: CommitOutcome::LeaseLost, acknowledged: false }; completions.len()];
        outcomes.into_iter().flatten().for_each(|(index, outcome)| committed[index].outcome = outcome);
        Ok(committed)
    }

    fn read(
        &self,
        document: &DocumentId,
        limit: Option<usize>,
    ) -> Result<Option<DocumentResult>, BackendError> {
        self.connection.wait(async {
            loop {
                let Some(item) = self.item(document).await?.filter(|item| !is_deleted(item)) else {
                    return Ok(None);
                };
                let summary = summary(&item)?;
                let mut counts = top_words(&item);
                let enough = limit.is_some_and(|limit| limit <= counts.len()) || counts.len() as u64 == summary.distinct;
                if enough {
                    counts.truncate(limit.unwrap_or(usize::MAX));
                    return Ok(Some(DocumentResult { summary, counts }));
                }
                match self.table(document, &item).await? {
                    Table::NotKept => return Err(not_kept(document)),
                    // A newer version's commit removed it since; its item is there now.
                    Table::Moved if self.item(document).await? != Some(item) => {}
                    Table::Moved => {
                        let text = format!("the count table of {document} is gone from the results bucket: put the document again");
                        return Err(BackendError::new(ErrorKind::Corrupt, text));
                    }
                    Table::Encoded(table) => {
                        counts.clear();
                        encoding::decode_counts(&table, limit, |word, count| counts.push((word.to_owned(), count)))?;
                        return Ok(Some(DocumentResult { summary, counts }));
                    }
                }
            }
        })
    }

    fn list(&self, after: Option<&DocumentId>, limit: usize) -> Result<Vec<ResultSummary>, BackendError> {
        let mut found = BTreeMap::new();
        self.connection.wait(self.scan(Some(&SUMMARY), async |item| {
            // What another program wrote has no result of ours.
            if is_deleted(&item) || !item.contains_key("Fingerprint") {
                return Ok(());
            }
            let summary = summary(&item)?;
            if after.is_none_or(|after| summary.document > *after) {
                found.insert(summary.document.clone(), summary);
                if found.len() > limit {
                    found.pop_last();
                }
            }
            Ok(())
        }))?;
        Ok(found.into_values().collect())
    }

    fn totals(&self, limit: Option<usize>) -> Result<Totals, BackendError> {
        let mut sum = Counts::new();
        let mut documents_by_word: HashMap<String, u64> = HashMap::new();
        let (mut documents, mut other_documents) = (0, 0);
        self.connection.wait(self.scan(None, async |mut item| {
            if is_deleted(&item) {
                return Ok(());
            }
            if text(&item, "Fingerprint") != Some(&*self.fingerprint) {
                other_documents += 1;
                return Ok(());
            }
            let id = summary(&item)?.document;
            let table = loop {
                match self.table(&id, &item).await? {
                    Table::Encoded(table) => break table,
                    Table::NotKept => return Err(not_kept(&id)),
                    Table::Moved => match self.item(&id).await? {
                        Some(newer) if !is_deleted(&newer) && newer != item => item = newer,
                        Some(newer) if is_deleted(&newer) => return Ok(()),
                        _ => {
                            let text = format!("the count table of {id} is gone from the results bucket: put the document again");
                            return Err(BackendError::new(ErrorKind::Corrupt, text));
                        }
                    },
                }
            };
            let summary = summary(&item)?;
            documents += 1;
            sum.add_totals(summary.bytes, summary.over_long);
            encoding::decode_counts(&table, None, |word, count| {
                sum.add(word, count);
                match documents_by_word.get_mut(word) {
                    Some(documents) => *documents += 1,
                    None => {
                        documents_by_word.insert(word.to_owned(), 1);
                    }
                }
            })
        }))?;
        let counts = sum.top(limit.unwrap_or(usize::MAX)).into_iter().map(|entry| TotalWord {
            word: entry.word.to_owned(),
            count: entry.count,
            documents: documents_by_word.get(entry.word).copied().unwrap_or(0),
        });
        Ok(Totals {
            fingerprint: self.fingerprint.clone(),
            documents,
            bytes: sum.bytes(),
            words: sum.words(),
            distinct: sum.distinct(),
            over_long: sum.over_long(),
            other_documents,
            counts: counts.collect(),
        })
    }
}

/// One version as it is to be written.
#[derive(Debug)]
struct Version {
    item: Item,
    sequencer: String,
    spilled: Option<(String, String)>,
}

impl Version {
    fn new(event: &DocumentEvent) -> Self {
        let sequencer = format!("{:032x}", event.sequence.0);
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let provenance = &event.provenance;
        let texts = [
            ("Filename", Some(event.id.to_string())),
            ("Sequencer", Some(sequencer.clone())),
            ("ETag", provenance.etag.clone()),
            ("VersionId", provenance.version_id.clone()),
            ("Region", provenance.region.clone()),
            ("CommittedAt", Some(now)),
        ];
        let texts =
            texts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), AttributeValue::S(value?))));
        Self { item: texts.collect(), sequencer, spilled: None }
    }

    fn removed(event: &DocumentEvent) -> Self {
        let mut version = Self::new(event);
        version.item.insert("Deleted".into(), AttributeValue::Bool(true));
        let forgotten = Timestamp::now().plus(MARK_LIVES).0 / 1000;
        version.item.insert("ExpiresAt".into(), AttributeValue::N(forgotten.to_string()));
        // A deletion has no tag; one that its event brought would make two marks of it differ.
        version.item.remove("ETag");
        version
    }

    fn counted(
        event: &DocumentEvent,
        counts: &Counts,
        duration: Duration,
        profile: &Profile,
    ) -> Result<Self, BackendError> {
        let mut version = Self::new(event);
        let top = counts.top(TOP);
        let number = |number: u64| AttributeValue::N(number.to_string());
        // The sample's empty word (`go-sample` makes it) cannot name an entry of a map in DynamoDB; it has its place in
        // the list.
        let words = top.iter().filter(|entry| !entry.word.is_empty());
        let words = words.map(|entry| (entry.word.to_owned(), number(entry.count))).collect();
        let ordered = top.iter().map(|entry| {
            let word = AttributeValue::S(entry.word.to_owned());
            AttributeValue::M(HashMap::from([("Word".into(), word), ("Count".into(), number(entry.count))]))
        });
        version.item.extend([
            ("Words".to_owned(), AttributeValue::M(words)),
            ("TopWords".to_owned(), AttributeValue::L(ordered.collect())),
            ("TotalWords".to_owned(), number(counts.words())),
            ("Distinct".to_owned(), number(counts.distinct())),
            ("OverLong".to_owned(), number(counts.over_long())),
            ("Bytes".to_owned(), number(counts.bytes())),
            ("Profile".to_owned(), AttributeValue::S(profile.name.to_string())),
            ("Fingerprint".to_owned(), AttributeValue::S(profile.fingerprint())),
            (
                "DurationNanoseconds".to_owned(),
                number(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
            ),
        ]);
        if version.bytes() > MAX_ITEM_BYTES {
            return Err(BackendError::new(
                ErrorKind::Invalid,
                format!(
                    "its ten best words alone take {} bytes, and an item may have {MAX_ITEM_BYTES}: count it with profile \
                     `unicode` or `whitespace`, whose words are shorter",
                    version.bytes()
                ),
            ));
        }
        Ok(version)
    }

    /// As DynamoDB counts them, and a little more.
    fn bytes(&self) -> usize {
        // What is added later: the name of the write, and of the table or its place.
        const LATER: usize = 2_500;
        LATER + self.item.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>()
    }
}

fn size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len() + 1,
        AttributeValue::N(_) => 22,
        AttributeValue::B(bytes) => bytes.as_ref().len() + 1,
        AttributeValue::L(values) => 3 + values.iter().map(|value| 1 + size(value)).sum::<usize>(),
        AttributeValue::M(values) => {
            3 + values.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>()
        }
        _ => 1,
    }
}

/// What [`summary`] needs, and what tells a deleted document from others.
const SUMMARY: [&str; 10] = [
    "Filename",
    "Sequencer",
    "Fingerprint",
    "Bytes",
    "TotalWords",
    "Distinct",
    "OverLong",
    "DurationNanoseconds",
    "CommittedAt",
    "Deleted",
];

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn is_deleted(item: &Item) -> bool {
    item.get("Deleted").is_some_and(|deleted| deleted == &AttributeValue::Bool(true))
}

fn table_place(item: &Item) -> Option<(String, String)> {
    let place = item.get("CountsObject")?.as_m().ok()?;
    Some((text(place, "Bucket")?.to_owned(), text(place, "Key")?.to_owned()))
}

fn top_words(item: &Item) -> Vec<(String, u64)> {
    let words = item.get("TopWords").and_then(|words| words.as_l().ok());
    let word = |entry: &AttributeValue| {
        let entry = entry.as_m().ok()?;
        let count = entry.get("Count")?.as_n().ok()?.parse().ok()?;
        Some((text(entry, "Word")?.to_owned(), count))
    };
    words.into_iter().flatten().filter_map(word).collect()
}

fn summary(item: &Item) -> Result<ResultSummary, BackendError> {
    let name = text(item, "Filename").unwrap_or_default();
    let read = || {
        let number = |name| item.get(name)?.as_n().ok()?.parse::<u64>().ok();
        let committed_at = humantime::parse_rfc3339(text(item, "CommittedAt")?).ok()?;
        Some(ResultSummary {
            document: DocumentId::parse(name).ok()?,
            sequence: Sequence(u128::from_str_radix(text(item, "Sequencer")?, 16).ok()?),
            fingerprint: text(item, "Fingerprint")?.to_owned(),
            bytes: number("Bytes")?,
            words: number("TotalWords")?,
            distinct: number("Distinct")?,
            over_long: number("OverLong")?,
            duration: Duration::from_nanos(number("DurationNanoseconds")?),
            committed_at: committed_at.into(),
        })
    };
    read().ok_or_else(|| {
        BackendError::new(
            ErrorKind::Corrupt,
            format!("the item of {name} was not written by this program, or was changed since: put the document again"),
        )
    })
}

fn deflated(counts: &Counts) -> Result<Vec<u8>, BackendError> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&encoding::encode_counts(counts)).and_then(|()| encoder.finish()).map_err(|error| {
        BackendError::new(ErrorKind::Other, format!("a count table cannot be compressed: {error}"))
    })
}

fn inflated(document: &DocumentId, table: &[u8]) -> Result<Vec<u8>, BackendError> {
    let mut encoded = Vec::new();
    let mut decoder = DeflateDecoder::new(table).take(MAX_TABLE_BYTES);
    decoder.read_to_end(&mut encoded).map_err(|error| {
        let text =
            format!("the stored count table of {document} is damaged, put the document again: {error}");
        BackendError::new(ErrorKind::Corrupt, text)
    })?;
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wordfreq_core::{ProfileName, count};
    use wordfreq_pipeline::EventKind;

    fn event() -> DocumentEvent {
        let id = DocumentId::new("bucket", "a//b ü").unwrap();
        DocumentEvent::new(EventKind::Created, id, Sequence(0x55ae_d6dc_d902_81e5), 0)
    }

    #[test]
    fn an_item_reads_back_as_it_was_written() {
        let profile = Profile::new(ProfileName::Whitespace);
        let counts = count(&profile, b"b a c c a c").unwrap();
        let version = Version::counted(&event(), &counts, Duration::from_micros(7), &profile).unwrap();
        assert_eq!(version.sequencer, "000000000000000055aed6dcd90281e5");
        let summary = summary(&version.item).unwrap();
        assert_eq!((summary.document, summary.sequence), (event().id, event().sequence));
        assert_eq!((summary.words, summary.distinct, summary.bytes), (6, 3, 11));
        assert_eq!(summary.duration, Duration::from_micros(7));
        assert_eq!(top_words(&version.item), [("c".into(), 3), ("a".into(), 2), ("b".into(), 1)]);
        assert_eq!(text(&version.item, "Filename"), Some("bucket/a//b ü"), "as it is, uncleaned");
        let table = inflated(&event().id, &deflated(&counts).unwrap()).unwrap();
        let mut back = Counts::new();
        encoding::decode_counts(&table, None, |word, count| back.add(word, count)).unwrap();
        assert_eq!(back.ranked(), counts.ranked());
    }

    #[test]
    fn the_empty_word_stands_in_the_list_only() {
        let profile = Profile::new(ProfileName::GoSample);
        let counts = count(&profile, b"..... ..... words").unwrap();
        let version = Version::counted(&event(), &counts, Duration::ZERO, &profile).unwrap();
        assert_eq!(version.item["Words"].as_m().unwrap().len(), 1);
        assert_eq!(top_words(&version.item), [(String::new(), 2), ("words".into(), 1)]);
    }

    #[test]
    fn an_item_that_could_never_be_stored_is_refused_by_its_size() {
        let profile = Profile::new(ProfileName::GoSample);
        let text: String = (0..9).map(|number| format!("{number}{} ", "x".repeat(60_000))).collect();
        let counts = count(&profile, text.as_bytes()).unwrap();
        let error = Version::counted(&event(), &counts, Duration::ZERO, &profile).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn what_is_not_ours_or_damaged_is_an_error_that_names_it() {
        let error =
            summary(&HashMap::from([("Filename".into(), AttributeValue::S("b/k".into()))])).unwrap_err();
        assert!(error.to_string().contains("b/k"), "{error}");
        assert_eq!(inflated(&event().id, b"\xff\xff").unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
