//! A bar on standard error while something takes long, if somebody is there to see it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar; draws nothing where standard error is no terminal.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// `what` is being done, to so many bytes.
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
