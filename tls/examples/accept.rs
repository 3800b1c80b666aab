//! A TLS server that prints for each client whether it is accepted, one line each. For the judges.
//!
//! Usage: `accept CERTIFICATE KEY AUTHENTICATE`, with the key's password, if it has one, in
//! RZEO_TLS_KEY_PASSWORD. Prints the port first, then `accepted` or `refused: REASON` per client.
//! An accepted client gets the byte `+`.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rzeo_tls::{Password, TlsFiles, explain, server_config};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [certificate, key, authenticate] = args.as_slice() else {
        return Err("usage: accept CERTIFICATE KEY AUTHENTICATE".into());
    };
    let password = std::env::var("RZEO_TLS_KEY_PASSWORD").ok().map(Password::new);
    let config = match server_config(&TlsFiles {
        certificate: certificate.clone(),
        key: Some(key.clone()),
        password,
        authenticate: Some(authenticate.clone()),
    }) {
        Ok(config) => config,
        Err(error) => {
            println!("unusable: {error}");
            std::process::exit(1);
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    for socket in listener.incoming() {
        match greet(&config, socket?) {
            Ok(()) => println!("accepted"),
            Err(error) => println!("refused: {error}"),
        }
    }
    Ok(())
}

fn greet(config: &Arc<ServerConfig>, socket: TcpStream) -> Result<(), Box<dyn Error>> {
    let explained = |error: io::Error| explain(&error);
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = StreamOwned::new(ServerConnection::new(config.clone())?, socket);
    stream.write_all(b"+").map_err(explained)?;
    stream.flush().map_err(explained)?;
    stream.conn.send_close_notify();
    let _ = stream.flush();
    let _ = stream.read(&mut [0]);
    Ok(())
}
