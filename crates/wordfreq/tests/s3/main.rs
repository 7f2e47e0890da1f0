//! The S3 endpoint as its clients meet it: boto3, the AWS CLI and the SDK of Rust, each against an `up` of its own. Not here:
//! kills (`faults`), and load (bench).

mod sdk;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, Delete,
    ObjectIdentifier,
};
use tempfile::TempDir;

/// A running `up`, and a key of each scope.
struct Endpoint {
    directory: TempDir,
    child: Child,
    url: String,
    admin: (String, String),
    read: (String, String),
    write: (String, String),
}

/// The program in a directory of its own.
fn wordfreq(directory: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wordfreq"));
    command
        .args(args)
        .current_dir(directory.path())
        .env_clear()
        .env("HOME", directory.path())
        .stdin(Stdio::null());
    command
}

impl Endpoint {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these settings of the environment.
    fn start_with(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = |scope: &str| {
            sdk::key(&succeed(wordfreq(&directory, &["key", "create", "--name", scope, "--scope", scope])))
        };
        let (admin, read, write) = (key("admin"), key("read"), key("write"));
        let mut up =
            wordfreq(&directory, &["up", "--listen", "127.0.0.1:0", "--preset", "fixed", "--max", "1"]);
        up.envs(settings.iter().copied());
        let mut child = up.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let url = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "`up` ended: {seen}");
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["message"] == "ready" {
                break event["server"].as_str().unwrap().to_owned();
            }
            seen.push_str(&line);
        };
        // What is not read would stop it in the end.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { directory, child, url, admin, read, write }
    }

    /// Runs the program beside it; what it prints.
    fn run(&self, args: &[&str]) -> String {
        succeed(wordfreq(&self.directory, args))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn client(&self) -> Client {
        sdk::client(&self.url, &self.admin.0, &self.admin.1)
    }

    /// A command of the virtual environment that `make test` makes, with the key of an administrator.
    fn installed(&self, name: &str) -> Command {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv/bin").join(name);
        assert!(path.exists(), "{} is missing: `make test` installs it", path.display());
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.directory.path())
            .env("AWS_ACCESS_KEY_ID", &self.admin.0)
            .env("AWS_SECRET_ACCESS_KEY", &self.admin.1)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(self.directory.path());
        command
    }

    /// Has a function of `client.py` meet it.
    fn meets(&self, name: &str) {
        let mut command = self.installed("python");
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/client.py"))
            .args([name, &self.url])
            .env("READ_KEY", &self.read.0)
            .env("READ_SECRET", &self.read.1)
            .env("WRITE_KEY", &self.write.0)
            .env("WRITE_SECRET", &self.write.1);
        succeed(command);
    }

    /// Stops `up`, which must end well.
    fn stop(&mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Gone already, where it was stopped.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn succeed(mut command: Command) -> String {
    let done = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}: {}\n{stdout}{stderr}", done.status);
    stdout.into_owned()
}

/// One function of `client.py` a test, by the same name.
macro_rules! clients {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            Endpoint::start().meets(stringify!($name));
        }
    )*};
}

clients! {
    buckets_are_made_listed_and_deleted
    what_is_put_comes_back_with_all_that_was_said_of_it
    odd_keys_are_only_data
    ranges_and_conditions_hold
    copies_share_bytes_and_may_change_what_is_said
    a_multipart_upload_of_64_mb_is_whole
    uploads_in_parts_are_refused_copied_listed_and_aborted
    checksums_are_checked_and_told
    presigned_urls_work_until_they_expire_or_are_changed
    who_is_not_who_they_say_gets_nothing
    chunked_bodies_are_checked_piece_by_piece
    a_key_does_what_its_scope_allows
    bodies_in_xml_are_checked
    limits_are_told_as_s3_tells_them
}

#[test]
fn a_body_that_comes_too_slowly_is_given_up() {
    let settings = [("WORDFREQ_SERVER_BODY_TIMEOUT_SECONDS", "1"), ("WORDFREQ_SERVER_MIN_BODY_RATE", "1000")];
    Endpoint::start_with(&settings).meets("a_body_that_comes_too_slowly_is_given_up");
}

#[test]
fn the_command_line_of_aws_starts_the_work_by_a_copy_from_bucket_to_bucket() {
    let mut endpoint = Endpoint::start();
    std::fs::create_dir_all(endpoint.path("letters/below")).unwrap();
    for number in 0..30 {
        let path = endpoint.path(&format!("letters/below/{number}.txt"));
        std::fs::write(path, format!("letter number {number} of thirty")).unwrap();
    }
    let aws = |args: &[&str]| {
        let mut command = endpoint.installed("aws");
        command.args(["--endpoint-url", &endpoint.url]).args(args);
        succeed(command)
    };
    aws(&["s3", "cp", "letters", "s3://uploading/letters", "--recursive", "--quiet"]);
    let waiting = endpoint.run(&["results", "list", "--format", "csv"]);
    assert_eq!(waiting.lines().count(), 1, "counted where documents are kept: {waiting}");
    aws(&["s3", "cp", "s3://uploading", "s3://processing", "--recursive", "--quiet"]);
    let listed = aws(&["s3", "ls", "s3://processing/letters/below/"]);
    assert_eq!(listed.lines().count(), 30, "{listed}");
    aws(&["s3", "cp", "s3://processing/letters/below/7.txt", "back.txt"]);
    assert_eq!(std::fs::read(endpoint.path("back.txt")).unwrap(), b"letter number 7 of thirty");
    let before = aws(&["s3", "sync", "letters", "s3://uploading/letters"]);
    assert_eq!(before, "", "synchronised what was there already");
    aws(&["s3", "mb", "s3://archive"]);
    aws(&["s3", "mv", "s3://uploading/letters", "s3://archive", "--recursive", "--quiet"]);
    assert_eq!(aws(&["s3", "ls", "s3://uploading", "--recursive"]), "");
    aws(&["s3", "rb", "s3://archive", "--force"]);
    let url = aws(&["s3", "presign", "s3://processing/letters/below/1.txt", "--expires-in", "60"]);
    assert!(url.starts_with(&endpoint.url), "{url}");
    endpoint.stop();
    let done = endpoint.run(&["up", "--exit-when-idle", "--listen", "none"]);
    assert!(done.contains("letter"), "{done}");
    let report = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&endpoint.run(&[args, &["--all", "--format", "json"]].concat())).unwrap()
    };
    let (counted, expected) = (report(&["results", "totals"]), report(&["count", "letters"]));
    assert_eq!(counted["counts"], expected["counts"]);
    assert_eq!(counted["documents"], 30);
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn the_sdk_of_rust_puts_gets_lists_and_deletes_with_every_checksum() {
    let endpoint = Endpoint::start();
    let s3 = endpoint.client();
    run(async {
        for algorithm in ChecksumAlgorithm::values() {
            let algorithm = ChecksumAlgorithm::from(*algorithm);
            if !["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"].contains(&algorithm.as_str()) {
                continue;
            }
            let put = s3.put_object().bucket("uploading").key(algorithm.as_str());
            let put = put.checksum_algorithm(algorithm.clone()).body(ByteStream::from_static(b"some text"));
            put.send().await.unwrap();
            let get = s3.get_object().bucket("uploading").key(algorithm.as_str());
            let got = get.checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
            assert_eq!(got.checksum_type(), Some(&ChecksumType::FullObject));
            // The SDK checks what it reads.
            assert_eq!(got.body.collect().await.unwrap().into_bytes(), &b"some text"[..]);
        }
        let mut pages = s3.list_objects_v2().bucket("uploading").max_keys(2).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        assert_eq!(keys, ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]);
        let ids = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
        let delete = Delete::builder().set_objects(Some(ids.collect())).build().unwrap();
        let deleted = s3.delete_objects().bucket("uploading").delete(delete).send().await.unwrap();
        assert_eq!(deleted.deleted().len(), 5);
        let error = s3.get_object().bucket("uploading").key("SHA1").send().await.unwrap_err();
        assert_eq!(error.code(), Some("NoSuchKey"));
    });
}

#[test]
fn the_sdk_of_rust_uploads_in_parts_whose_checksums_become_the_objects() {
    let endpoint = Endpoint::start();
    let s3 = endpoint.client();
    run(async {
        for (algorithm, kind) in [
            (ChecksumAlgorithm::Crc32C, ChecksumType::FullObject),
            (ChecksumAlgorithm::Crc32C, ChecksumType::Composite),
            (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject),
        ] {
            let begun = s3.create_multipart_upload().bucket("uploading").key("large");
            let begun =
                begun.checksum_algorithm(algorithm.clone()).checksum_type(kind.clone()).send().await.unwrap();
            let upload = begun.upload_id().unwrap();
            let bodies = [vec![b'a'; 5 << 20], b"the end".to_vec()];
            let mut parts = CompletedMultipartUpload::builder();
            for (number, body) in (1..).zip(&bodies) {
                let put =
                    s3.upload_part().bucket("uploading").key("large").upload_id(upload).part_number(number);
                let put =
                    put.checksum_algorithm(algorithm.clone()).body(body.clone().into()).send().await.unwrap();
                let part = CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(put.e_tag)
                    .set_checksum_crc32_c(put.checksum_crc32_c)
                    .set_checksum_crc64_nvme(put.checksum_crc64_nvme);
                parts = parts.parts(part.build());
            }
            let complete = s3.complete_multipart_upload().bucket("uploading").key("large").upload_id(upload);
            complete.multipart_upload(parts.build()).send().await.unwrap();
            let get = s3.get_object().bucket("uploading").key("large").checksum_mode(ChecksumMode::Enabled);
            let got = get.send().await.unwrap();
            assert_eq!(got.checksum_type(), Some(&kind));
            assert_eq!(got.body.collect().await.unwrap().into_bytes(), bodies.concat());
        }
    });
}

#[test]
fn the_sdk_of_rust_signs_urls_that_work() {
    let endpoint = Endpoint::start();
    let s3 = endpoint.client();
    run(async {
        s3.put_object()
            .bucket("uploading")
            .key("a b")
            .body(ByteStream::from_static(b"text"))
            .send()
            .await
            .unwrap();
        let lasting = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
        let url = s3.get_object().bucket("uploading").key("a b").presigned(lasting).await.unwrap();
        let mut python = endpoint.installed("python");
        python.args([
            "-c",
            "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())",
            url.uri(),
        ]);
        assert_eq!(succeed(python), "text\n");
    });
}
