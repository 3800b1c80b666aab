//! Mail: one for each record, as Python's `SMTPHandler` sends it.
//!
//! `lettre` speaks SMTP and encodes headers and texts. There is no TLS, as there is none in Python's
//! section `<email-notifier>`, so a password is sent in the clear: the mail server should be on the
//! same machine or in a trusted network.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};

use jiff::Zoned;
use lettre::message::Body;
use lettre::message::header::{HeaderName, HeaderValue, Headers};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::SmtpConnection;
use lettre::transport::smtp::commands::Data;
use lettre::transport::smtp::extension::ClientId;

use crate::delivery::{DELIVERY_TIME_MAX, Message, Transport};

/// SMTP's port.
const PORT: u16 = 25;

/// A mail server, and the mails that it gets.
#[derive(Clone, PartialEq, Eq)]
pub struct MailSettings {
    /// The host of the mail server.
    pub host: String,
    /// Its port; 25 if it is `None`.
    pub port: Option<u16>,
    /// The sender: an address, or a name with an address in angle brackets.
    pub from: String,
    /// The recipients. Each text can contain several, separated by commas.
    pub to: Vec<String>,
    /// Subject of all mails.
    pub subject: String,
    /// User name and password at the mail server.
    pub login: Option<(String, String)>,
}

/// Without the password: this can end up in a log.
impl fmt::Debug for MailSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("from", &self.from)
            .field("to", &self.to)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// The connection to a mail server, which is opened for each mail.
pub(crate) struct MailTransport(pub(crate) MailSettings);

impl Transport for MailTransport {
    fn deliver(&mut self, message: &Message) -> io::Result<()> {
        let settings = &self.0;
        let server = (settings.host.as_str(), settings.port.unwrap_or(PORT));
        let us = match own_address(server)? {
            IpAddr::V4(address) => ClientId::Ipv4(address),
            IpAddr::V6(address) => ClientId::Ipv6(address),
        };
        let timeout = Some(DELIVERY_TIME_MAX);
        let mut smtp =
            SmtpConnection::connect(server, timeout, &us, None, None).map_err(io::Error::other)?;
        if let Some((user, password)) = &settings.login {
            let credentials = Credentials::new(user.clone(), password.clone());
            smtp.auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .map_err(io::Error::other)?;
        }
        // lettre's own commands refuse addresses without a domain, such as `root`.
        let from = format!("MAIL FROM:<{}>\r\n", mailbox(&settings.from));
        smtp.command(from).map_err(io::Error::other)?;
        for to in settings.to.join(",").split(',') {
            smtp.command(format!("RCPT TO:<{}>\r\n", mailbox(to))).map_err(io::Error::other)?;
        }
        smtp.command(Data).map_err(io::Error::other)?;
        smtp.message(&settings.mail(&message.text, &Zoned::now())).map_err(io::Error::other)?;
        // The server has accepted the mail, whatever it answers now.
        let _ = smtp.quit();
        Ok(())
    }
}

impl MailSettings {
    /// Headers and text.
    fn mail(&self, text: &str, now: &Zoned) -> Vec<u8> {
        let body = Body::new(text.to_owned());
        let date = now.strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
        let headers = [
            ("From", self.from.clone()),
            ("To", self.to.join(",")),
            ("Subject", self.subject.clone()),
            ("Date", date),
            ("Content-Type", "text/plain; charset=\"utf-8\"".to_owned()),
            ("Content-Transfer-Encoding", body.encoding().to_string()),
            ("MIME-Version", "1.0".to_owned()),
        ];
        let mut all = Headers::new();
        for (name, value) in headers {
            let name = HeaderName::new_from_ascii_str(name);
            all.insert_raw(HeaderValue::new(name, one_line(&value)));
        }
        let mut mail = format!("{all}\r\n").into_bytes();
        mail.extend(body.into_vec());
        mail
    }
}

/// The address of this machine, as the mail server sees it.
fn own_address(server: (&str, u16)) -> io::Result<IpAddr> {
    let to = server.to_socket_addrs()?.next();
    let to = to.ok_or_else(|| io::Error::other(format!("no address for {}", server.0)))?;
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    // Connecting a UDP socket sends nothing; it only chooses the address.
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

/// A text without line ends: neither a header nor a command of SMTP can be smuggled in.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The address in `Name <address>`.
fn mailbox(text: &str) -> String {
    let address = match text.rsplit_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest),
        None => text,
    };
    address.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::level::Level;

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

    /// A mail server with these answers; returns what it received.
    fn serve(listener: &TcpListener, answers: &[&str]) -> String {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut received = String::new();
        for answer in answers {
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            let expects_text = answer.starts_with('3');
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                received += &line;
                if !expects_text || line == ".\r\n" || line.is_empty() {
                    break;
                }
            }
        }
        received
    }

    fn send(answers: &'static [&'static str]) -> (io::Result<()>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || serve(&listener, answers));
        let message = Message { level: Level::ERROR, text: "it broke\n.hidden".to_owned() };
        let sent = MailTransport(settings(port)).deliver(&message);
        (sent, server.join().unwrap())
    }

    #[test]
    fn a_record_is_a_mail() {
        let (sent, received) = send(&[
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
        let (before, message) = received.split_once("DATA\r\n").unwrap();
        assert_eq!(
            before,
            "EHLO [127.0.0.1]\r\nAUTH PLAIN AHUAcA==\r\nMAIL FROM:<zeo@example.org>\r\n\
             RCPT TO:<root>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\n"
        );
        assert!(message.ends_with("\r\n\r\nit broke\r\n..hidden\r\n.\r\nQUIT\r\n"), "{message}");
    }

    #[test]
    fn a_refusal_is_reported() {
        let (sent, _) = send(&["220 mail\r\n", "250 AUTH PLAIN\r\n", "535 who are you\r\n"]);
        assert_eq!(sent.unwrap_err().to_string(), "permanent error (535): who are you");
    }

    #[test]
    fn a_mail_server_without_logins_gets_no_password() {
        let (sent, received) = send(&["220 mail\r\n", "250 mail\r\n"]);
        assert!(sent.unwrap_err().to_string().contains("authentication mechanism"));
        assert!(!received.contains("AUTH"), "{received}");
    }

    /// Python's handler writes the same headers and the same text, but for the letter case of encoded words.
    #[test]
    fn headers_and_texts() {
        let now = Timestamp::from_second(1_700_000_000).unwrap().to_zoned(TimeZone::UTC);
        let mail =
            |settings: MailSettings, text| String::from_utf8(settings.mail(text, &now)).unwrap();
        assert_eq!(
            mail(settings(0), "x\ny"),
            "From: ZEO <zeo@example.org>\r\nTo: root,b@example.org, C <c@example.org>\r\n\
             Subject: Message from Zope\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n\
             Content-Type: text/plain; charset=\"utf-8\"\r\nContent-Transfer-Encoding: 7bit\r\n\
             MIME-Version: 1.0\r\n\r\nx\r\ny"
        );
        let encoded = mail(settings(0), "é");
        assert!(encoded.ends_with("base64\r\nMIME-Version: 1.0\r\n\r\nw6k="), "{encoded}");
        let subject = "gr\u{fc}n\nBcc: x@example.org".to_owned();
        let encoded = mail(MailSettings { subject, ..settings(0) }, "x");
        assert!(
            encoded.contains("\r\nSubject: =?utf-8?b?Z3LDvG4=?= Bcc: x@example.org\r\n"),
            "{encoded}"
        );
    }
}
