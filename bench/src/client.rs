//! Minimal clients: blocking sockets, one thread for each connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rzeo_core::value::{ReadLimits, Value};
use rzeo_core::wire::{Codec, Deframer, Flag, Outgoing};
use rzeo_core::{Oid, Tid};

/// Objects in the database.
pub(crate) const OBJECTS: u64 = 1_000;

/// Bytes of a record.
pub(crate) const RECORD_BYTES: usize = 1_000;

/// A registered connection; its calls block.
pub(crate) struct Client {
    stream: TcpStream,
    deframer: Deframer,
    buffer: Vec<u8>,
    calls: i64,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let deframer = Deframer::new(u32::MAX);
        let mut client = Self { stream, deframer, buffer: vec![0; 1 << 16], calls: 0 };
        client.frame()?;
        client.stream.write_all(b"\0\0\0\x02Z5")?;
        client.call("register", vec![Value::text("1"), Value::Bool(false)])?;
        Ok(client)
    }

    fn frame(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(frame) = self.deframer.next_frame().map_err(io::Error::other)? {
                return Ok(frame);
            }
            match self.stream.read(&mut self.buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.deframer.push(&self.buffer[..count]),
            }
        }
    }

    /// The next frame with a reply; skips notifications.
    fn reply(&mut self) -> io::Result<Bytes> {
        loop {
            let frame = self.frame()?;
            let head = &frame[..frame.len().min(64)];
            if head.windows(6).any(|window| window == b".reply") {
                return Ok(frame);
            }
        }
    }

    fn call(&mut self, name: &str, args: Vec<Value>) -> io::Result<Value> {
        self.calls += 1;
        let request = message(&Value::Int(self.calls), Flag::Call, name, args);
        self.stream.write_all(&request)?;
        let frame = self.reply()?;
        let envelope =
            Codec::Pickle.read(&frame, &ReadLimits::default()).map_err(io::Error::other)?;
        if envelope.flag {
            return Err(io::Error::other(format!("{name}: {:?}", envelope.args)));
        }
        Ok(envelope.args)
    }

    /// Commits records for these oids, read at these serials.
    fn commit(&mut self, oids: &[Oid], serial: Tid) -> io::Result<Tid> {
        let txn = Value::Int(7);
        let mut batch = message(&Value::Int(0), Flag::Oneway, "tpc_begin", begin(&txn));
        for oid in oids {
            let args = vec![
                Value::oid(*oid),
                Value::tid(serial),
                Value::Bytes(vec![b'.'; RECORD_BYTES].into()),
                txn.clone(),
            ];
            batch.extend(message(&Value::Int(0), Flag::Oneway, "storea", args));
        }
        self.stream.write_all(&batch)?;
        self.call("vote", vec![txn.clone()])?;
        match self.call("tpc_finish", vec![txn])? {
            Value::Bytes(tid) => {
                Tid::from_slice(&tid).ok_or_else(|| io::Error::other("the reply is not a tid"))
            }
            other => Err(io::Error::other(format!("tpc_finish: {other:?}"))),
        }
    }
}

fn begin(txn: &Value) -> Vec<Value> {
    let empty = || Value::Bytes(Bytes::new());
    vec![txn.clone(), empty(), empty(), Value::Dict(vec![]), Value::None, Value::text(" ")]
}

fn message(msgid: &Value, flag: Flag, name: &str, args: Vec<Value>) -> Vec<u8> {
    let mut out = Outgoing::new();
    Codec::Pickle
        .write(&mut out, msgid, flag, name, &Value::Tuple(args))
        .expect("plain values can be written");
    let mut bytes = Vec::with_capacity(out.len());
    while let Some(chunk) = out.take_chunk() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

/// A request for the current revision of an object.
pub(crate) fn load_request(oid: Oid) -> Vec<u8> {
    let args = vec![Value::oid(oid), Value::tid(Tid::MAX)];
    message(&Value::Tuple(args.clone()), Flag::Call, "loadBefore", args)
}

/// Stores [`OBJECTS`] records in a new database.
pub(crate) fn populate(address: SocketAddr) -> io::Result<()> {
    let oids: Vec<Oid> = (0..OBJECTS).map(Oid).collect();
    Client::connect(address)?.commit(&oids, Tid::ZERO)?;
    Ok(())
}

/// Runs one worker per connection and adds up their operations per second.
fn run(
    connections: usize,
    time: Duration,
    work: impl Fn(u64, Instant) -> io::Result<u64> + Sync,
) -> io::Result<f64> {
    let start = Instant::now();
    let end = start + time;
    let work = &work;
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..connections as u64).map(|n| scope.spawn(move || work(n, end))).collect();
        let results = workers.into_iter().map(|worker| worker.join().expect("no worker panics"));
        results.sum::<io::Result<u64>>()
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a count of a few seconds is far below 2^53")]
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// Loads per second, with `window` requests in flight on each connection.
pub(crate) fn loads(
    address: SocketAddr,
    connections: usize,
    window: usize,
    time: Duration,
) -> io::Result<f64> {
    run(connections, time, |worker, end| {
        let mut client = Client::connect(address)?;
        let mut batches = Vec::new();
        for batch in 0..16 {
            let oids = (0..window as u64).map(|n| (worker * 37 + batch * 61 + n) % OBJECTS);
            batches.push(oids.flat_map(|oid| load_request(Oid(oid))).collect::<Vec<u8>>());
        }
        let mut done = 0;
        for batch in batches.iter().cycle() {
            if Instant::now() >= end {
                break;
            }
            client.stream.write_all(batch)?;
            for _ in 0..window {
                client.reply()?;
            }
            done += window as u64;
        }
        Ok(done)
    })
}

/// Commits per second, where each connection writes its own objects.
pub(crate) fn commits(address: SocketAddr, connections: usize, time: Duration) -> io::Result<f64> {
    run(connections, time, |worker, end| {
        let mut client = Client::connect(address)?;
        let oids = client.call("new_oids", vec![Value::Int(1)])?;
        let Value::List(oids) = oids else {
            return Err(io::Error::other("the reply to new_oids is not a list"));
        };
        let Some(Value::Bytes(oid)) = oids.first() else {
            return Err(io::Error::other(format!(
                "worker {worker}: the reply to new_oids is empty"
            )));
        };
        let oid = Oid::from_slice(oid).ok_or_else(|| {
            io::Error::other("the reply to new_oids holds a value that is not an oid")
        })?;
        let mut serial = Tid::ZERO;
        let mut done = 0;
        while Instant::now() < end {
            serial = client.commit(&[oid], serial)?;
            done += 1;
        }
        Ok(done)
    })
}
