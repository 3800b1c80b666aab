//! Memory, files and processor time of this process, from `/proc` (Linux only).

use std::fs;

/// Figures of the process; `None` where the system does not have them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProcessFigures {
    /// Bytes of memory in use.
    pub(super) memory: Option<u64>,
    /// Open files and sockets.
    pub(super) files: Option<u64>,
    /// Maximum number of open files and sockets.
    pub(super) files_max: Option<u64>,
    /// Seconds of processor time.
    pub(super) cpu: Option<f64>,
}

impl ProcessFigures {
    pub(super) fn read() -> Self {
        let files = fs::read_dir("/proc/self/fd").map(|entries| entries.count() as u64);
        Self {
            memory: fs::read_to_string("/proc/self/status").ok().and_then(|text| memory(&text)),
            files: files.ok(),
            files_max: fs::read_to_string("/proc/self/limits").ok().and_then(|text| limit(&text)),
            cpu: fs::read_to_string("/proc/self/stat").ok().and_then(|text| cpu(&text)),
        }
    }
}

/// `VmRSS:     1234 kB`
fn memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// `Max open files            1024                 524288               files`
fn limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15 after the name, which may hold anything, in hundredths of a second: Linux has
/// used no other unit here for decades.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn cpu(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some((next()? + next()?) as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_is_understood() {
        assert_eq!(memory("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(limit("Max open files            1024     524288     files\n"), Some(1024));
        assert_eq!(limit("Max open files            unlimited\n"), None);
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0";
        assert_eq!(cpu(stat), Some(4.0));
        assert_eq!(cpu(""), None);
    }
}
