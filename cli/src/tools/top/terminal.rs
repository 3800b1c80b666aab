//! The terminal: a screen of its own while the program runs, and the old one afterwards.
//!
//! Keys arrive one by one and without an echo, Ctrl-C among them, so that every exit restores the terminal. The
//! few escape sequences work in every terminal of the last decades, so no library is used.

use std::io::{self, Read as _, Write as _};
use std::sync::mpsc::Sender;
use std::thread;

use rustix::termios::{
    LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use super::event::Event;
use super::screen::{Line, Style};

/// Another screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Rows and columns if the terminal does not report them.
const USUAL_SIZE: (usize, usize) = (24, 80);

/// The terminal, in raw mode and on its alternate screen.
pub(super) struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Whether standard input and output are a terminal.
    pub(super) fn is_there() -> bool {
        isatty(io::stdin()) && isatty(io::stdout())
    }

    /// Prepares it, and sends keys and signals from now on.
    pub(super) fn enter(events: &Sender<Event>) -> io::Result<Self> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGWINCH])?;
        let before = tcgetattr(io::stdin())?;
        let mut during = before.clone();
        during.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(io::stdin(), OptionalActions::Now, &during)?;
        let terminal = Self { before };
        say(ENTER)?;
        let to = events.clone();
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            for key in io::stdin().lock().bytes() {
                let event = match key {
                    Ok(b'q' | b'Q' | 3 | 4) | Err(_) => Event::Quit,
                    Ok(_) => Event::Redraw,
                };
                if to.send(event).is_err() {
                    return;
                }
            }
            let _ = to.send(Event::Quit);
        })?;
        let to = events.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                let event = if signal == SIGWINCH { Event::Redraw } else { Event::Quit };
                if to.send(event).is_err() {
                    return;
                }
            }
        })?;
        Ok(terminal)
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
                (size.ws_row.into(), size.ws_col.into())
            }
            _ => USUAL_SIZE,
        }
    }

    /// Shows lines, over what was there.
    pub(super) fn show(&self, lines: &[Line]) -> io::Result<()> {
        let styled = lines.iter().map(|line| match line.style {
            Style::Plain => line.text.clone(),
            Style::Head => format!("\x1b[1m{}\x1b[0m", line.text),
            Style::Alarm => format!("\x1b[31m{}\x1b[0m", line.text),
        });
        let styled: Vec<String> = styled.collect();
        // Each line clears what it leaves of the one before it, so nothing flickers.
        say(&format!("\x1b[H{}\x1b[K\x1b[J", styled.join("\x1b[K\r\n")))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs neither.
        let _ = say(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
