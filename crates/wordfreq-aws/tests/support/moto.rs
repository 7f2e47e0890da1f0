//! Runs moto, an emulator of AWS written in Python, from `target/venv`: one process of its own on a port of its own for
//! whoever starts it, gone at the latest when the test process is.
//!
//! Not here: what moto does differently from AWS. A test that depends on such a thing says so itself.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The account that every resource belongs to.
pub(crate) const ACCOUNT: &str = "123456789012";

/// Far longer than moto takes to start on a loaded machine.
const GUARD: Duration = Duration::from_secs(120);

/// How long moto may take to end when it is told to. It has nothing to save.
const PATIENCE: Duration = Duration::from_secs(5);

/// As `python -m moto.server`, and ends when its standard input does: a test process that is killed closes it too, and
/// so can leave no server behind. (The kernel's own signal for that, `PR_SET_PDEATHSIG`, comes when the *thread* that
/// started the child ends, which is one test.) Port 0 is whichever is free, so that no two servers want the same.
///
/// moto's answers to two calls of S3 have a root element of the wrong name, which the Rust SDK takes for a failure. The
/// first is mended in moto 5.2.2 (<https://github.com/getmoto/moto/issues/10055>), the second not even in 5.2.5.
const PROGRAM: &str = "\
import os, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
from moto.core.utils import get_service_model
operations = get_service_model('s3')._service_description['operations']
for name in ['CompleteMultipartUpload', 'ListParts']:
    operations[name]['output']['resultWrapper'] = name + 'Result'
from moto.server import main
main(['-H', '127.0.0.1', '-p', '0'])
";

/// What the log says just before the port.
const RUNNING: &str = "Running on http://127.0.0.1:";

/// A running server, with nothing in it at first.
pub(crate) struct Moto {
    /// As an endpoint for a client, for example `http://127.0.0.1:40123`.
    pub(crate) url: String,
    address: SocketAddr,
    pid: Pid,
    exited: Mutex<Receiver<io::Result<ExitStatus>>>,
    /// Without a name, so that it is gone with the last process that has it open.
    log: File,
    /// Open for as long as moto is to run.
    _stdin: ChildStdin,
}

impl Moto {
    /// Starts a server and waits until it answers.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv/bin/python");
        assert!(
            python.is_file(),
            "{} is not there: run make test, which installs it, or make moto",
            python.display()
        );
        let log = tempfile::tempfile().expect("a temporary file");
        let mut child = Command::new(python)
            .args(["-c", PROGRAM])
            // Nothing of the developer's own configuration of AWS or of Python, nor an HTTP proxy.
            .env_clear()
            // moto keeps objects over 5 MB there.
            .env("TMPDIR", std::env::temp_dir())
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONUTF8", "1")
            // Times in events are local times.
            .env("TZ", "UTC")
            // The catalogue of machine images costs 2 s and 100 MB.
            .env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("another handle of the log"))
            .stderr(log.try_clone().expect("another handle of the log"))
            .spawn()
            .expect("the interpreter can be run");
        let stdin = child.stdin.take().expect("it is a pipe");
        let pid = Pid::from_child(&child);
        let (sender, exited) = mpsc::channel();
        // Nobody may listen any more.
        thread::spawn(move || sender.send(child.wait()).ok());

        let began = Instant::now();
        let port = loop {
            let text = read(&log);
            // Only a whole line has the whole port.
            if let Some((port, _)) = text.split(RUNNING).nth(1).and_then(|rest| rest.split_once('\n')) {
                break port.trim().parse::<u16>().unwrap_or_else(|_| panic!("no port in moto's log: {text}"));
            }
            match exited.recv_timeout(Duration::from_millis(20)) {
                Err(RecvTimeoutError::Timeout) => {}
                ended => panic!(
                    "moto ended before it answered ({ended:?}); where it is not installed, run make moto: {text}"
                ),
            }
            assert!(began.elapsed() < GUARD, "moto did not start within {GUARD:?}: {text}");
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let moto = Self {
            url: format!("http://{address}"),
            address,
            pid,
            exited: Mutex::new(exited),
            log,
            _stdin: stdin,
        };
        moto.control("GET", "/moto-api/data.json", "");
        moto
    }

    /// From now on every call must be signed by a key of a user or role that exists, and allowed by a policy of its.
    /// moto honours resource names in policies of SQS and S3 only; elsewhere the resource of a call is `*`.
    #[track_caller]
    pub(crate) fn enable_iam(&self) {
        self.control("POST", "/moto-api/reset-auth", "0");
    }

    /// Any key may do anything, as at the start.
    #[track_caller]
    pub(crate) fn disable_iam(&self) {
        self.control("POST", "/moto-api/reset-auth", "inf");
    }

    /// Forgets everything that was stored. Whether IAM is enforced stays as it is.
    #[track_caller]
    pub(crate) fn reset(&self) {
        self.control("POST", "/moto-api/reset", "");
    }

    /// Everything it has written so far.
    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// What it could not do: each traceback, and any other line that says that a call is not implemented. A client sees
    /// a status of 500 for these, and tries again.
    pub(crate) fn unexpected_errors(&self) -> Vec<String> {
        unexpected_errors(&self.log())
    }

    /// One request to moto itself, which must succeed.
    #[track_caller]
    fn control(&self, method: &str, path: &str, body: &str) {
        let reply = request(self.address, method, path, body)
            .unwrap_or_else(|error| panic!("moto does not answer {method} {path}: {error}\n{}", self.log()));
        assert!(reply.starts_with("HTTP/1.1 200 "), "{method} {path}: {reply}");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let exited = self.exited.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        for signal in [Signal::TERM, Signal::KILL] {
            // Only a process that has not been waited for still owns its number.
            match exited.try_recv() {
                Err(mpsc::TryRecvError::Empty) => {}
                _ => return,
            }
            kill_process(self.pid, signal).ok();
            if exited.recv_timeout(PATIENCE).is_ok() {
                return;
            }
        }
    }
}

/// From the start, without moving the position, which the server writes at.
fn read(log: &File) -> String {
    let mut bytes = vec![0; usize::try_from(log.metadata().expect("the log").len()).expect("a short log")];
    log.read_exact_at(&mut bytes, 0).expect("the log can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn unexpected_errors(log: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let mut lines = log.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("Traceback (most recent call last)") {
            let mut traceback = line.to_owned();
            // The frames are indented; the exception, which ends them, is not.
            for line in lines.by_ref() {
                traceback.push('\n');
                traceback.push_str(line);
                if !line.starts_with(' ') && !line.is_empty() {
                    break;
                }
            }
            errors.push(traceback);
        } else if line.contains("NotImplementedError") {
            errors.push(line.to_owned());
        }
    }
    errors
}

/// The whole reply as text. moto closes each connection after one reply.
fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(GUARD))?;
    let length = body.len();
    stream.write_all(
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .as_bytes(),
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}
