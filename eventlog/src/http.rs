//! Records for a web server, as Python's `HTTPHandler` sends them.
//!
//! A request contains all fields of the record, encoded as an HTML form: after the `?` of a GET or as the
//! body of a POST. The response is ignored.

use std::fmt::Write as _;
use std::io;

use thiserror::Error;

use crate::delivery::{DELIVERY_TIME_MAX, Message, Transport};
use crate::record::{Field, Record};

/// The fields of Python's records, in its order.
const FIELDS: [&str; 20] = [
    "name",
    "msg",
    "args",
    "levelname",
    "levelno",
    "pathname",
    "filename",
    "module",
    "exc_info",
    "exc_text",
    "stack_info",
    "lineno",
    "funcName",
    "created",
    "msecs",
    "relativeCreated",
    "thread",
    "threadName",
    "processName",
    "process",
];

/// The method of requests to a web server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`: the record is in the URL.
    Get,
    /// `POST`: the record is in the body.
    Post,
}

impl Method {
    /// Its name in requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// An `http:` URL with a host and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(String);

/// Why a text is not the URL of a log's web server, in Python's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HttpUrlError {
    /// A URL without a host.
    #[error("url must specify a location")]
    NoHost,
    /// A URL without a path.
    #[error("url must specify a path")]
    NoPath,
    /// A URL of another kind.
    #[error("url must be an http url")]
    NotHttp,
}

impl HttpUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// If the text is not an `http:` URL, or has no host or no path.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(HttpUrlError::NotHttp);
        }
        let rest = rest.strip_prefix("//").unwrap_or("");
        let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        if host.is_empty() {
            return Err(HttpUrlError::NoHost);
        }
        if !rest[host.len()..].starts_with('/') {
            return Err(HttpUrlError::NoPath);
        }
        Ok(Self(format!("http://{rest}")))
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A record's fields as a form.
pub(crate) fn form(record: &Record<'_>) -> String {
    let mut form = String::new();
    for name in FIELDS {
        let field = Field::named(name).expect("the names are those of fields");
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        encode(&record.field(&field).to_string(), &mut form);
    }
    form
}

/// `urllib.parse.quote_plus`.
fn encode(text: &str, form: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' => form.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                form.push(char::from(byte));
            }
            other => write!(form, "%{other:02X}").expect("writing to a string cannot fail"),
        }
    }
}

/// Sends each record as the fields of a form.
pub(crate) struct HttpTransport {
    pub(crate) url: HttpUrl,
    pub(crate) method: Method,
}

impl Transport for HttpTransport {
    fn deliver(&mut self, message: &Message) -> io::Result<()> {
        let url = self.url.as_str();
        let request = match self.method {
            Method::Get => {
                let separator = if url.contains('?') { '&' } else { '?' };
                minreq::get(format!("{url}{separator}{}", message.text))
            }
            Method::Post => minreq::post(url)
                .with_header("Content-type", "application/x-www-form-urlencoded")
                .with_body(message.text.as_str()),
        };
        let response = request
            .with_timeout(DELIVERY_TIME_MAX.as_secs())
            .with_follow_redirects(false)
            .with_max_headers_size(64 * 1024)
            .with_max_status_line_length(8 * 1024)
            .send_lazy();
        response.map(|_| ()).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use jiff::Timestamp;

    use super::*;
    use crate::level::Level;

    #[test]
    fn urls() {
        let parse = |text| HttpUrl::parse(text).map(|url| url.0);
        assert_eq!(parse("HTTP://h:1/a?b#c").unwrap(), "http://h:1/a?b#c");
        assert_eq!(parse("https://h/"), Err(HttpUrlError::NotHttp));
        assert_eq!(parse("h/"), Err(HttpUrlError::NotHttp));
        assert_eq!(parse("http:///x"), Err(HttpUrlError::NoHost));
        assert_eq!(parse("http://h"), Err(HttpUrlError::NoPath));
        assert_eq!(parse("http://h?a"), Err(HttpUrlError::NoPath));
    }

    /// Python's handler sent the same, except for what differs between processes.
    #[test]
    fn the_form_has_all_fields() {
        let record = Record {
            time: Timestamp::from_microsecond(1_700_000_000_500_000).unwrap(),
            level: Level::WARNING,
            name: "ZEO.StorageServer",
            message: "('127.0.0.1', 8100) é~*/",
            plain: "",
            fields: &[],
            file: "a/b.py",
            line: 7,
            start: Timestamp::from_second(1_700_000_000).unwrap(),
        };
        let form = form(&record);
        let (before, after) = form.split_once("&thread=").unwrap();
        assert_eq!(
            before,
            "name=ZEO.StorageServer&msg=%28%27127.0.0.1%27%2C+8100%29+%C3%A9~%2A%2F&args=%28%29\
             &levelname=WARNING&levelno=30&pathname=a%2Fb.py&filename=b.py&module=b&exc_info=None\
             &exc_text=None&stack_info=None&lineno=7&funcName=%28unknown+function%29\
             &created=1700000000.5&msecs=500.0&relativeCreated=500.0"
        );
        let names: Vec<&str> =
            after.split('&').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
        assert_eq!(names, ["threadName", "processName", "process"]);
    }

    /// The request that a web server receives: the first line, and the body.
    fn request(method: Method, query: &str) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = HttpUrl::parse(&format!("http://{}/log{query}", listener.local_addr().unwrap()));
        let mut http = HttpTransport { url: url.unwrap(), method };
        let server = std::thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let (mut first, mut length) = (String::new(), 0);
            stream.read_line(&mut first).unwrap();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            stream.get_mut().write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").unwrap();
            (first.trim_end().to_owned(), String::from_utf8(body).unwrap())
        });
        let message = Message { level: Level::INFO, text: "a=%28b&c=d".to_owned() };
        http.deliver(&message).unwrap();
        server.join().unwrap()
    }

    #[test]
    fn records_are_sent_both_ways() {
        let get = |query| request(Method::Get, query).0;
        assert_eq!(get(""), "GET /log?a=%28b&c=d HTTP/1.1");
        assert_eq!(get("?x=1"), "GET /log?x=1&a=%28b&c=d HTTP/1.1");
        let post = request(Method::Post, "");
        assert_eq!(post, ("POST /log HTTP/1.1".to_owned(), "a=%28b&c=d".to_owned()));
    }
}
