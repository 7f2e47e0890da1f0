//! Notifications, with real other ends: receivers of webhooks that answer, refuse, hang and go away, one of them the manual's
//! own; a mail server; and an `up` that is killed between a commit and its telling. Nothing that was committed goes untold.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::process::Signal;
use serde_json::Value;
use sha2::Sha256;

use crate::system::{Running, System, is_kill};

/// Far longer than anything takes on a loaded machine.
const GUARD: Duration = Duration::from_secs(120);

const UP: [&str; 7] = ["up", "--preset", "fixed", "--max", "1", "--notify-pace", "100"];

fn system() -> System {
    System::new().with_variable("WORDFREQ_NOTIFY_ALLOW", "127.0.0.1,localhost")
}

fn up(system: &System) -> Running {
    up_with(system, &[])
}

fn up_with(system: &System, variables: &[(&str, &str)]) -> Running {
    let mut up = system.start(&UP, variables);
    up.wait_for_line(r#""message":"ready""#);
    up
}

fn stop(mut up: Running) {
    up.signal(Signal::TERM);
    assert!(up.wait_for_end().success(), "{}", up.log.join("\n"));
    up.wait_until_all_are_gone();
}

/// Subscribes; answers the id and the secret.
#[track_caller]
fn subscribe(system: &System, target: &str, events: &[&str]) -> (String, String) {
    let mut args = vec!["subscriptions", "add", target, "--format", "json"];
    for event in events {
        args.extend(["--event", event]);
    }
    let made = system.run(&args).code(0).json()["subscriptions"][0].clone();
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(made["state"], "pending");
    (text("id"), text("secret"))
}

fn subscription(system: &System, id: &str) -> Value {
    let all = system.run(&["subscriptions", "list", "--format", "json"]).code(0).json();
    let found = all["subscriptions"].as_array().unwrap().iter().find(|one| one["id"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {all}")).clone()
}

/// The record of deliveries, oldest first.
fn deliveries(system: &System, id: &str) -> Vec<Value> {
    let args = ["subscriptions", "deliveries", id, "--all", "--format", "json"];
    let listed = system.run(&args).code(0).json();
    let mut deliveries = listed["deliveries"].as_array().unwrap().clone();
    deliveries.reverse();
    deliveries
}

/// Puts one document.
fn put(system: &System, name: &str, text: &str) {
    system.write(name, text);
    system.upload(&[name]);
}

/// A request as it came.
#[derive(Debug)]
struct Request {
    head: String,
    text: String,
    body: Value,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = header(&head, "content-length").unwrap().parse().unwrap();
        let mut text = vec![0; length];
        reader.read_exact(&mut text).ok()?;
        let text = String::from_utf8(text).unwrap();
        let body = serde_json::from_str(&text).unwrap();
        Some(Self { head, text, body })
    }

    fn event(&self) -> &str {
        self.body["event"].as_str().unwrap()
    }

    fn id(&self) -> &str {
        self.body["id"].as_str().unwrap()
    }

    /// Its signature is that of this secret.
    #[track_caller]
    fn assert_signed(&self, secret: &str) {
        let signature = header(&self.head, "wordfreq-signature").unwrap();
        let (time, given) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{time}.{}", self.text).as_bytes());
        let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(given, expected);
        assert_eq!(header(&self.head, "wordfreq-event").unwrap(), self.event());
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name));
    head.lines().find_map(of).map(|(_, value)| value)
}

/// A receiver of webhooks. `answer` says the status line's rest and the body for each request, or `None` to hang until
/// the test ends.
struct Hook {
    url: String,
    requests: Receiver<Request>,
}

impl Hook {
    fn answering(
        mut answer: impl FnMut(&Request) -> Option<(&'static str, String)> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            let mut hanging = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // One that was cut off on the way is tried again.
                let Some(request) = Request::read(&stream) else { continue };
                let answer = answer(&request);
                if sender.send(request).is_err() {
                    return;
                }
                let Some((status, body)) = answer else {
                    hanging.push(stream);
                    continue;
                };
                let length = body.len();
                // Who was killed meanwhile takes no answer.
                drop(write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                ));
            }
        });
        Self { url, requests }
    }

    /// One that agrees, and takes everything.
    fn willing() -> Self {
        Self::answering(|request| Some(agree(request)))
    }

    #[track_caller]
    fn next(&self) -> Request {
        self.requests.recv_timeout(GUARD).expect("something is told")
    }

    /// The next that is not a question to confirm.
    #[track_caller]
    fn next_event(&self) -> Request {
        loop {
            let request = self.next();
            if request.event() != "subscription.confirm" {
                return request;
            }
        }
    }
}

fn agree(request: &Request) -> (&'static str, String) {
    match request.body["data"]["token"].as_str() {
        Some(token) => ("200 OK", serde_json::json!({ "confirm": token }).to_string()),
        None => ("204 No Content", String::new()),
    }
}

#[test]
fn a_webhook_that_agreed_is_told_of_results_failures_and_rest_each_signed() {
    let system = system()
        .with_variable("WORDFREQ_PROFILE", "go-sample")
        .with_variable("WORDFREQ_SERVER_PUBLIC_URL", "https://words.example.org");
    let hook = Hook::willing();
    let silent = Hook::answering(|_| Some(("200 OK", "{}".to_owned())));
    let events = ["document.counted", "document.failed", "batch.idle"];
    system.run_until_idle(&[]);
    let (id, secret) = subscribe(&system, &hook.url, &events);
    let (unconfirmed, _) = subscribe(&system, &silent.url, &events);
    let up = up(&system);
    let asked = hook.next();
    asked.assert_signed(&secret);
    assert_eq!(
        (asked.event(), &asked.body["subscription"]),
        ("subscription.confirm", &Value::from(id.as_str()))
    );
    let url = asked.body["data"]["confirm_url"].as_str().unwrap();
    assert!(url.starts_with("https://words.example.org/api/v1/subscriptions/confirm?token="), "{url}");
    system.until("it is confirmed", || subscription(&system, &id)["state"] == "confirmed");

    let hostile = "späte \"Wörter\"\r\nX-Evil: 1";
    put(&system, hostile, "several words here");
    system.write("poison", "z".repeat(64 * 1024 + 1));
    system.upload(&["poison"]);
    let mut told: Vec<_> = std::iter::repeat_with(|| hook.next_event()).take(3).collect();
    // Rest comes last, but for a moment of it between the two documents.
    while !["document.counted", "document.failed"]
        .iter()
        .all(|event| told.iter().any(|one| one.event() == *event))
    {
        told.push(hook.next_event());
    }
    for request in &told {
        request.assert_signed(&secret);
        assert!(!request.head.contains("X-Evil"), "{}", request.head);
    }
    let of = |event: &str| told.iter().find(|request| request.event() == event).unwrap();
    let counted = &of("document.counted").body["data"];
    assert_eq!((&counted["key"], &counted["words"]), (&Value::from(hostile), &Value::from(2)));
    let failed = &of("document.failed").body["data"];
    assert_eq!(failed["key"], "poison");
    assert!(failed["reason"].as_str().unwrap().contains("go-sample"), "{failed}");
    let ids: BTreeSet<_> = told.iter().map(Request::id).collect();
    assert_eq!(ids.len(), told.len(), "each by its own name");
    stop(up);

    let of_silent: BTreeSet<_> =
        silent.requests.try_iter().map(|request| request.event().to_owned()).collect();
    assert_eq!(Vec::from_iter(of_silent), ["subscription.confirm"], "nothing before it agrees");
    assert_eq!(subscription(&system, &unconfirmed)["state"], "pending");
}

#[test]
fn what_is_refused_is_tried_again_under_the_same_name() {
    let system = system();
    let mut refused = 0;
    let hook = Hook::answering(move |request| {
        if request.event() == "document.counted" && refused < 2 {
            refused += 1;
            return Some(("500 Internal Server Error", "later".to_owned()));
        }
        Some(agree(request))
    });
    system.run_until_idle(&[]);
    let (id, secret) = subscribe(&system, &hook.url, &["document.counted"]);
    let up = up(&system);
    system.until("it is confirmed", || subscription(&system, &id)["state"] == "confirmed");
    put(&system, "a", "one two");
    let tries: Vec<_> = std::iter::repeat_with(|| hook.next_event()).take(3).collect();
    for request in &tries {
        request.assert_signed(&secret);
        assert_eq!(request.text, tries[0].text);
    }
    system.until("it is delivered", || deliveries(&system, &id)[1]["status"] == "delivered");
    let delivery = &deliveries(&system, &id)[1];
    assert_eq!((&delivery["attempts"], &delivery["response"]), (&Value::from(3), &Value::from(204)));
    assert_eq!(subscription(&system, &id)["pending"], 0);
    stop(up);
}

#[test]
fn a_kill_between_a_commit_and_its_telling_loses_nothing() {
    let system = system();
    let hook = Hook::willing();
    system.run_until_idle(&[]);
    let (id, _) = subscribe(&system, &hook.url, &["document.counted"]);
    // The first post is the question to confirm.
    for (place, times) in [("notify.before_post", 1), ("notify.after_post", 2)] {
        let mut killed = up_with(&system, &[("WORDFREQ_FAILPOINTS", &format!("{place}=kill"))]);
        killed.wait_for_end();
        let asked = std::iter::repeat_with(|| hook.next()).take(times - 1);
        assert!(asked.into_iter().all(|request| request.event() == "subscription.confirm"), "{place}");
        assert_eq!(subscription(&system, &id)["state"], "pending", "{place}");
    }
    let confirmed = up(&system);
    system.until("it is confirmed", || subscription(&system, &id)["state"] == "confirmed");
    stop(confirmed);
    assert!(hook.requests.try_iter().all(|request| request.event() == "subscription.confirm"));

    for (place, key, least) in [("notify.before_post", "a", 1), ("notify.after_post", "b", 2)] {
        let mut killed = up_with(&system, &[("WORDFREQ_FAILPOINTS", &format!("{place}=kill"))]);
        put(&system, key, "one two");
        assert!(is_kill(killed.wait_for_end()), "{place}");
        killed.wait_until_all_are_gone();
        let waiting = deliveries(&system, &id).pop().unwrap();
        let known = (&waiting["event"], &waiting["status"], &waiting["attempts"]);
        assert_eq!(known, (&"document.counted".into(), &"pending".into(), &0.into()), "{place}");
        let next = up(&system);
        system.until("it is told", || subscription(&system, &id)["pending"] == 0);
        stop(next);
        let told: Vec<_> = hook.requests.try_iter().collect();
        assert!(told.iter().all(|request| request.body["data"]["key"] == key), "{place}: {told:?}");
        assert_eq!(told.len(), least, "{place}");
        assert!(
            told.iter().all(|request| request.id() == waiting["event_id"]),
            "{place}: one name, however often"
        );
    }
}

#[test]
fn an_up_that_ends_by_itself_tells_of_it_first() {
    let system = system();
    let hook = Hook::willing();
    system.run_until_idle(&[]);
    let (id, _) = subscribe(&system, &hook.url, &["batch.idle", "document.counted"]);
    let confirmed = up(&system);
    system.until("it is confirmed", || subscription(&system, &id)["state"] == "confirmed");
    stop(confirmed);
    put(&system, "a", "one two");
    // At its real pace.
    system.run_until_idle(&[]);
    let told: Vec<_> =
        hook.requests.try_iter().filter(|told| told.event() != "subscription.confirm").collect();
    let events: BTreeSet<_> = told.iter().map(Request::event).collect();
    assert_eq!(Vec::from_iter(events), ["batch.idle", "document.counted"]);
    let rest = told.iter().find(|told| told.event() == "batch.idle").unwrap();
    assert_eq!(rest.body["data"], serde_json::json!({ "messages": 1, "dead_letters": 0 }));
}

#[test]
fn slow_targets_hold_up_nobody_else() {
    let system = system();
    let slow: Vec<_> = std::iter::repeat_with(|| {
        Hook::answering(|request| (request.event() == "subscription.confirm").then(|| agree(request)))
    })
    .take(5)
    .collect();
    let quick = Hook::willing();
    system.run_until_idle(&[]);
    let hooks = slow.iter().chain([&quick]);
    let ids: Vec<_> = hooks.map(|hook| subscribe(&system, &hook.url, &["document.counted"]).0).collect();
    let up = up(&system);
    let is_confirmed = |id: &String| subscription(&system, id)["state"] == "confirmed";
    system.until("all are confirmed", || ids.iter().all(is_confirmed));
    put(&system, "a", "one");
    for hook in &slow {
        assert_eq!(hook.next_event().body["data"]["key"], "a");
    }
    // All of them hang now, and stay so until the test ends.
    put(&system, "b", "one");
    while quick.next_event().body["data"]["key"] != "b" {}
    // A stop does not wait for them either.
    stop(up);
    assert_eq!(subscription(&system, &ids[0])["pending"], 2, "what nobody took waits on");
}

#[test]
fn a_target_that_is_gone_ends_its_subscription() {
    let system = system();
    let hook = Hook::answering(|request| match request.event() {
        "subscription.confirm" => Some(agree(request)),
        _ => Some(("410 Gone", String::new())),
    });
    system.run_until_idle(&[]);
    let (id, _) = subscribe(&system, &hook.url, &["document.counted"]);
    let up = up(&system);
    system.until("it is confirmed", || subscription(&system, &id)["state"] == "confirmed");
    put(&system, "a", "one");
    system.until("it ends", || subscription(&system, &id)["state"] == "ended");
    put(&system, "b", "one");
    stop(up);
    let told = hook.requests.try_iter().filter(|told| told.event() == "document.counted").count();
    assert_eq!(told, 1);
    assert_eq!(deliveries(&system, &id)[1]["status"], "failed");
    assert!(subscription(&system, &id)["note"].as_str().unwrap().contains("410"));
    system.run(&["subscriptions", "remove", &id]).code(0);
    system
        .run(&["subscriptions", "remove", &id])
        .code(1)
        .says(&["there is no subscription", "subscriptions list"]);
}

#[test]
fn a_target_inside_is_refused_unless_it_is_allowed_by_name() {
    let system = System::new();
    system.run_until_idle(&[]);
    for target in [
        "http://127.0.0.1:9000/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://localhost/",
        "https://10.0.0.1/",
    ] {
        let ended = system.run(&["subscriptions", "add", target, "--event", "batch.idle"]).code(1);
        ended.says(&["notify.allow"]);
    }
    system
        .run(&["subscriptions", "add", "mailto:ada@example.org", "--event", "batch.idle"])
        .code(1)
        .says(&["smtp.host"]);
    system
        .run(&["subscriptions", "add", "https://example.org", "--event", "batch.done"])
        .code(1)
        .says(&["batch.done"]);
    // One that was let in by settings that have changed is not dialled any more.
    let hook = Hook::willing();
    let args = ["subscriptions", "add", &hook.url, "--event", "batch.idle", "--format", "json"];
    let allowed = [("WORDFREQ_NOTIFY_ALLOW", "127.0.0.1")];
    let made = system.run_with(&args, &allowed).code(0).json()["subscriptions"][0].clone();
    let id = made["id"].as_str().unwrap();
    let up = up(&system);
    system.until("it was tried", || {
        subscription(&system, id)["note"].as_str().is_some_and(|note| note.contains("notify.allow"))
    });
    stop(up);
    assert!(hook.requests.try_recv().is_err(), "nobody was dialled");
}

/// Ends a process with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // Gone already, where it failed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv/bin/python");
    assert!(python.exists(), "{} is missing: `make moto` installs what the tests talk to", python.display());
    python
}

/// The mail server, which fails this often first; its lines, its port, and the file of its certificate.
fn mail_server(system: &System, failures: &str) -> (Ends, BufReader<ChildStdout>, String, PathBuf) {
    let certificate = system.path("mail.pem");
    let mut child = Command::new(python())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/smtp.py"))
        .arg(&certificate)
        .arg(failures)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let child = Ends(child);
    let port = next_line(&mut lines)["port"].to_string();
    (child, lines, port, certificate)
}

#[track_caller]
fn next_line(lines: &mut impl std::io::BufRead) -> Value {
    let mut line = String::new();
    assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended");
    serde_json::from_str(&line).unwrap()
}

/// A mail's body, with quoted-printable undone as far as we use it.
fn body(mail: &Value) -> String {
    let raw = mail["raw"].as_str().unwrap().replace("=\r\n", "");
    raw.split_once("\r\n\r\n").unwrap().1.replace("=3D", "=")
}

#[test]
fn a_mail_address_that_agreed_gets_one_mail_for_all_that_happened() {
    let mut system = System::new();
    let (_server, mut mails, port, certificate) = mail_server(&system, "1");
    for (name, value) in [
        ("WORDFREQ_SMTP_HOST", "localhost"),
        ("WORDFREQ_SMTP_PORT", &port),
        ("WORDFREQ_SMTP_FROM", "Wordfreq <wordfreq@example.org>"),
        ("WORDFREQ_SMTP_USER", "ada"),
        ("WORDFREQ_SMTP_PASSWORD_FILE", "password"),
        ("WORDFREQ_NOTIFY_CA_FILE", certificate.to_str().unwrap()),
        ("WORDFREQ_SERVER_PUBLIC_URL", "https://words.example.org/"),
    ] {
        system = system.with_variable(name, value);
    }
    system.write("password", "correct horse\n");
    system.run_until_idle(&[]);
    let target = "mailto:ada@example.org";
    let (id, secret) = subscribe(&system, target, &["document.counted"]);
    assert_eq!(secret, "", "nothing signs a mail");
    let up = up(&system);
    // The first try met a server that would not.
    let asked = next_line(&mut mails);
    assert_eq!(asked["recipients"], serde_json::json!(["ada@example.org"]));
    assert_eq!((&asked["tls"], &asked["user"]), (&Value::from(true), &Value::from("ada")));
    let text = body(&asked);
    let link = text.lines().find(|line| line.starts_with("https://")).unwrap();
    assert!(link.starts_with("https://words.example.org/api/v1/subscriptions/confirm?token="), "{text}");
    let tried = &deliveries(&system, &id)[0];
    assert_eq!(
        (&tried["event"], &tried["attempts"]),
        (&Value::from("subscription.confirm"), &Value::from(2))
    );
    stop(up);

    // The button of the page is pressed. Looking at it confirms nothing.
    let query = link.split_once("confirm").unwrap().1;
    let mut serving = system.start(&[&UP[..], &["--listen", "127.0.0.1:0"]].concat(), &[]);
    let ready: Value = serde_json::from_str(&serving.wait_for_line(r#""message":"ready""#)).unwrap();
    let address = ready["server"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let ask = |method: &str, query: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        let path = format!("/api/v1/subscriptions/confirm{query}");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let page = ask("GET", query);
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<button>Confirm</button>"), "{page}");
    assert!(page.contains("default-src 'none'") && page.contains(target), "{page}");
    assert_eq!(subscription(&system, &id)["state"], "pending");
    assert!(ask("POST", &format!("{query}x")).starts_with("HTTP/1.1 404"));
    assert!(ask("POST", query).starts_with("HTTP/1.1 200"));
    assert_eq!(subscription(&system, &id)["state"], "confirmed");

    let hostile = "evil\r\nBcc: eve@example.org\r\n\r\n.\r\n";
    system.write(&format!("all/{hostile}"), "one two");
    system.write("all/other", "three");
    system.upload(&["all"]);
    let mut told = String::new();
    while told.matches("  counted  ").count() < 2 {
        let mail = next_line(&mut mails);
        assert_eq!(mail["recipients"], serde_json::json!(["ada@example.org"]));
        let head = mail["raw"].as_str().unwrap().split_once("\r\n\r\n").unwrap().0.to_owned();
        assert!(!head.contains("evil") && !head.contains("Bcc"), "{head}");
        assert!(head.contains("Auto-Submitted: auto-generated"), "{head}");
        told.push_str(&body(&mail));
    }
    assert!(told.contains(r"processing/evil\r\nBcc: eve@example.org\r\n\r\n.\r\n  2 words"), "{told}");
    stop(serving);
}

/// A port of this machine that nobody listens on, held until the listener is dropped.
fn free_port() -> (TcpListener, String) {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    (held, port)
}

/// The manual's receiver, as a program of its own, when it listens.
fn manuals_receiver(system: &System, secret: &str, arguments: &[&str]) -> (Ends, BufReader<ChildStdout>) {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/notifications.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let code = manual.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let program = system.write("receiver.py", code);
    let mut child = Command::new(python())
        .arg(program)
        .args(arguments)
        .env("WEBHOOK_SECRET", secret)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let child = Ends(child);
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert_eq!(first, format!("listening on {}\n", arguments[0]));
    (child, lines)
}

#[test]
fn the_manuals_receiver_believes_what_is_signed_over_tls_by_an_authority_of_the_settings() {
    let mut system = system();
    // The mail server makes the certificate.
    let (_server, _, _, certificate) = mail_server(&system, "0");
    let certificate = certificate.to_str().unwrap().to_owned();
    let key = format!("{certificate}.key");
    system.run_until_idle(&[]);
    let (held, port) = free_port();
    let (id, secret) = subscribe(&system, &format!("https://localhost:{port}/"), &["document.counted"]);
    let (held_too, other_port) = free_port();
    let (doubted, _) = subscribe(&system, &format!("http://localhost:{other_port}/"), &["document.counted"]);
    drop((held, held_too));
    let (_receiver, mut lines) = manuals_receiver(&system, &secret, &[&port, &certificate, &key]);
    let (_other, _) = manuals_receiver(&system, "whsec_of_somebody_else", &[&other_port]);

    let unknown = up(&system);
    system.until("its certificate is refused", || {
        let note = subscription(&system, &id)["note"].clone();
        note.as_str().is_some_and(|note| note.contains("certificate"))
    });
    system.until("who has another secret believes nothing", || {
        deliveries(&system, &doubted)[0]["response"] == 403
    });
    stop(unknown);
    assert_eq!(subscription(&system, &id)["state"], "pending");

    system = system.with_variable("WORDFREQ_NOTIFY_CA_FILE", certificate);
    let known = up(&system);
    system.until("it is confirmed", || subscription(&system, &id)["state"] == "confirmed");
    put(&system, "a", "one two");
    let mut told = String::new();
    lines.read_line(&mut told).unwrap();
    assert!(told.starts_with("document.counted {") && told.contains(r#""words": 2"#), "{told}");
    stop(known);
}
