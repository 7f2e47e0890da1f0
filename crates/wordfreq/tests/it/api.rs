//! The API as a client meets it, on a real `up`: what each path promises. That the answers are as described is in
//! `api_description`; who is let in at all is in `server`.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use serde_json::{Value, json};

use crate::program::Program;
use crate::server::Serving;

/// Far longer than anything here takes.
const GUARD: Duration = Duration::from_secs(60);

/// Talks to the API.
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media: String,
    pub(crate) head: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn of(answer: Result<Response<ureq::Body>, ureq::Error>) -> Self {
        let mut answer = answer.unwrap();
        let media = answer.headers().get("content-type").map(|media| media.to_str().unwrap().to_owned());
        Self {
            status: answer.status().as_u16(),
            media: media.unwrap_or_default(),
            head: answer.headers().clone(),
            body: answer.body_mut().read_to_vec().unwrap(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The JSON of an answer that says that all is well.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text());
        assert_eq!(self.media, "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The detail of an answer that says otherwise.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.media, "application/problem+json");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], status);
        assert!(problem["type"].as_str().unwrap().starts_with("urn:wordfreq:error:"), "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// A query of these pairs.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let escaped = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&")
}

impl Client {
    pub(crate) fn of(serving: &Serving) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { agent, url: serving.url.replace("127.0.0.1", "localhost"), token: None }
    }

    fn with_token(serving: &Serving, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::of(serving) }
    }

    fn url(&self, path: &str) -> String {
        if path.starts_with('/') {
            format!("{}{path}", self.url)
        } else {
            format!("{}/api/v1/{path}", self.url)
        }
    }

    fn bearer(&self) -> String {
        self.token.as_ref().map(|token| format!("Bearer {token}")).unwrap_or_default()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let request = self.agent.get(self.url(path));
        Answer::of(
            if self.token.is_some() { request.header("authorization", self.bearer()) } else { request }
                .call(),
        )
    }

    fn get_as(&self, path: &str, accept: &str) -> Answer {
        Answer::of(self.agent.get(self.url(path)).header("accept", accept).call())
    }

    pub(crate) fn put(&self, bucket: &str, key: &str, bytes: impl AsRef<[u8]>) -> Answer {
        let path = format!("document?{}", query(&[("bucket", bucket), ("key", key)]));
        self.send("PUT", &path, "text/plain", bytes.as_ref())
    }

    fn send(&self, method: &str, path: &str, media: &str, body: &[u8]) -> Answer {
        let mut request = Request::builder().method(method).uri(self.url(path)).header("content-type", media);
        if self.token.is_some() {
            request = request.header("authorization", self.bearer());
        }
        Answer::of(self.agent.run(request.body(body).unwrap()))
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "application/json", body.to_string().as_bytes())
    }

    fn document(&self, bucket: &str, key: &str) -> Value {
        self.get(&format!("document?{}", query(&[("bucket", bucket), ("key", key)]))).json()
    }

    /// Waits until the queue is idle.
    pub(crate) fn until_idle(&self) {
        self.until("idle", || {
            let queue = self.get("queue").json();
            ["visible", "in_flight", "delayed"].iter().all(|name| queue[name] == 0)
        });
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < GUARD, "never so: {what}");
        }
    }

    /// All items of a list, page by page.
    fn items(&self, path: &str, limit: usize) -> Vec<Value> {
        self.items_after(path, limit, None)
    }

    fn items_after(&self, path: &str, limit: usize, after: Option<&str>) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = after.map(|after| format!("&cursor={after}")).unwrap_or_default();
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{joint}limit={limit}{cursor}")).json();
            let found = page["items"].as_array().unwrap();
            assert!(found.len() <= limit);
            items.extend_from_slice(found);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}

fn texts(items: &[Value], field: &str) -> Vec<String> {
    items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

/// Reads live events, each a name and its data.
struct Watching {
    reader: BufReader<TcpStream>,
}

impl Watching {
    fn start(serving: &Serving, headers: &str) -> Self {
        let request =
            format!("GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        let mut reader = serving.send(request.as_bytes());
        reader.get_mut().set_read_timeout(Some(GUARD)).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        Self { reader }
    }

    /// The next event; `None` at the end of the stream.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.trim_end().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).unwrap()));
            }
        }
    }

    /// Reads on until an event of this name is as it should be.
    fn until(&mut self, wanted: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (name, data) = self.next().expect("the stream has ended");
            if name == wanted && is_it(&data) {
                return data;
            }
        }
    }
}

const HOSTILE_KEYS: [&str; 10] = [
    "../../etc/passwd",
    "/a//b/../c",
    "nul\0in it",
    "line\nbreak\r\n",
    "=HYPERLINK(\"x\")",
    "<img src=x onerror=alert(1)>",
    "\u{202e}rtl \u{1f600} e\u{301}",
    "?bucket=x&key=y#z",
    "%2e%2e%2F",
    " ",
];

#[test]
fn any_key_is_put_shown_read_counted_again_and_deleted() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    let longest = "ü".repeat(512);
    let keys = || HOSTILE_KEYS.into_iter().chain([longest.as_str()]);
    for key in keys() {
        let put = client.put("processing", key, "Hello, hello world");
        assert_eq!(put.status, 201, "{}", put.text());
        let item = put.json();
        assert_eq!(
            (&item["key"], &item["bytes"], &item["content_type"]),
            (&json!(key), &json!(18), &json!("text/plain"))
        );
    }
    client.until_idle();
    let mut listed = texts(&client.items("documents?bucket=processing", 3), "key");
    let mut expected: Vec<_> = keys().map(str::to_owned).collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    listed.clear();
    for key in keys() {
        let document = client.document("processing", key);
        assert_eq!((&document["state"], &document["words"]), (&json!("counted"), &json!(3)), "{document}");
        assert_eq!(document["counts"], json!([{"word": "hello", "count": 2}, {"word": "world", "count": 1}]));
        let name = query(&[("bucket", "processing"), ("key", key)]);
        let content = client.get(&format!("document/content?{name}"));
        assert_eq!((content.status, content.text()), (200, "Hello, hello world"));
        assert_eq!(content.media, "application/octet-stream");
        assert!(content.head["content-disposition"].to_str().unwrap().starts_with("attachment"));
        assert_eq!(content.head["content-security-policy"], "sandbox");
        assert_eq!(content.head["x-content-type-options"], "nosniff");
        let recounted = client.send("POST", &format!("document/recount?{name}"), "text/plain", b"");
        assert_eq!(recounted.status, 202, "{}", recounted.text());
        assert!(recounted.json()["sequence"].as_u64() > document["sequence"].as_u64());
    }
    client.until_idle();
    for key in keys() {
        let document = client.document("processing", key);
        assert_eq!(document["result_sequence"], document["sequence"], "it was counted again");
        let path = format!("document?{}", query(&[("bucket", "processing"), ("key", key)]));
        assert_eq!(client.send("DELETE", &path, "text/plain", b"").status, 204);
        assert!(
            client.send("DELETE", &path, "text/plain", b"").problem(404).contains("there is no document")
        );
        client.get(&path).problem(404);
    }
    client.until_idle();
    assert_eq!(client.get("totals").json()["documents"], 0);
}

#[test]
fn what_makes_no_sense_is_refused_with_the_mend_and_nothing_happens() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    for (bucket, key) in
        [("UPPER", "k"), ("ab", "k"), ("../x", "k"), ("processing", ""), ("processing", &"k".repeat(1025))]
    {
        client.put(bucket, key, "x").problem(400);
    }
    for path in [
        "documents?limit=0",
        "documents?limit=1001",
        "documents?limit=-1",
        "documents?limit=1&limit=2",
        "documents?cursor=nonsense",
        "documents?state=lost",
        "documents?buckt=x",
        "documents?bucket=NO",
        "documents?format=csv&limit=3",
        "documents?format=xml",
        "document?bucket=processing",
        "document?bucket=processing&key=%FF",
        "totals?top=1&all=true",
        "totals?top=-1",
        "words/zipf?points=0",
        "word",
        "fleet/metrics?minutes=0",
        "fleet/metrics?points=3000",
    ] {
        client.get(path).problem(400);
    }
    for (body, status) in [
        (json!({"min": 3, "max": 2}), 400),
        (json!({"min": 0, "max": 1025}), 400),
        (json!({"min": -1, "max": 2}), 422),
        (json!({"min": 1}), 422),
        (json!({"min": 1, "max": 2, "desired": 2}), 422),
    ] {
        client.send("PUT", "fleet/bounds", "application/json", body.to_string().as_bytes()).problem(status);
    }
    client.send("PUT", "fleet/bounds", "application/json", b"{\"min\":").problem(400);
    client.send("PUT", "fleet/bounds", "text/plain", b"{\"min\":1,\"max\":2}").problem(415);
    let long = format!("{{\"ids\":[\"{}\"]}}", "1".repeat(3 << 20));
    client.send("POST", "queue/redrive", "application/json", long.as_bytes()).problem(413);
    for body in [json!({}), json!({"all": false}), json!({"ids": ["1"], "all": true})] {
        client.post("queue/redrive", &body).problem(400);
    }
    assert!(client.post("queue/redrive", &json!({"ids": ["77"]})).problem(404).contains("77"));
    for body in [json!({}), json!({"dead_letters": true, "messages": true})] {
        client.post("queue/purge", &body).problem(400);
    }
    client.get("nothing").problem(404);
    client.send("PATCH", "queue", "text/plain", b"").problem(405);
    client.send("DELETE", "/healthz", "text/plain", b"").problem(405);
    assert_eq!(client.get("queue").json()["sent"], 0, "something happened all the same");
    assert_eq!(client.get("fleet").json()["bounds_set_by_hand"], false);
}

#[test]
fn a_document_longer_than_may_be_is_refused_before_it_is_sent() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let head = "PUT /api/v1/document?bucket=processing&key=k HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-length: 6000000000\r\n\r\n";
    let mut answer = String::new();
    let mut stream = serving.send(head.as_bytes());
    assert_ne!(stream.read_line(&mut answer).unwrap(), 0);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn half_a_document_is_no_document() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    let head = "PUT /api/v1/document?bucket=processing&key=half HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nhalf";
    drop(serving.send(head.as_bytes()));
    client.put("processing", "whole", "x");
    client.until_idle();
    assert_eq!(texts(&client.items("documents", 10), "key"), ["whole"]);
    let incoming = program.path("wordfreq-data/incoming");
    client.until("taken back", || std::fs::read_dir(&incoming).unwrap().next().is_none());
}

#[test]
fn lists_go_on_by_cursor_whatever_comes_and_goes() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    for number in 0..9 {
        client.put("processing", &format!("k{number}"), format!("word{number} shared shared"));
    }
    client.until_idle();
    let first = client.get("documents?limit=3").json();
    // What the cursor points at goes, and others come on either side of it.
    let gone = format!("document?{}", query(&[("bucket", "processing"), ("key", "k2")]));
    assert_eq!(client.send("DELETE", &gone, "text/plain", b"").status, 204);
    client.put("processing", "k0b", "x");
    client.put("processing", "k2b", "x");
    let second =
        client.get(&format!("documents?limit=3&cursor={}", first["next_cursor"].as_str().unwrap())).json();
    let keys = |page: &Value| texts(page["items"].as_array().unwrap(), "key");
    assert_eq!([keys(&first), keys(&second)].concat(), ["k0", "k1", "k2", "k2b", "k3", "k4"]);
    client.until_idle();
    // Words by rank: a word that overtakes others is told of once at most, and nothing that stays is missed.
    let first = client.get("words?limit=4").json();
    assert_eq!(first["items"][0]["word"], "shared");
    client.put("processing", "more", "word8 word8 word8");
    client.until_idle();
    let rest = client.items_after("words", 2, first["next_cursor"].as_str());
    let words: Vec<_> = [texts(first["items"].as_array().unwrap(), "word"), texts(&rest, "word")].concat();
    let staying: BTreeSet<_> =
        ["shared", "word0", "word1", "word3", "word4", "word5", "word6", "word7"].into();
    let seen: BTreeSet<_> = words.iter().map(String::as_str).collect();
    assert!(seen.is_superset(&staying), "{words:?}");
    assert_eq!(seen.len(), words.len(), "{words:?}");
    // As CSV and as NDJSON it is the same list, whole.
    let all = client.items("documents", 2);
    let lines = client.get("documents?format=ndjson");
    assert_eq!(lines.media, "application/x-ndjson");
    let parsed: Vec<Value> = lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed, all);
    let csv = client.get_as("documents", "text/csv");
    assert!(csv.media.starts_with("text/csv"), "{}", csv.media);
    assert_eq!(csv.text().lines().count(), all.len() + 1);
}

#[test]
fn a_spreadsheet_runs_nothing_of_what_it_is_given() {
    let program = Program::new();
    let serving = Serving::start(&program, &["--profile", "whitespace"]);
    let client = Client::of(&serving);
    let hostile = ["=1+1", "+1", "-1", "@sum", "harmless", "quote\"comma,"];
    client.put("processing", "=cmd|' /C calc'!A0", hostile.join(" "));
    client.until_idle();
    for path in ["words?format=csv", "totals?format=csv", "documents?format=csv", "results?format=csv"] {
        let csv = client.get(path);
        let raw = client.get(&format!("{path}&raw=true"));
        let cells = |answer: &Answer| {
            let mut reader = csv::Reader::from_reader(answer.body.as_slice());
            let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
            rows.iter().flat_map(|row| row.iter().map(str::to_owned)).collect::<Vec<_>>()
        };
        assert!(
            cells(&csv).iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])),
            "{path}: {}",
            csv.text()
        );
        let undone: Vec<_> = cells(&csv)
            .into_iter()
            .map(|cell| match cell.strip_prefix('\'') {
                Some(rest) if rest.starts_with(['=', '+', '-', '@']) => rest.to_owned(),
                _ => cell,
            })
            .collect();
        assert_eq!(undone, cells(&raw), "{path}");
        assert_ne!(csv.text(), raw.text(), "{path}");
    }
}

#[test]
fn totals_and_words_are_those_of_the_command_line() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    client.put("processing", "one", "To be, or not to be: that is the question.");
    client.put("processing", "two", "BE that as it may");
    client.until_idle();
    for (path, args) in [
        ("totals?top=3", &["results", "totals", "--top", "3", "--format", "json"][..]),
        ("totals?all=true", &["results", "totals", "--all", "--format", "json"]),
        (
            "result?bucket=processing&key=one&all=true",
            &["results", "show", "processing/one", "--all", "--format", "json"],
        ),
    ] {
        let mut served = client.get(path).json();
        // Not in the command's object: it is a remark there.
        served.as_object_mut().unwrap().remove("other_documents");
        assert_eq!(served, program.run(args).json(), "{path}");
    }
    let csv = |args: &[&str]| program.run(args).stdout;
    assert_eq!(
        client.get("totals?format=csv").text(),
        csv(&["results", "totals", "--all", "--format", "csv"])
    );
    assert_eq!(
        client.get("result?bucket=processing&key=two&format=csv").text(),
        csv(&["results", "show", "processing/two", "--all", "--format", "csv"])
    );
    assert_eq!(
        client.get("results?format=csv").text(),
        csv(&["results", "list", "--all", "--format", "csv"])
    );
    let word = client.get("word?word=Be").json();
    assert_eq!(
        word,
        json!({"word": "be", "count": 3, "documents": 2, "per_million": 3.0 / 15.0 * 1e6, "rank": 1})
    );
    assert_eq!(client.get("word?word=absent").json()["count"], 0);
    assert!(client.get("word?word=two%20words").problem(400).contains("2 words"));
    let documents = client.items("word/documents?word=BE", 1);
    assert_eq!(texts(&documents, "key"), ["one", "two"]);
    assert_eq!((&documents[0]["count"], &documents[0]["words"]), (&json!(2), &json!(10)));
    let page = client.get("words?prefix=T&q=HA").json();
    assert_eq!(texts(page["items"].as_array().unwrap(), "word"), ["that"]);
    assert_eq!((&page["words"], &page["documents"]), (&json!(15), &json!(2)));
    let zipf = client.get("words/zipf?points=3").json();
    assert_eq!(zipf["points"].as_array().unwrap().len(), 3);
    assert_eq!(zipf["points"][0]["word"], "be");
}

#[test]
fn many_words_are_answered_piece_by_piece_and_whole() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    let text: String = (0..12_345).map(|number| format!("w{number} ")).collect();
    client.put("processing", "many", text);
    client.until_idle();
    let all = client.get("totals?all=true").json();
    assert_eq!(all, {
        let mut whole = program.run(&["results", "totals", "--all", "--format", "json"]).json();
        whole["other_documents"] = json!(0);
        whole
    });
    for top in [1, 4999, 5000, 5001, 10_000, 12_345, 99_999] {
        let counts = client.get(&format!("totals?top={top}")).json();
        assert_eq!(
            counts["counts"].as_array().unwrap()[..],
            all["counts"].as_array().unwrap()[..top.min(12_345)]
        );
    }
    assert_eq!(client.get("totals?format=csv").text().lines().count(), 12_346);
    assert_eq!(client.get("words?format=ndjson").text().lines().count(), 12_345);
    assert_eq!(client.items("words", 1000).len(), 12_345);
}

#[test]
fn lists_of_all_words_are_taken_by_a_few_at_a_time_and_the_others_are_told_so() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    // More than all the buffers between the two ends hold, if nobody reads.
    let text: String = (0..400_000).map(|number| format!("word{number} ")).collect();
    client.put("processing", "many", text);
    client.until_idle();
    let take = |path: &str| {
        let request = format!("GET /api/v1/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut stream = serving.send(request.as_bytes());
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        stream
    };
    let held = ["words?format=csv", "words?format=ndjson", "totals?format=csv", "totals?all=true"].map(take);
    for path in ["words?format=csv", "totals?format=ndjson", "totals?all=true"] {
        let refused = client.get(path);
        assert!(refused.problem(503).contains("4 clients"));
        assert!(refused.head.contains_key("retry-after"));
    }
    // Who does not want all of them is answered.
    client.get("words?limit=1000").json();
    client.get("totals?top=1000").json();
    drop(held);
    client.until("free", || client.get("words?format=csv").status == 200);
}

#[test]
fn dead_letters_are_looked_at_redriven_and_purged() {
    let program = Program::new();
    let serving = Serving::start(&program, &["--profile", "go-sample"]);
    let client = Client::of(&serving);
    let poison = "x".repeat(70_000);
    for number in 0..5 {
        client.put("processing", &format!("bad{number}"), &poison);
    }
    client.put("processing", "good", "counted words");
    client.until_idle();
    assert_eq!(client.get("queue").json()["dead_letters"], 5);
    let letters = client.items("queue/dead-letters", 2);
    assert_eq!(letters.len(), 5);
    assert!(letters.iter().all(|letter| letter["reason"].as_str().unwrap().contains("does not fit")));
    assert_eq!(
        texts(&client.items("documents?state=failed", 2), "key"),
        ["bad0", "bad1", "bad2", "bad3", "bad4"]
    );
    let preview = client.get("document/content?bucket=processing&key=bad0&preview=true").json();
    assert_eq!((preview["text"].as_str().unwrap().len(), &preview["truncated"]), (4096, &json!(true)));
    let id = &letters[0]["id"];
    assert_eq!(client.post("queue/redrive", &json!({"ids": [id]})).json(), json!({"redriven": 1}));
    client.until_idle();
    client.post("queue/redrive", &json!({"ids": [id]})).problem(404);
    assert_eq!(client.post("queue/redrive", &json!({"all": true})).json(), json!({"redriven": 5}));
    client.until_idle();
    assert_eq!(client.post("queue/purge", &json!({"dead_letters": true})).json(), json!({"purged": 5}));
    assert_eq!(client.get("queue").json()["dead_letters"], 0);
    assert_eq!(client.document("processing", "bad0")["state"], "waiting");
    // With nobody to work, what waits can be purged too.
    let idle = json!({"min": 0, "max": 0});
    client.send("PUT", "fleet/bounds", "application/json", idle.to_string().as_bytes()).json();
    client.until("empty", || client.get("fleet").json()["instances"] == json!([]));
    client.put("processing", "late", "words");
    assert_eq!(client.post("queue/purge", &json!({"messages": true})).json(), json!({"purged": 1}));
    client.until_idle();
    assert_eq!(client.document("processing", "late")["state"], "waiting");
}

#[test]
fn bounds_set_by_hand_are_followed_at_once_and_forgotten_after_an_orderly_end() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    let set = |client: &Client, min, max| {
        let body = json!({"min": min, "max": max}).to_string();
        client.send("PUT", "fleet/bounds", "application/json", body.as_bytes()).json()
    };
    let fleet = set(&client, 3, 5);
    assert_eq!(
        (&fleet["min"], &fleet["max"], &fleet["bounds_set_by_hand"]),
        (&json!(3), &json!(5), &json!(true))
    );
    client.until("three", || client.get("fleet").json()["in_service"] == 3);
    let activities = client.items("fleet/activities", 1);
    assert_eq!(activities.len(), 3);
    assert!(
        activities[0]["cause"]
            .as_str()
            .unwrap()
            .contains("user request update of AutoScalingGroup constraints to min: 3")
    );
    set(&client, 1, 1);
    client.until("one", || client.get("fleet").json()["instances"].as_array().unwrap().len() == 1);
    let status = program.run(&["fleet", "status", "--format", "json"]).json();
    assert_eq!((&status["min"], &status["max"]), (&json!(1), &json!(1)));
    set(&client, 2, 2);
    client.until("two", || client.get("fleet").json()["in_service"] == 2);
    serving.stop();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    client.until("begun", || client.get("fleet").status == 200);
    let fleet = client.get("fleet").json();
    assert_eq!((&fleet["max"], &fleet["bounds_set_by_hand"]), (&json!(1), &json!(false)));
    assert!(client.get("fleet/alarms").json()["items"].is_array());
    assert!(client.items("fleet/alarms/history", 10).is_empty(), "a fixed fleet has no alarms");
    client.until("looked", || !client.get("fleet/metrics").json()["items"].as_array().unwrap().is_empty());
}

#[test]
fn events_tell_what_happens_while_it_does_and_end_with_the_server() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    client.until("begun", || client.get("fleet").status == 200);
    let mut watching = Watching::start(&serving, "");
    let mut other = Watching::start(&serving, "");
    let first: BTreeSet<_> = (0..3).map(|_| watching.next().unwrap().0).collect();
    assert_eq!(first, ["documents", "fleet", "queue"].map(str::to_owned).into());
    client.put("processing", "<b>", "some words");
    for watching in [&mut watching, &mut other] {
        let documents = watching.until("documents", |data| data["counted"] == 1);
        assert_eq!(documents["recent"][0]["key"], "<b>");
        assert_eq!(documents["recent"][0]["state"], "counted");
    }
    let body = json!({"min": 2, "max": 2}).to_string();
    client.send("PUT", "fleet/bounds", "application/json", body.as_bytes()).json();
    watching.until("fleet", |data| data["in_service"] == 2);
    let activity = other.until("activity", |data| data["status"] == "Successful");
    assert!(activity["description"].as_str().unwrap().starts_with("Launching"));
    serving.stop();
    while watching.next().is_some() {}
}

#[test]
fn too_many_who_watch_are_told_so_and_a_place_that_is_left_is_free() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    let mut held: Vec<_> = (0..256).map(|_| Watching::start(&serving, "")).collect();
    assert!(client.get("events").problem(503).contains("256"));
    held.truncate(200);
    client.until("free", || {
        let mut stream = serving.send(b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut line = String::new();
        stream.read_line(&mut line).unwrap() > 0 && line.starts_with("HTTP/1.1 200")
    });
}

#[test]
fn a_token_may_do_what_its_scope_says_and_its_stream_ends_when_it_is_revoked() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let token = |scope: &str| {
        let made = program.run(&["token", "create", "--name", scope, "--scope", scope]).done();
        made.trim_end().split_once('=').unwrap().1.to_owned()
    };
    let [read, write, admin] = ["read", "write", "admin"].map(token);
    let anyone = Client::of(&serving);
    anyone.until("closed", || anyone.get("queue").status == 401);
    anyone.get("queue").problem(401);
    anyone.put("processing", "k", "x").problem(401);
    anyone.get("/metrics").problem(401);
    assert_eq!(anyone.get("/healthz").text(), "ok\n");
    anyone.until("ready", || anyone.get("/readyz").status == 200);
    anyone.get("openapi.json").json();
    let [reader, writer, administrator] =
        [&read, &write, &admin].map(|token| Client::with_token(&serving, token));
    reader.get("queue").json();
    reader.put("processing", "k", "x").problem(403);
    reader.post("queue/redrive", &json!({"all": true})).problem(403);
    writer.put("processing", "k", "x").json();
    writer.post("queue/redrive", &json!({"all": true})).json();
    writer.post("queue/purge", &json!({"dead_letters": true})).problem(403);
    let body = json!({"min": 1, "max": 1}).to_string();
    writer.send("PUT", "fleet/bounds", "application/json", body.as_bytes()).problem(403);
    administrator.send("PUT", "fleet/bounds", "application/json", body.as_bytes()).json();
    administrator.post("queue/purge", &json!({"dead_letters": true})).json();
    let mut watching = Watching::start(&serving, &format!("authorization: Bearer {read}\r\n"));
    watching.next().unwrap();
    let listed = program.run(&["token", "list", "--format", "csv"]).done();
    let id = listed
        .lines()
        .find(|line| line.contains(",read,read,"))
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(program.run(&["token", "revoke", &id]).code, 0);
    reader.until("revoked", || reader.get("queue").status == 401);
    // The next thing that happens is not told any more.
    writer.put("processing", "secret", "x").json();
    let told: Vec<_> = std::iter::from_fn(|| watching.next()).map(|(_, data)| data.to_string()).collect();
    assert!(told.iter().all(|data| !data.contains("secret")), "{told:?}");
}

#[test]
fn what_is_not_ready_says_why() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let client = Client::of(&serving);
    // Whoever opens the data directory makes what is missing in it: nobody does any more, once the worker works.
    client.until("begun", || client.get("fleet").status == 200);
    client.until("in service", || client.get("fleet").json()["in_service"] == 1);
    assert_eq!(client.get("/readyz").json(), json!({"ready": true}));
    // Bytes cannot come in any more.
    let incoming = program.path("wordfreq-data/incoming");
    std::fs::remove_dir_all(&incoming).unwrap();
    // What was found is known for a second.
    client.until("not ready", || client.get("/readyz").status == 503);
    let why = client.get("/readyz").problem(503);
    // Anyone may ask, so the log alone tells where.
    assert!(why.contains("the disk cannot be written") && !why.contains("incoming"), "{why}");
    assert_eq!(client.get("/healthz").status, 200);
    std::fs::create_dir(&incoming).unwrap();
    client.until("ready again", || client.get("/readyz").status == 200);
}

#[test]
fn a_backlog_that_is_too_long_takes_no_more() {
    let program = Program::new().with_variable("WORDFREQ_SERVER_MAX_BACKLOG", "3");
    let serving = Serving::start(&program, &["--profile", "go-sample"]);
    let client = Client::of(&serving);
    client.until("begun", || client.get("fleet").status == 200);
    client.put("processing", "poison", "x".repeat(70_000)).json();
    client.until_idle();
    let idle = json!({"min": 0, "max": 0}).to_string();
    client.send("PUT", "fleet/bounds", "application/json", idle.as_bytes()).json();
    client.until("empty", || client.get("fleet").json()["instances"] == json!([]));
    for number in 0..3 {
        assert_eq!(client.put("processing", &format!("k{number}"), "x").status, 201);
    }
    // How many wait is looked at twice a second.
    client.until("full", || client.put("processing", "k3", "x").status == 503);
    let refused = client.put("processing", "k3", "x");
    assert!(refused.problem(503).contains("server.max_backlog"));
    assert!(refused.head.contains_key("retry-after"));
    // What was given up would wait too.
    assert!(client.post("queue/redrive", &json!({"all": true})).problem(503).contains("server.max_backlog"));
    let busy = json!({"min": 1, "max": 1}).to_string();
    client.send("PUT", "fleet/bounds", "application/json", busy.as_bytes()).json();
    client.until_idle();
    client.until("taken again", || client.put("processing", "k3", "x").status == 201);
    assert_eq!(client.post("queue/redrive", &json!({"all": true})).json(), json!({"redriven": 1}));
}
