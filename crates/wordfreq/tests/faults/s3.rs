//! SIGKILL while clients put, copy and upload in parts. What was answered is there and counted; what was not is whole or
//! absent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use rustix::process::Signal;
use serde_json::Value;
use wordfreq_core::ProfileName;

use crate::oracle::Random;
use crate::sdk;
use crate::system::{Running, System, is_kill};

const CLIENTS: u64 = 6;

/// Where `up` is killed, at which passes. It passes the places of the database on its way up too, some twenty times.
const PLACES: [(&str, [u32; 2]); 11] = [
    ("bucket.stage", [1, 12]),
    ("bucket.sync_object", [2, 11]),
    ("bucket.before_rename", [3, 10]),
    ("bucket.after_rename", [1, 9]),
    ("bucket.before_directory_sync", [2, 5]),
    ("bucket.before_record", [3, 9]),
    ("bucket.after_record", [1, 6]),
    ("database.before_commit", [45, 60]),
    ("database.after_commit", [50, 55]),
    ("uploads.before_assemble", [1, 3]),
    ("uploads.after_assemble", [2, 4]),
];

/// Documents in the bucket that keeps, to be copied.
const SOURCES: usize = 4;

/// What the clients know.
#[derive(Default)]
struct Known {
    /// What was answered, by key.
    there: BTreeMap<String, Vec<u8>>,
    /// What was asked for and not answered: what the key may hold, `None` for nothing.
    unsure: BTreeMap<String, Vec<Option<Vec<u8>>>>,
}

struct World {
    system: System,
    key: (String, String),
    runtime: tokio::runtime::Runtime,
    known: Arc<Mutex<Known>>,
    sources: Vec<Vec<u8>>,
    next_key: Arc<AtomicU64>,
}

/// Why a client stopped: nobody is there any more.
struct Gone;

/// Whatever S3 itself answers, it must not be a refusal.
fn gone<E: std::fmt::Debug, R: std::fmt::Debug>(error: SdkError<E, R>) -> Gone {
    match error {
        SdkError::ServiceError(refused) => panic!("refused: {refused:?}"),
        _ => Gone,
    }
}

async fn put(s3: &Client, key: &str, bytes: &[u8]) -> Result<(), Gone> {
    let put = s3.put_object().bucket("processing").key(key).body(bytes.to_vec().into());
    put.send().await.map(drop).map_err(gone)
}

async fn copy(s3: &Client, key: &str, source: usize) -> Result<(), Gone> {
    let copy = s3.copy_object().bucket("processing").key(key).copy_source(format!("uploading/{source}"));
    copy.send().await.map(drop).map_err(gone)
}

async fn upload(s3: &Client, key: &str, bytes: &[u8]) -> Result<(), Gone> {
    let begun = s3.create_multipart_upload().bucket("processing").key(key).send().await.map_err(gone)?;
    let name = begun.upload_id().unwrap();
    let part = s3.upload_part().bucket("processing").key(key).upload_id(name).part_number(7);
    let part = part.body(bytes.to_vec().into()).send().await.map_err(gone)?;
    let parts = CompletedMultipartUpload::builder()
        .parts(CompletedPart::builder().part_number(7).set_e_tag(part.e_tag).build())
        .build();
    let complete = s3.complete_multipart_upload().bucket("processing").key(key).upload_id(name);
    complete.multipart_upload(parts).send().await.map(drop).map_err(gone)
}

impl World {
    fn new() -> Self {
        let system =
            System::new().with_short_leases().with_variable("WORDFREQ_QUEUE_MAX_RECEIVE_COUNT", "1000");
        let made = system.run(&["key", "create", "--name", "test", "--scope", "admin"]).code(0);
        let mut random = Random(20_261_125);
        Self {
            system,
            key: sdk::key(&made.stdout),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
            known: Arc::default(),
            sources: (0..SOURCES).map(|_| random.document()).collect(),
            next_key: Arc::default(),
        }
    }

    fn serve(&self, variables: &[(&str, &str)]) -> (Running, Client) {
        let mut up = self
            .system
            .start(&["up", "--preset", "fixed", "--max", "2", "--listen", "127.0.0.1:0"], variables);
        let ready: Value = serde_json::from_str(&up.wait_for_line("\"ready\"")).unwrap();
        let client = sdk::client(ready["server"].as_str().unwrap(), &self.key.0, &self.key.1);
        (up, client)
    }

    fn put_sources(&self, s3: &Client) {
        self.runtime.block_on(async {
            for (number, bytes) in self.sources.iter().enumerate() {
                let put =
                    s3.put_object().bucket("uploading").key(number.to_string()).body(bytes.clone().into());
                put.send().await.unwrap();
            }
        });
    }

    /// Lets clients work until `up` is killed.
    fn work_until_killed(&self, place: &str, at: u32, seed: u64) {
        let (up, s3) = self.serve(&[]);
        self.put_sources(&s3);
        self.stop(up);
        let failpoint = format!("{place}=kill@{at}");
        let (mut up, s3) = self.serve(&[("WORDFREQ_FAILPOINTS", &failpoint)]);
        let clients = (0..CLIENTS).map(|number| {
            let (s3, known, next_key) = (s3.clone(), self.known.clone(), self.next_key.clone());
            let sources = self.sources.clone();
            self.runtime.spawn(async move {
                let mut random = Random(seed * 100 + number);
                loop {
                    let is_own = random.below(4) == 0;
                    let key = if is_own {
                        format!("own of {number}")
                    } else {
                        format!("{:05}", next_key.fetch_add(1, Ordering::Relaxed))
                    };
                    let (way, source) = (random.below(6), random.below(SOURCES));
                    let bytes = if way == 0 { sources[source].clone() } else { random.document() };
                    {
                        let mut known = known.lock().unwrap();
                        let before = known.there.remove(&key);
                        let candidates = known.unsure.entry(key.clone()).or_insert_with(|| vec![before]);
                        candidates.push(Some(bytes.clone()));
                    }
                    let done = match way {
                        0 => copy(&s3, &key, source).await,
                        1 | 2 => upload(&s3, &key, &bytes).await,
                        _ => put(&s3, &key, &bytes).await,
                    };
                    if done.is_err() {
                        return;
                    }
                    let mut known = known.lock().unwrap();
                    known.unsure.remove(&key);
                    known.there.insert(key, bytes);
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        let status = up.wait_for_end();
        assert!(is_kill(status), "{place}@{at}: {status}: {}", up.log.join("\n"));
        self.runtime.block_on(async {
            for client in clients {
                client.await.unwrap();
            }
        });
        up.wait_until_all_are_gone();
    }

    fn stop(&self, mut up: Running) {
        up.signal(Signal::TERM);
        let status = up.wait_for_end();
        assert!(status.success(), "{status}: {}", up.log.join("\n"));
        up.wait_until_all_are_gone();
    }

    /// Everything that was answered is there, all else is whole or absent, and in the end all of it is counted.
    fn check(&self) {
        let (up, s3) = self.serve(&[]);
        let mut known = self.known.lock().unwrap();
        let unsure = std::mem::take(&mut known.unsure);
        self.runtime.block_on(async {
            let mut found = BTreeMap::new();
            let mut pages = s3.list_objects_v2().bucket("processing").into_paginator().send();
            while let Some(page) = pages.next().await {
                for object in page.unwrap().contents() {
                    let key = object.key().unwrap();
                    let got = s3.get_object().bucket("processing").key(key).send().await.unwrap();
                    found.insert(key.to_owned(), got.body.collect().await.unwrap().to_vec());
                }
            }
            for (key, candidates) in unsure {
                let held = found.get(&key).cloned();
                assert!(candidates.contains(&held), "{key} is neither whole nor as before");
                known.there.extend(held.map(|held| (key, held)));
            }
            let (found, there) = (found.keys().collect::<Vec<_>>(), known.there.keys().collect::<Vec<_>>());
            assert_eq!(found, there, "what is there, and what was answered");
            // What was begun and is nothing yet is listed and can be given up; so can what was to be copied.
            let uploads = s3.list_multipart_uploads().bucket("processing").send().await.unwrap();
            for upload in uploads.uploads() {
                let abort = s3.abort_multipart_upload().bucket("processing");
                abort.key(upload.key().unwrap()).upload_id(upload.upload_id().unwrap()).send().await.unwrap();
            }
            for number in 0..SOURCES {
                s3.delete_object().bucket("uploading").key(number.to_string()).send().await.unwrap();
            }
        });
        self.stop(up);
        self.system.run_until_idle(&[]);
        self.system.assert_holds(ProfileName::Unicode, &known.there);
    }
}

#[test]
fn what_s3_has_answered_outlives_any_kill_and_what_it_has_not_is_whole_or_absent() {
    let world = World::new();
    let mut seed = 0;
    for (number, (place, passes)) in PLACES.into_iter().enumerate() {
        for at in passes {
            seed += 1;
            world.work_until_killed(place, at, seed);
        }
        if number % 2 == 0 {
            world.check();
        }
    }
}
