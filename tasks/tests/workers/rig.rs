//! A server in a thread, with its clients and workers on one of the runtimes.

use std::future::{Future, pending};
use std::sync::Arc;
use std::thread::JoinHandle;

use futures_channel::oneshot;
use rzeo_client::{Client, ClientOptions};
use rzeo_core::Oid;
use rzeo_net::smol::Smol;
use rzeo_net::tokio::Tokio;
use rzeo_net::{Address, listen};
use rzeo_objects::PyValue;
use rzeo_storage::MappingStorage;
use rzeo_tasks::rzeo_zasync::{self, Call, JobOptions, NewJob};
use rzeo_tasks::{Functions, Spawn, Tasks, Worker, WorkerEnd, WorkerOptions, new_id};
use rzeo_tokio::{Host, Settings, StorageSpec};

const QUEUE: &str = "default";

#[derive(Clone, Copy, Debug)]
enum Runtime {
    Tokio,
    Smol,
}

/// Runs a test on tokio, and then on smol.
pub(crate) fn on_both_runtimes<F: Future<Output = ()>>(test: impl Fn(Rig) -> F) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(test(Rig::start(Runtime::Tokio)));
    smol::block_on(test(Rig::start(Runtime::Smol)));
}

pub(crate) struct Rig {
    runtime: Runtime,
    storage: Arc<MappingStorage>,
    address: Address,
    server: Option<Server>,
}

struct Server {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Rig {
    fn start(runtime: Runtime) -> Self {
        let storage = Arc::new(MappingStorage::new());
        let (address, server) = Server::start(runtime, &storage, &Address::tcp("127.0.0.1", 0));
        Self { runtime, storage, address, server: Some(server) }
    }

    /// Stops the server, and starts another one with the same storage at the same address.
    pub(crate) fn restart(&mut self) {
        self.server.take().unwrap().stop();
        let (_, server) = Server::start(self.runtime, &self.storage, &self.address);
        self.server = Some(server);
    }

    async fn client(&self) -> Client {
        let options = ClientOptions::new([self.address.clone()]);
        match self.runtime {
            Runtime::Tokio => rzeo_tokio::connect(options).await.unwrap(),
            Runtime::Smol => rzeo_smol::connect(options).await.unwrap(),
        }
    }

    /// The queue, which is created if it is absent.
    pub(crate) async fn tasks(&self) -> Tasks {
        let tasks = Tasks::new(self.client().await, QUEUE);
        tasks.create().await.unwrap();
        tasks
    }

    pub(crate) async fn enqueue(&self, tasks: &mut Tasks, call: &str, args: Vec<PyValue>) -> Oid {
        tasks.enqueue(&job(call, args)).await.unwrap()
    }

    /// A worker with a client for each slot.
    pub(crate) async fn worker(&self, functions: Functions, slots: u32) -> Running {
        let mut options = WorkerOptions::new(QUEUE, slots, functions, self.client().await);
        for _ in 0..slots {
            options.pool.push(self.client().await);
        }
        let (worker, ended) = match self.runtime {
            Runtime::Tokio => {
                let spawn: Spawn = Arc::new(|task| drop(tokio::spawn(task)));
                Worker::start(Tokio, &spawn, options)
            }
            Runtime::Smol => {
                let spawn: Spawn = Arc::new(|task| smol::spawn(task).detach());
                Worker::start(Smol, &spawn, options)
            }
        };
        Running { worker, ended }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.server.take().into_iter().for_each(Server::stop);
    }
}

impl Server {
    fn start(
        runtime: Runtime,
        storage: &Arc<MappingStorage>,
        address: &Address,
    ) -> (Address, Self) {
        let spec = StorageSpec { name: "1".to_owned(), storage: storage.clone() };
        let host = Host::new(&Settings::default(), vec![spec]).unwrap();
        let listeners = listen(address).unwrap();
        let address = listeners[0].address().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { stopped.await.unwrap_or_default() };
        let thread = std::thread::spawn(move || {
            let served = match runtime {
                Runtime::Tokio => {
                    rzeo_tokio::serve_blocking(host, listeners, None, stopped, pending())
                }
                Runtime::Smol => {
                    rzeo_smol::serve_blocking(host, listeners, None, stopped, pending())
                }
            };
            served.unwrap();
        });
        (address, Self { stop, thread })
    }

    fn stop(self) {
        drop(self.stop);
        self.thread.join().unwrap();
    }
}

/// A worker that is running.
pub(crate) struct Running {
    pub(crate) worker: Worker,
    pub(crate) ended: WorkerEnd,
}

impl Running {
    /// Drains the worker, which has nothing to do any more.
    pub(crate) async fn end(self) {
        self.worker.drain(crate::LONG, crate::LONG);
        self.ended.await;
    }
}

pub(crate) fn job(call: &str, args: Vec<PyValue>) -> NewJob {
    let call = Call { call: call.to_owned(), args, kwargs: Vec::new() };
    NewJob { id: new_id(), call, options: JobOptions::default() }
}

/// Why an operation of the application changes nothing.
#[derive(Debug)]
pub(crate) enum Stop {
    Application,
    #[expect(dead_code, reason = "a failed test shows it")]
    Tasks(rzeo_zasync::Error),
}

impl From<rzeo_zasync::Error> for Stop {
    fn from(error: rzeo_zasync::Error) -> Self {
        Self::Tasks(error)
    }
}

impl From<rzeo_objects::Error> for Stop {
    fn from(error: rzeo_objects::Error) -> Self {
        Self::Tasks(error.into())
    }
}
