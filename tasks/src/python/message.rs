//! The messages between a worker and a process that executes jobs: objects in JSON, each after its length
//! in four bytes, most significant first. `docs/job-process.md` describes them.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Version of the messages.
pub(super) const VERSION: u32 = 1;

/// Maximum bytes of a message.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Messages to the process.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Request<'a> {
    Open(&'a Open),
    Execute { job: u64, lease: i64, claimed: u64, id: &'a str, call: &'a str, attempt: u32 },
    Stop { lease: i64, reason: &'static str },
}

/// What the process needs before it can execute jobs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Open {
    pub(super) version: u32,
    pub(super) servers: Vec<Server>,
    pub(super) storage: String,
    pub(super) tls: Option<Tls>,
    pub(super) blob_dir: Option<String>,
    pub(super) shared_blob_dir: bool,
    /// Seconds.
    pub(super) wait_timeout: f64,
    pub(super) paths: Vec<String>,
    pub(super) allow: Vec<String>,
    /// Bytes.
    pub(super) memory: Option<u64>,
    pub(super) label: String,
}

/// A host and its port, or the path of a Unix socket.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Server {
    Tcp(String, u16),
    Unix(String),
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Tls {
    pub(super) authenticate: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) password: Option<String>,
    pub(super) check_hostname: bool,
    pub(super) server_hostname: Option<String>,
}

/// Messages from the process.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Report {
    Hello {
        version: u32,
        python: String,
    },
    Unusable {
        message: String,
    },
    Ready,
    Started {
        lease: i64,
    },
    Ended {
        lease: i64,
        #[serde(flatten)]
        end: End,
    },
}

/// How a job has ended.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub(super) enum End {
    Committed { tid: u64 },
    Failed { kind: String, message: String, trace: Option<String>, is_final: bool },
    Snoozed { until: f64 },
    Stopped,
    Refused { state: String },
    Conflict,
    Lost,
    Unknown,
    Denied { message: String },
}

/// Bytes that are not a message.
#[derive(Debug, Error)]
pub(super) enum MessageError {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it has {0} bytes, more than {MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
}

/// Writes a message.
pub(super) fn write(sink: &mut impl Write, message: &Request<'_>) -> Result<(), MessageError> {
    let mut data = vec![0; 4];
    serde_json::to_writer(&mut data, message)?;
    let size = data.len() - 4;
    match u32::try_from(size) {
        Ok(header) if size <= MESSAGE_BYTES_MAX => data[..4].copy_from_slice(&header.to_be_bytes()),
        _ => return Err(MessageError::TooLarge(size)),
    }
    sink.write_all(&data)?;
    Ok(sink.flush()?)
}

/// Reads a message; `None` if there are no more.
pub(super) fn read(source: &mut impl Read) -> Result<Option<Report>, MessageError> {
    let mut header = [0; 4];
    match source.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let size = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if size > MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLarge(size));
    }
    let mut data = vec![0; size];
    source.read_exact(&mut data)?;
    Ok(Some(serde_json::from_slice(&data)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(json: &str) -> Vec<u8> {
        let size = u32::try_from(json.len()).unwrap();
        [&size.to_be_bytes(), json.as_bytes()].concat()
    }

    #[test]
    fn reports_are_read() {
        let ended = |end| Report::Ended { lease: -5, end };
        for (json, report) in [
            (
                r#"{"type": "hello", "version": 1, "python": "3.8", "pid": 7}"#,
                Report::Hello { version: 1, python: "3.8".into() },
            ),
            (r#"{"type": "ready"}"#, Report::Ready),
            (
                r#"{"type": "ended", "lease": -5, "how": "committed", "tid": 18446744073709551615}"#,
                ended(End::Committed { tid: u64::MAX }),
            ),
            (
                r#"{"type": "ended", "lease": -5, "how": "snoozed", "until": 1.5}"#,
                ended(End::Snoozed { until: 1.5 }),
            ),
            (r#"{"type": "ended", "lease": -5, "how": "conflict"}"#, ended(End::Conflict)),
        ] {
            assert_eq!(read(&mut framed(json).as_slice()).unwrap(), Some(report), "{json}");
        }
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        for json in ["", "7", "{}", r#"{"type": "other"}"#, r#"{"type": "ended", "lease": 1}"#] {
            assert!(read(&mut framed(json).as_slice()).is_err(), "{json}");
        }
    }

    #[test]
    fn the_end_of_the_messages_is_none_and_within_one_an_error() {
        assert_eq!(read(&mut [].as_slice()).unwrap(), None);
        assert!(matches!(read(&mut [0, 0, 0, 9, 1].as_slice()), Err(MessageError::Io(_))));
    }

    #[test]
    fn messages_have_a_maximum() {
        let error = read(&mut [0, 16, 0, 1].as_slice()).unwrap_err();
        assert_eq!(error.to_string(), "it has 1048577 bytes, more than 1048576");
        let call = "a".repeat(MESSAGE_BYTES_MAX);
        let (job, lease, claimed, id, attempt) = (1, 2, 3, "j", 1);
        let message = Request::Execute { job, lease, claimed, id, call: &call, attempt };
        let mut written = Vec::new();
        assert!(matches!(write(&mut written, &message), Err(MessageError::TooLarge(_))));
        assert!(written.is_empty());
    }

    #[test]
    fn requests_are_written() {
        let mut written = Vec::new();
        write(&mut written, &Request::Stop { lease: -1, reason: "timeout" }).unwrap();
        assert_eq!(written, framed(r#"{"type":"stop","lease":-1,"reason":"timeout"}"#));
        written.clear();
        let (job, lease, claimed, id, attempt) = (u64::MAX, -2, 3, "j", 1);
        write(&mut written, &Request::Execute { job, lease, claimed, id, call: "a:b", attempt })
            .unwrap();
        let json = r#"{"type":"execute","job":18446744073709551615,"lease":-2,"claimed":3,"id":"j","call":"a:b","attempt":1}"#;
        assert_eq!(written, framed(json));
    }
}
