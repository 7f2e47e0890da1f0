//! `wordfreq top`: the live view of a data directory on a terminal. Looks at the directory itself, so it works whether or
//! not `up` runs. Not here: what there is to see and how it is drawn (`crate::top`).
//!
//! The terminal is put back on every way out: the end, an error, a panic and a signal.

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Instant;

use anyhow::Context as _;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::fleet;
use crate::cli::TopArgs;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::top::{self, Watch};
use crate::{output, signals};

enum Happened {
    Key(KeyEvent),
    Resized,
    Signal,
    KeysGone(io::Error),
}

/// Watches until it is told to end.
pub fn run(args: &TopArgs, config: &Config) -> anyhow::Result<Exit> {
    if !io::stdout().is_terminal() {
        return Err(UsageError(
            "`wordfreq top` draws on a terminal, and standard output is none: use `wordfreq fleet status` and \
             `wordfreq queue status`"
                .into(),
        )
        .into());
    }
    let mut watch = Watch::start(fleet::open(config)?, super::up::LOCK_FILE, config.log.color)?;
    let (happened, events) = mpsc::channel();
    let signal = happened.clone();
    // When nobody listens any more, the end has come already.
    signals::on_end(move || drop(signal.send(Happened::Signal)))?;
    let mut screen = Screen::open()?;
    // Not joined: it waits for a key, which may never come.
    std::thread::Builder::new()
        .name("keys".into())
        .spawn(move || read_keys(&happened))
        .context("cannot start a thread")?;

    let mut look_at = Instant::now() + args.interval;
    loop {
        screen.0.draw(|frame| top::draw(frame, &watch.view)).context("cannot draw on the terminal")?;
        match events.recv_timeout(look_at.saturating_duration_since(Instant::now())) {
            Ok(Happened::Key(key)) if ends(key) => return Ok(Exit::Done),
            Ok(Happened::Key(key)) => match key.code {
                KeyCode::Left | KeyCode::Down | KeyCode::Char('-') => {
                    watch.view.span = watch.view.span.shorter();
                }
                KeyCode::Right | KeyCode::Up | KeyCode::Char('+' | '=') => {
                    watch.view.span = watch.view.span.longer();
                }
                _ => {}
            },
            Ok(Happened::Resized) => {}
            Ok(Happened::Signal) => return Ok(Exit::Done),
            Ok(Happened::KeysGone(error)) => return Err(error).context("cannot read keys from the terminal"),
            Err(RecvTimeoutError::Timeout) => {
                watch.look();
                look_at = Instant::now() + args.interval;
            }
            Err(RecvTimeoutError::Disconnected) => {
                anyhow::bail!("nobody listens to keys and signals any more")
            }
        }
    }
}

fn ends(key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

fn read_keys(happened: &Sender<Happened>) {
    loop {
        let next = match event::read() {
            Ok(event::Event::Key(key)) if key.kind != KeyEventKind::Release => Happened::Key(key),
            Ok(event::Event::Resize(..)) => Happened::Resized,
            Ok(_) => continue,
            Err(error) => {
                drop(happened.send(Happened::KeysGone(error)));
                return;
            }
        };
        if happened.send(next).is_err() {
            return;
        }
    }
}

/// The terminal, taken over and given back. A panic gives it back too, before it is told, so that it can be read.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> anyhow::Result<Self> {
        ratatui::try_init().map(Self).map_err(|error| {
            // It may have been taken over by half.
            ratatui::restore();
            anyhow::Error::new(error).context("cannot take over the terminal")
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A panic gave it back already; once more would put the cursor onto what was told of it.
        if !std::thread::panicking()
            && let Err(error) = ratatui::try_restore()
        {
            output::remark(format!("the terminal was not given back: {error}; `reset` mends it"));
        }
    }
}
