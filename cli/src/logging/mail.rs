//! `<email-notifier>`: a mail for each record, as Python's `SMTPHandler` sends it.
//!
//! The few lines of SMTP that this takes are here, because a library for all that mail can be would be
//! larger than the rest of the server; there is no TLS, as there is none in Python's section.

use std::io::{self, BufRead as _, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Zoned;

use super::courier::{Carrier, DELIVERY_TIME_MAX, Parcel};

/// The port when an address has none.
const PORT: u16 = 25;
/// The longest line that a mail server may say.
const LINE_BYTES_MAX: u64 = 4096;
/// The most lines of one answer.
const LINES_MAX: usize = 100;

/// How mails are sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MailSettings {
    /// The mail server.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: Option<u16>,
    /// From whom.
    pub(crate) from: String,
    /// To whom.
    pub(crate) to: Vec<String>,
    /// About what.
    pub(crate) subject: String,
    /// Who we are to the mail server, and the password.
    pub(crate) login: Option<(String, String)>,
}

/// Without the password: this may end up in a log.
impl std::fmt::Debug for MailSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("from", &self.from)
            .field("to", &self.to)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl Carrier for MailSettings {
    fn carry(&mut self, parcel: &Parcel) -> io::Result<()> {
        let addresses = (self.host.as_str(), self.port.unwrap_or(PORT)).to_socket_addrs()?;
        let mut connected = Err(io::Error::other(format!("no address for {}", self.host)));
        for address in addresses {
            connected = TcpStream::connect_timeout(&address, DELIVERY_TIME_MAX);
            if connected.is_ok() {
                break;
            }
        }
        let stream = connected?;
        stream.set_read_timeout(Some(DELIVERY_TIME_MAX))?;
        stream.set_write_timeout(Some(DELIVERY_TIME_MAX))?;
        let name = stream.local_addr()?.ip();
        let mut talk = Talk { from_server: BufReader::new(stream) };
        talk.expect(2)?;
        talk.say(&format!("EHLO [{name}]"), 2)?;
        if let Some((user, password)) = &self.login {
            let secret = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
            talk.say(&format!("AUTH PLAIN {secret}"), 2)?;
        }
        talk.say(&format!("MAIL FROM:<{}>", mailbox(&self.from)), 2)?;
        let all = self.to.join(",");
        for to in all.split(',') {
            talk.say(&format!("RCPT TO:<{}>", mailbox(to)), 2)?;
        }
        talk.say("DATA", 3)?;
        talk.write(&self.message(&parcel.text, &Zoned::now()))?;
        talk.say(".", 2)?;
        // The mail is on its way, whatever the server answers.
        let _ = talk.say("QUIT", 2);
        Ok(())
    }
}

impl MailSettings {
    /// Headers and text, with dots doubled where SMTP wants it.
    fn message(&self, text: &str, now: &Zoned) -> String {
        let date = now.strftime("%a, %d %b %Y %H:%M:%S %z");
        let (encoding, body) = if is_plain(text) {
            ("7bit", text.to_owned())
        } else {
            let encoded = BASE64_STANDARD.encode(format!("{text}\n"));
            let lines: Vec<&[u8]> = encoded.as_bytes().chunks(76).collect();
            let lines: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
            ("base64", lines.join("\n"))
        };
        let head = format!(
            "From: {}\nTo: {}\nSubject: {}\nDate: {date}\n\
             Content-Type: text/plain; charset=\"utf-8\"\nContent-Transfer-Encoding: {encoding}\n\
             MIME-Version: 1.0\n\n",
            header(&self.from),
            header(&self.to.join(",")),
            header(&self.subject),
        );
        let all = head + &body;
        let line = |line: &str| {
            if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") }
        };
        all.split('\n').map(|text| line(text.trim_end_matches('\r'))).collect()
    }
}

/// Whether a text can be sent as it is: ASCII, in lines that are not too long.
fn is_plain(text: &str) -> bool {
    text.is_ascii() && text.split('\n').all(|line| line.len() <= 900)
}

/// A header's value, on one line, with what is not ASCII in RFC 2047's words.
fn header(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.is_ascii() {
        return text;
    }
    let characters: Vec<char> = text.chars().collect();
    let word = |part: &[char]| {
        let part: String = part.iter().collect();
        format!("=?utf-8?b?{}?=", BASE64_STANDARD.encode(part))
    };
    characters.chunks(10).map(word).collect::<Vec<_>>().join(" ")
}

/// The address in `Name <address>`.
fn mailbox(text: &str) -> String {
    let address = match text.rsplit_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest),
        None => text,
    };
    address.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect()
}

/// A conversation with a mail server.
struct Talk {
    from_server: BufReader<TcpStream>,
}

impl Talk {
    fn write(&mut self, text: &str) -> io::Result<()> {
        self.from_server.get_mut().write_all(text.as_bytes())
    }

    fn say(&mut self, line: &str, class: u32) -> io::Result<()> {
        self.write(&format!("{line}\r\n"))?;
        self.expect(class)
    }

    /// Reads an answer, which may have several lines; its first digit tells how it went.
    fn expect(&mut self, class: u32) -> io::Result<()> {
        for _ in 0..LINES_MAX {
            let mut line = String::new();
            io::Read::take(&mut self.from_server, LINE_BYTES_MAX).read_line(&mut line)?;
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            if line.chars().next().and_then(|c| c.to_digit(10)) == Some(class) {
                return Ok(());
            }
            let said = line.trim_end();
            return Err(io::Error::other(format!("the mail server said {said:?}")));
        }
        Err(io::Error::other(format!("the mail server said more than {LINES_MAX} lines")))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::logging::Level;

    fn settings(port: u16) -> MailSettings {
        MailSettings {
            host: "127.0.0.1".to_owned(),
            port: Some(port),
            from: "ZEO <zeo@example.org>".to_owned(),
            to: vec!["root".to_owned(), "b@example.org, C <c@example.org>".to_owned()],
            subject: "Message from Zope".to_owned(),
            login: Some(("u".to_owned(), "p".to_owned())),
        }
    }

    /// A mail server that answers what it is told to; returns what it heard.
    fn serve(listener: &TcpListener, answers: &[&str]) -> String {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut heard = String::new();
        for answer in answers {
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            let wants_text = answer.starts_with('3');
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                heard += &line;
                if !wants_text || line == ".\r\n" || line.is_empty() {
                    break;
                }
            }
        }
        heard
    }

    fn send(answers: &'static [&'static str]) -> (io::Result<()>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || serve(&listener, answers));
        let parcel = Parcel { level: Level::ERROR, text: "it broke\n.hidden".to_owned() };
        let sent = settings(port).carry(&parcel);
        (sent, server.join().unwrap())
    }

    #[test]
    fn a_record_is_a_mail() {
        let (sent, heard) = send(&[
            "220 mail\r\n",
            "250-mail\r\n250 AUTH PLAIN\r\n",
            "235 ok\r\n",
            "250 ok\r\n",
            "250 ok\r\n",
            "250 ok\r\n",
            "250 ok\r\n",
            "354 go\r\n",
            "250 ok\r\n",
        ]);
        sent.unwrap();
        let (before, message) = heard.split_once("DATA\r\n").unwrap();
        assert_eq!(
            before,
            "EHLO [127.0.0.1]\r\nAUTH PLAIN AHUAcA==\r\nMAIL FROM:<zeo@example.org>\r\n\
             RCPT TO:<root>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\n"
        );
        assert!(message.ends_with("\r\n\r\nit broke\r\n..hidden\r\n.\r\nQUIT\r\n"), "{message}");
    }

    #[test]
    fn a_refusal_is_told() {
        let (sent, _) = send(&["220 mail\r\n", "250 mail\r\n", "535 who are you\r\n"]);
        assert_eq!(sent.unwrap_err().to_string(), r#"the mail server said "535 who are you""#);
    }

    /// Python's handler wrote the same headers and the same text, but for the base64's place.
    #[test]
    fn headers() {
        let now = Timestamp::from_second(1_700_000_000).unwrap().to_zoned(TimeZone::UTC);
        assert_eq!(
            settings(0).message("x", &now),
            "From: ZEO <zeo@example.org>\r\nTo: root,b@example.org, C <c@example.org>\r\n\
             Subject: Message from Zope\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n\
             Content-Type: text/plain; charset=\"utf-8\"\r\nContent-Transfer-Encoding: 7bit\r\n\
             MIME-Version: 1.0\r\n\r\nx\r\n"
        );
        assert!(
            settings(0).message("é", &now).ends_with("base64\r\nMIME-Version: 1.0\r\n\r\nw6kK\r\n")
        );
        assert_eq!(header("gr\u{fc}n\nx"), "=?utf-8?b?Z3LDvG4geA==?=");
    }
}
