//! The floor: the speed of the machine without a database.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rzeo_core::value::Value;
use rzeo_core::wire::{Codec, Deframer, Flag, Outgoing};
use rzeo_core::{Oid, Tid};

use crate::client::RECORD_BYTES;

/// Bytes that one commit of one record adds to a FileStorage.
const COMMIT_BYTES: usize = 23 + 42 + RECORD_BYTES + 8;

/// Bytes of the payload of a handshake, such as `Z5`.
const HANDSHAKE_BYTES: usize = 2;

/// Answers every request with a record read from a file, with a thread per connection and one write
/// for all requests that arrived together. It does not look at the requests.
pub(crate) fn start_loads() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(b"\0\0\0\x02Z5")?;
    let file = tempfile::tempfile_in(".")?;
    file.write_all_at(&vec![b'.'; RECORD_BYTES * 1_000], 0)?;
    let mut positions = (0..1_000).map(|n| n * 37 % 999 * RECORD_BYTES as u64).cycle();
    let mut reply = reply();
    let start = reply.windows(8).position(|window| window == [b'.'; 8]);
    let start = start.expect("a reply holds the record");
    let record = start..start + RECORD_BYTES;
    let mut buffer = vec![0; 1 << 16];
    let mut deframer = Deframer::new(u32::MAX);
    let mut batch = Vec::new();
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => deframer.push(&buffer[..count]),
        }
        while let Some(frame) = deframer.next_frame().map_err(io::Error::other)? {
            // A handshake needs no reply; `register` gets a record, which the client ignores.
            if frame.len() > HANDSHAKE_BYTES {
                let position = positions.next().expect("a cycle has no end");
                file.read_exact_at(&mut reply[record.clone()], position)?;
                batch.extend_from_slice(&reply);
            }
        }
        stream.write_all(&batch)?;
        batch.clear();
    }
}

fn reply() -> Vec<u8> {
    let revision = Value::Tuple(vec![
        Value::Bytes(vec![b'.'; RECORD_BYTES].into()),
        Value::tid(Tid(1)),
        Value::None,
    ]);
    let msgid = Value::Tuple(vec![Value::oid(Oid(0)), Value::tid(Tid::MAX)]);
    let mut out = Outgoing::new();
    Codec::Pickle
        .write(&mut out, &msgid, Flag::Reply, ".reply", &revision)
        .expect("plain values can be written");
    let chunks = std::iter::from_fn(|| out.take_chunk());
    chunks.flat_map(|chunk: Bytes| chunk.to_vec()).collect()
}

/// Commits per second of one thread that appends and syncs.
pub(crate) fn commits(time: Duration) -> io::Result<f64> {
    let mut file = tempfile::tempfile_in(".")?;
    let bytes = vec![1; COMMIT_BYTES];
    let start = Instant::now();
    let mut done = 0_u32;
    while start.elapsed() < time {
        file.write_all(&bytes)?;
        rustix::fs::fdatasync(&file)?;
        done += 1;
    }
    Ok(f64::from(done) / start.elapsed().as_secs_f64())
}
