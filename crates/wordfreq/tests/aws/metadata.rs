//! Instance metadata of EC2, version 2, which gives nothing to whoever does not show a token. Not here: what is in it,
//! which each test says.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

const TOKEN: &str = "a-token-of-the-stub";

#[derive(Default)]
struct State {
    texts: BTreeMap<&'static str, String>,
    asked: Vec<String>,
    is_over: bool,
}

/// A running stub. It ends when it is dropped.
pub(crate) struct Metadata {
    pub(crate) url: String,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Metadata {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let thread = thread::spawn({
            let state = state.clone();
            move || {
                for stream in listener.incoming() {
                    if lock(&state).is_over {
                        return;
                    }
                    // A client that is gone before its turn is no matter.
                    stream.and_then(|stream| answer(stream, &state)).ok();
                }
            }
        });
        Self { url: format!("http://{address}"), address, state, thread: Some(thread) }
    }

    /// From now on this path has this text.
    pub(crate) fn tell(&self, path: &'static str, text: &str) {
        lock(&self.state).texts.insert(path, text.to_owned());
    }

    /// How often a path was asked for with a token.
    pub(crate) fn asked(&self, path: &str) -> usize {
        lock(&self.state).asked.iter().filter(|asked| *asked == path).count()
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        lock(&self.state).is_over = true;
        // Wakes the listener.
        TcpStream::connect(self.address).ok();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the stub has failed; its message is above");
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let (status, more, text) = reply(&request, &headers, &mut lock(state));
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n{text}",
        text.len()
    )
}

fn reply(
    request: &str,
    headers: &BTreeMap<String, String>,
    state: &mut State,
) -> (&'static str, String, String) {
    const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
    let nothing = |status| (status, String::new(), String::new());
    let mut words = request.split(' ');
    match (words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
        ("PUT", "/latest/api/token") => match headers.get(TTL) {
            Some(seconds) => ("200 OK", format!("{TTL}: {seconds}\r\n"), TOKEN.to_owned()),
            None => nothing("400 Bad Request"),
        },
        ("GET", path) => {
            if headers.get("x-aws-ec2-metadata-token").is_none_or(|token| token != TOKEN) {
                return nothing("401 Unauthorized");
            }
            state.asked.push(path.to_owned());
            match state.texts.get(path) {
                Some(text) => ("200 OK", String::new(), text.clone()),
                None => nothing("404 Not Found"),
            }
        }
        _ => nothing("405 Method Not Allowed"),
    }
}
