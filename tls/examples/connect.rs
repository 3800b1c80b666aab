//! A TLS client that prints for each server whether it is accepted, one line each. For the judges.
//!
//! Usage: `connect AUTHENTICATE CERTIFICATE check|any HOST [PIN...]`. AUTHENTICATE may be `-` for
//! the system's trust store; the certificate's file has the key too. Reads ports on this machine, a
//! line each, and prints `accepted` or `refused: REASON` for each. A server that accepts the client
//! sends one byte.

use std::error::Error;
use std::io::{self, BufRead, Read};
use std::net::TcpStream;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use rzeo_tls::client::{ClientFiles, ClientTls, client_config};
use rzeo_tls::{Pin, explain};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [authenticate, certificate, check, host, pins @ ..] = args.as_slice() else {
        return Err("usage: connect AUTHENTICATE CERTIFICATE check|any HOST [PIN...]".into());
    };
    let files = ClientFiles {
        certificate: Some(certificate.into()),
        authenticate: Some(authenticate).filter(|path| *path != "-").map(Into::into),
        check_hostname: check == "check",
        pins: pins.iter().map(|pin| pin.parse()).collect::<Result<Vec<Pin>, _>>()?,
        ..ClientFiles::default()
    };
    let tls = match client_config(&files) {
        Ok(tls) => tls,
        Err(error) => {
            println!("unusable: {error}");
            std::process::exit(1);
        }
    };
    println!("ready");
    for port in io::stdin().lock().lines() {
        match visit(&tls, host, port?.parse()?) {
            Ok(()) => println!("accepted"),
            Err(error) => println!("refused: {error}"),
        }
    }
    Ok(())
}

fn visit(tls: &ClientTls, host: &str, port: u16) -> Result<(), Box<dyn Error>> {
    let name = tls.server_name(Some(host))?;
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = StreamOwned::new(ClientConnection::new(tls.config().clone(), name)?, socket);
    stream.read_exact(&mut [0]).map_err(|error| explain(&error))?;
    Ok(())
}
