//! Jobs per second: rzeo's queue, and a queue in plain Python, beside the commits of the same server.
//!
//! Each figure is measured on a server with a queue of its own. Jobs are enqueued by several clients, one or
//! many in a commit; executed are functions that change nothing, each result in a commit of its own.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rzeo_core::Oid;
use rzeo_objects::{ObjectId, Snapshot};
use rzeo_tasks::rzeo_zasync::{Call, Error, NewJob};
use rzeo_tasks::{Functions, Spawn, Tasks, Worker, WorkerOptions, new_id};
use rzeo_tokio::rzeo_net::tokio::Tokio;
use rzeo_tokio::{Address, Client, ClientOptions};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::client;
use crate::rounds::median;
use crate::servers::Running;

/// Clients that enqueue one job in a commit.
const CLIENTS: usize = 8;

/// Clients that enqueue [`BATCH`] jobs in a commit.
const BATCH_CLIENTS: usize = 2;

/// Number of jobs that are enqueued in one commit.
pub(crate) const BATCH: usize = 100;

/// Number of jobs that are executed at the same time.
const SLOTS: u32 = 32;

/// Number of jobs for a measurement of latency.
const LATENCIES: usize = 50;

/// One way to use a queue.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Jobs are enqueued, one in a commit.
    Enqueue,
    /// Jobs are enqueued, [`BATCH`] in a commit.
    EnqueueBatches,
    /// Jobs are executed.
    Run,
}

impl Work {
    pub(crate) const ALL: [Self; 3] = [Self::Enqueue, Self::EnqueueBatches, Self::Run];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue, 8 clients",
            Self::EnqueueBatches => "enqueue 100 in a commit",
            Self::Run => "run, 1 result in a commit",
        }
    }

    /// Jobs per second of rzeo's queue.
    pub(crate) fn rust(self, server: &Running, time: Duration, jobs: usize) -> io::Result<f64> {
        let bench = Bench::new(server.address)?;
        match self {
            Self::Enqueue => bench.enqueue(CLIENTS, 1, time),
            Self::EnqueueBatches => bench.enqueue(BATCH_CLIENTS, BATCH, time),
            Self::Run => bench.run(jobs),
        }
    }

    /// Jobs per second of a queue in plain Python.
    pub(crate) fn python(
        self,
        python: &str,
        server: &Running,
        time: Duration,
        jobs: usize,
    ) -> io::Result<f64> {
        let bench = Bench::new(server.address)?;
        let enqueue = |clients: usize, batch: usize| {
            vec!["enqueue".to_owned(), clients.to_string(), batch.to_string(), seconds(time)]
        };
        let mut words = match self {
            Self::Enqueue => enqueue(CLIENTS, 1),
            Self::EnqueueBatches => enqueue(BATCH_CLIENTS, BATCH),
            Self::Run => {
                bench.fill(jobs)?;
                vec!["run".to_owned(), jobs.to_string(), "1".to_owned()]
            }
        };
        words.splice(1..1, [server.address.ip().to_string(), server.address.port().to_string()]);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/job_queue.py");
        let output = Command::new(python).arg(script).args(words).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().map_err(|_| {
            io::Error::other(format!("job_queue.py: {}", String::from_utf8_lossy(&output.stderr)))
        })
    }
}

fn seconds(time: Duration) -> String {
    time.as_secs_f64().to_string()
}

/// Commits per second of the server, with as many clients as enqueue jobs.
pub(crate) fn commits(server: &Running, time: Duration) -> io::Result<f64> {
    client::populate(server.address)?;
    client::commits(server.address, CLIENTS, time)
}

/// Milliseconds from a call that enqueues a job to the begin of its function in a worker that is idle: the
/// median.
pub(crate) fn latency(server: &Running) -> io::Result<f64> {
    Bench::new(server.address)?.latency()
}

/// A queue of a server.
struct Bench {
    address: Address,
    runtime: Runtime,
}

impl Bench {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let address = Address::tcp(address.ip().to_string(), address.port());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let bench = Self { address, runtime };
        let create = async { bench.tasks().await?.create().await.map_err(io::Error::other) };
        bench.runtime.block_on(create)?;
        Ok(bench)
    }

    async fn client(&self) -> io::Result<Client> {
        rzeo_tokio::connect(ClientOptions::new([self.address.clone()]))
            .await
            .map_err(io::Error::other)
    }

    async fn tasks(&self) -> io::Result<Tasks> {
        Ok(Tasks::new(self.client().await?, "default"))
    }

    fn enqueue(&self, clients: usize, batch: usize, time: Duration) -> io::Result<f64> {
        self.runtime.block_on(async {
            let mut all = Vec::new();
            for _ in 0..clients {
                all.push(self.tasks().await?);
            }
            let end = Instant::now() + time;
            let enqueueing = all.into_iter().map(async |mut tasks| {
                let mut stored = 0;
                while Instant::now() < end {
                    stored += enqueue(&mut tasks, batch).await?.len();
                }
                io::Result::Ok(stored)
            });
            let started = Instant::now();
            let stored: io::Result<Vec<usize>> = join_all(enqueueing).await.into_iter().collect();
            Ok(rate(stored?.into_iter().sum(), started))
        })
    }

    /// Stores jobs to be executed, at least as many, and returns their oids.
    fn fill(&self, jobs: usize) -> io::Result<Vec<Oid>> {
        self.runtime.block_on(async {
            let (mut tasks, mut oids) = (self.tasks().await?, Vec::new());
            while oids.len() < jobs {
                oids.extend(enqueue(&mut tasks, BATCH).await?);
            }
            Ok(oids)
        })
    }

    fn run(&self, jobs: usize) -> io::Result<f64> {
        let oids = self.fill(jobs)?;
        self.runtime.block_on(async {
            let tasks = self.tasks().await?;
            let functions = Functions::new().add_in_transaction("bench:nothing", nothing);
            let started = Instant::now();
            let worker = self.start_worker(functions).await?;
            for oid in &oids {
                tasks.wait(*oid).await.map_err(io::Error::other)?;
            }
            let rate = rate(oids.len(), started);
            worker.drain(Duration::ZERO, Duration::ZERO);
            Ok(rate)
        })
    }

    fn latency(&self) -> io::Result<f64> {
        self.runtime.block_on(async {
            let (sender, mut begun) = mpsc::unbounded_channel();
            let begin = move |_: i64| {
                // The measurement may have ended.
                let _ = sender.send(Instant::now());
                Ok::<_, String>(())
            };
            let worker = self.start_worker(Functions::new().add("bench:nothing", begin)).await?;
            let mut tasks = self.tasks().await?;
            let mut latencies = Vec::new();
            for _ in 0..LATENCIES {
                let started = Instant::now();
                let oid = tasks.enqueue(&job()).await.map_err(io::Error::other)?;
                let at = begun.recv().await.ok_or_else(|| io::Error::other("no worker"))?;
                latencies.push(at.duration_since(started).as_secs_f64() * 1e3);
                tasks.wait(oid).await.map_err(io::Error::other)?;
            }
            worker.drain(Duration::ZERO, Duration::ZERO);
            Ok(median(latencies))
        })
    }

    async fn start_worker(&self, functions: Functions) -> io::Result<Worker> {
        let mut options = WorkerOptions::new("default", SLOTS, functions, self.client().await?);
        for _ in 0..CLIENTS {
            options.pool.push(self.client().await?);
        }
        let spawn: Spawn = Arc::new(|task| drop(tokio::spawn(task)));
        Ok(Worker::start(Tokio, &spawn, options).0)
    }
}

fn rate(jobs: usize, started: Instant) -> f64 {
    jobs as f64 / started.elapsed().as_secs_f64()
}

fn nothing(_: &mut Snapshot, _: i64) -> Result<(), Error> {
    Ok(())
}

fn job() -> NewJob {
    let mut call = Call::new("bench:nothing");
    call.args.push(1.into());
    NewJob { id: new_id(), call, options: Default::default() }
}

/// Enqueues some jobs in one commit, and returns their oids.
async fn enqueue(tasks: &mut Tasks, batch: usize) -> io::Result<Vec<Oid>> {
    if batch == 1 {
        return tasks.enqueue(&job()).await.map(|oid| vec![oid]).map_err(io::Error::other);
    }
    let jobs: Vec<NewJob> = (0..batch).map(|_| job()).collect();
    let database = tasks.database();
    let all = |snapshot: &mut Snapshot| -> Result<Vec<ObjectId>, Error> {
        // Keys only have to differ from each other.
        let enqueued = jobs.iter().zip(0..).map(|(job, at)| tasks.enqueue_in(snapshot, job, at));
        enqueued.collect()
    };
    let committed = database.transact(all).await.map_err(io::Error::other)?;
    Ok(committed.result.iter().filter_map(|job| committed.new_oids.get(job).copied()).collect())
}
