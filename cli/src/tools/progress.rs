//! Progress on standard error while something takes long, if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar; draws nothing where standard error is not a terminal.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// A bar of bytes; `what` is being done.
    pub(super) fn new(what: &'static str) -> Self {
        Self::styled(what, "{msg} {wide_bar} {percent:>3}%  {bytes_per_sec}, {eta} left")
    }

    fn styled(what: &'static str, style: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template(style).expect("the template is well formed");
        bar.set_style(style);
        bar.set_message(what);
        Self(bar)
    }

    pub(super) fn set(&self, done: u64, total: u64) {
        if self.0.length() != Some(total) {
            self.0.set_length(total);
        }
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A sign of life with a text; draws nothing where standard error is not a terminal.
pub(super) struct Spinner(ProgressBar);

impl Spinner {
    pub(super) fn new(text: String) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}");
        bar.set_style(style.expect("the template is well formed"));
        bar.set_message(text);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    pub(super) fn set(&self, text: String) {
        self.0.set_message(text);
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
