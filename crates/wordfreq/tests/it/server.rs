//! The server of `up` as a client meets it: who is let in, and what becomes of those who take too much.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::program::Program;

/// A running `up` with a server.
pub(crate) struct Serving {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    /// Such as `http://127.0.0.1:4000`.
    pub(crate) url: String,
}

impl Serving {
    pub(crate) fn start(program: &Program, more: &[&str]) -> Self {
        Self::start_with(program, &[&["--preset", "fixed", "--max", "1"], more].concat())
    }

    pub(crate) fn start_with(program: &Program, more: &[&str]) -> Self {
        let args = [&["up", "--listen", "127.0.0.1:0"], more].concat();
        let mut child = program.command(&args).stdout(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut serving = Self { child, log, url: String::new() };
        let mut seen = String::new();
        while serving.url.is_empty() {
            let mut line = String::new();
            assert_ne!(serving.log.read_line(&mut line).unwrap(), 0, "`up` ended: {seen}");
            seen.push_str(&line);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            if value["message"] == "ready" {
                value["server"].as_str().unwrap().clone_into(&mut serving.url);
            }
        }
        serving
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.url.split_once("://").unwrap().1.parse().unwrap()
    }

    /// Sends bytes over a new connection.
    pub(crate) fn send(&self, bytes: &[u8]) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.write_all(bytes).unwrap();
        BufReader::new(stream)
    }

    /// The answer to a request without a body, over a connection of its own.
    pub(crate) fn get(&self, path: &str, headers: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        let mut answer = String::new();
        self.send(request.as_bytes()).read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks it to stop, and answers what it logged until the end.
    pub(crate) fn stop(mut self) -> String {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        rest
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Gone already, where it was stopped.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Reads one answer whose body is `ok\n`.
fn is_healthy(stream: &mut BufReader<TcpStream>) -> bool {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let status = line.clone();
    while line != "ok\n" {
        line.clear();
        if stream.read_line(&mut line).unwrap() == 0 {
            return false;
        }
    }
    status.starts_with("HTTP/1.1 200")
}

#[test]
fn an_address_that_others_can_reach_needs_a_token() {
    let program = Program::new();
    let error = program.run(&["up", "--listen", "0.0.0.0:0"]).ended(2);
    assert!(error.contains("flag --listen") && error.contains("wordfreq token create"), "{error}");
    program.run(&["token", "create", "--name", "one", "--scope", "read"]).done();
    let mut up = program.command(&["up", "--listen", "0.0.0.0:0"]).spawn().unwrap();
    let ready = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(ready.into_iter().any(|line| line.contains("\"ready\"") && line.contains("http://0.0.0.0:")));
    up.kill().unwrap();
    up.wait().unwrap();
}

#[test]
fn an_address_that_cannot_be_had_is_named_with_the_mend() {
    let program = Program::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = program.run(&["up", "--listen", &address]).ended(1);
    assert!(error.contains(&address) && error.contains("--listen"), "{error}");
    for wrong in ["8080", "localhost:8080", "127.0.0.1", "127.0.0.1:70000", ""] {
        let error = program.run(&["up", "--listen", wrong]).ended(2);
        assert!(error.contains("`server.listen` from flag --listen"), "{error}");
    }
}

#[test]
fn tokens_and_keys_are_shown_once_listed_and_revoked() {
    let program = Program::new();
    for (kind, variables) in
        [("token", &["WORDFREQ_TOKEN=wf_"][..]), ("key", &["AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="])]
    {
        let made = program.run(&[kind, "create", "--name", "lab, room 2", "--scope", "write"]).done();
        assert_eq!(made.lines().count(), variables.len());
        for (line, variable) in made.lines().zip(variables) {
            assert!(line.starts_with(variable), "{line}");
        }
        let secret = made.lines().last().unwrap().split_once('=').unwrap().1.to_owned();
        let listed = program.run(&[kind, "list", "--format", "csv"]).done();
        assert!(listed.contains(",\"lab, room 2\",write,") && !listed.contains(&secret), "{listed}");
        let id = listed.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
        let error = program.run(&[kind, "revoke", "NOBODY"]).ended(1);
        assert!(error.contains("NOBODY"), "{error}");
        assert_eq!(program.run(&[kind, "revoke", &id]).code, 0);
        assert_eq!(program.run(&[kind, "list", "--format", "csv"]).done().lines().count(), 1);
        program.run(&[kind, "create", "--name", "", "--scope", "read"]).ended(2);
        program.run(&[kind, "create", "--name", "a", "--scope", "root"]).ended(2);
    }
}

#[test]
fn a_token_made_or_revoked_while_it_runs_is_known_at_once() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let session = |headers: &str| serving.get("/api/v1/session", headers);
    assert!(session("").contains("\"authenticated\":true"));
    let made = program.run(&["token", "create", "--name", "one"]).done();
    let token = made.trim_end().split_once('=').unwrap().1.to_owned();
    let bearer = format!("authorization: Bearer {token}\r\n");
    // Within a second: until then the server takes what it has read for known.
    let until = |is_done: &dyn Fn() -> bool| (0..100_000).any(|_| is_done());
    assert!(until(&|| session("").contains("\"authenticated\":false")));
    assert!(session(&bearer).contains("\"scope\":\"read\""));
    let listed = program.run(&["token", "list", "--format", "csv"]).done();
    let id = listed.lines().nth(1).unwrap().split(',').next().unwrap();
    assert_eq!(program.run(&["token", "revoke", id]).code, 0);
    assert!(until(&|| session("").contains("\"authenticated\":true")));
}

#[test]
fn one_connection_too_many_is_turned_away_and_the_others_are_served() {
    one_more_than_three_is_too_many("WORDFREQ_SERVER_MAX_CONNECTIONS");
}

#[test]
fn one_connection_too_many_of_one_address_is_turned_away() {
    one_more_than_three_is_too_many("WORDFREQ_SERVER_MAX_CONNECTIONS_PER_ADDRESS");
}

fn one_more_than_three_is_too_many(setting: &'static str) {
    let program = Program::new().with_variable(setting, "3");
    let serving = Serving::start(&program, &[]);
    let mut held: Vec<_> = (0..3).map(|_| serving.send(HEALTH)).collect();
    assert!(held.iter_mut().all(is_healthy));
    // Nothing is sent: what came after the answer would make the system throw the answer away.
    let mut answer = String::new();
    serving.send(b"").read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && body.contains("<Code>SlowDown</Code>"), "{answer}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    for stream in &mut held {
        stream.get_mut().write_all(HEALTH).unwrap();
        assert!(is_healthy(stream));
    }
    drop(held.pop());
    let place_is_free = || {
        let mut stream = TcpStream::connect(serving.address()).unwrap();
        // Who is turned away may be gone before it has written.
        stream.write_all(HEALTH).is_ok() && {
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("HTTP/1.1 200")
        }
    };
    assert!((0..100_000).any(|_| place_is_free()));
}

#[test]
fn who_asks_too_often_is_told_so_in_the_words_of_what_they_asked() {
    let program = Program::new().with_variable("WORDFREQ_SERVER_RATE", "3");
    let serving = Serving::start(&program, &[]);
    let answers: Vec<_> = (0..50).map(|_| serving.get("/healthz", "")).collect();
    assert!(answers[0].starts_with("HTTP/1.1 200"));
    let refused =
        answers.iter().find(|answer| answer.starts_with("HTTP/1.1 429")).expect("50 are more than 3");
    assert!(
        refused.contains("retry-after: 1") && refused.contains("urn:wordfreq:error:too-many-requests"),
        "{refused}"
    );
}

#[test]
fn a_head_without_end_is_refused_and_half_a_request_holds_nobody_up() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let _half = serving.send(b"GET /healthz HTTP/1.1\r\nhost: loc");
    let answer = serving.get("/healthz", &format!("x: {}\r\n", "y".repeat(140_000)));
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(serving.get("/healthz", "").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_body_that_comes_too_slowly_is_given_up() {
    let program = Program::new()
        .with_variable("WORDFREQ_SERVER_BODY_TIMEOUT_SECONDS", "1")
        .with_variable("WORDFREQ_SERVER_MIN_BODY_RATE", "1000");
    let serving = Serving::start(&program, &[]);
    for (request, media) in [
        ("PUT /api/v1/document?bucket=processing&key=k", "text/plain"),
        ("POST /api/v1/queue/redrive", "application/json"),
    ] {
        let head = format!(
            "{request} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\ncontent-length: 60000\r\n\r\n"
        );
        // More than a second's worth, and then no more.
        let mut stream = serving.send(&[head.as_bytes(), &[b' '; 1001]].concat());
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 408 ") && answer.contains("urn:wordfreq:error:too-slow"),
            "{answer}"
        );
        assert!(answer.contains("server.min_body_rate"), "{answer}");
    }
}

#[test]
fn it_ends_with_connections_open() {
    let program = Program::new();
    let serving = Serving::start(&program, &[]);
    let mut idle = serving.send(HEALTH);
    assert!(is_healthy(&mut idle));
    let log = serving.stop();
    assert!(!log.contains("not answered in time") && log.contains("\"stopped\""), "{log}");
}

#[test]
fn with_a_certificate_it_speaks_tls_alone() {
    let program = Program::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    program.write("certificate.pem", made.cert.pem());
    program.write("key.pem", made.signing_key.serialize_pem());
    let settings = |certificate: &str, key: &str| {
        let lines = [("tls_certificate", certificate), ("tls_key", key)].map(|(name, file)| match file {
            "" => String::new(),
            file => format!("{name} = \"{file}\"\n"),
        });
        program.write("wordfreq.toml", format!("[server]\n{}", lines.concat()));
    };
    for (certificate, key, named) in [
        ("certificate.pem", "", "server.tls_key"),
        ("", "key.pem", "server.tls_certificate"),
        ("key.pem", "key.pem", "server.tls_certificate"),
        ("certificate.pem", "certificate.pem", "server.tls_key"),
        ("missing.pem", "key.pem", "missing.pem"),
    ] {
        settings(certificate, key);
        let error = program.run(&["up", "--listen", "127.0.0.1:0"]).ended(2);
        assert!(error.contains(named), "{error}");
    }
    settings("certificate.pem", "key.pem");
    let serving = Serving::start(&program, &[]);
    let url = serving.url.replace("https://127.0.0.1", "https://localhost") + "/healthz";
    let root = ureq::tls::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap().to_owned();
    let tls =
        ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&[root])).build();
    let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).build().into();
    assert_eq!(agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap(), "ok\n");
    assert!(ureq::get(&url).call().is_err(), "who does not trust the certificate does not talk to it");
    assert!(!serving.get("/healthz", "").starts_with("HTTP/1.1 200"));
}
