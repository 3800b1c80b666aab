//! One storage with its hub and its threads.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rzeo_core::server::{
    ConnId, Hub, HubInput, HubJob, HubOutput, HubRequest, HubSettings, Measured, Notice,
    perform_for_hub,
};
use rzeo_core::storage::{Finishing, Listener, Storage, StorageError};

use crate::crier::Calls;
use crate::{Clock, Overview, Seats, Wake, abort, log, read};

/// See the crate's introduction.
pub(crate) struct Unit {
    name: String,
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads of a unit share.
struct Core {
    storage: Arc<dyn Storage>,
    state: Mutex<State>,
    /// Rings when the hub has a timeout and the timer knows of none, or at the end.
    timer: Condvar,
    seats: Arc<Seats>,
    calls: Arc<Calls>,
    clock: Clock,
}

struct State {
    hub: Hub,
    /// `None` when the unit is closing: no more commits, no more jobs.
    writer: Option<Sender<Vec<Finishing>>>,
    /// Whether the timer knows of no timeout. If it knows of one, those that come up are later.
    timer_is_idle: bool,
    /// A pack that is switching files, which must not be interrupted by the end of the process.
    switching: Option<JoinHandle<()>>,
}

impl Unit {
    pub(crate) fn start(
        settings: HubSettings,
        storage: Arc<dyn Storage>,
        seats: Arc<Seats>,
        calls: Arc<Calls>,
        clock: Clock,
    ) -> Result<Self, StorageError> {
        let recent = storage.recent(settings.invalidation_queue_size)?;
        let last_tid = storage.last_tid();
        let name = settings.name.clone();
        let has_timeouts = settings.transaction_timeout.is_some();
        let hub = Hub::new(settings, last_tid, recent);
        let (writer, groups) = channel();
        let state = State { hub, writer: Some(writer), timer_is_idle: false, switching: None };
        let core = Arc::new(Core {
            storage,
            state: Mutex::new(state),
            timer: Condvar::new(),
            seats,
            calls,
            clock,
        });
        let listening = Arc::downgrade(&core);
        core.storage.listen(
            last_tid,
            Listener::new(move |news| {
                if let Some(core) = listening.upgrade() {
                    core.handle(HubInput::News(news));
                }
            }),
        );
        let mut threads = vec![spawn("writer", &core, move |core| core.write(&groups))];
        if has_timeouts {
            threads.push(spawn("timer", &core, |core| core.keep_time()));
        }
        Ok(Self { name, core, threads: Mutex::new(threads) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.core.storage
    }

    pub(crate) fn overview(&self) -> Overview {
        let storage = self.storage();
        let figures = lock(&self.core.state).hub.figures();
        Overview {
            name: self.name.clone(),
            description: storage.description(),
            info: storage.info(),
            last_tid: storage.last_tid(),
            figures,
            pack: storage.pack_progress(),
            broken: storage.broken(),
        }
    }

    pub(crate) fn measured(&self) -> Measured {
        lock(&self.core.state).hub.measured().clone()
    }

    pub(crate) fn request(&self, conn: ConnId, request: HubRequest) {
        self.core.handle(HubInput::Request(conn, request));
    }

    /// Ends the threads after what was given to them, then closes the storage. A pack that has not
    /// begun to switch files is left behind: the end of the process undoes it.
    pub(crate) fn close(&self) -> Result<(), StorageError> {
        let switching = {
            let mut state = lock(&self.core.state);
            state.writer = None;
            self.core.timer.notify_all();
            state.switching.take()
        };
        let threads = core::mem::take(&mut *lock(&self.threads));
        for thread in threads.into_iter().chain(switching) {
            // One that panicked would have ended the process.
            let _ = thread.join();
        }
        self.core.storage.close()
    }
}

impl Core {
    /// Feeds the hub and does what it says, under its lock, so that everything is delivered in the
    /// hub's order.
    fn handle(self: &Arc<Self>, input: HubInput) {
        let mut state = lock(&self.state);
        state.hub.handle_input(self.clock.now(), input);
        self.drain(&mut state);
    }

    fn drain(self: &Arc<Self>, state: &mut State) {
        let seats = read(&self.seats);
        let mut to_be_told = Vec::new();
        while let Some(output) = state.hub.poll_output() {
            match output {
                HubOutput::Deliver(conn, notice) => {
                    if let Some(seat) = seats.get(&conn) {
                        if matches!(notice, Notice::Registered { .. }) {
                            seat.place.registered();
                        }
                        if !matches!(notice, Notice::Invalidated { .. }) {
                            seat.inbox.push(Wake::Notice(notice));
                        } else if seat.inbox.push_quietly(Wake::Notice(notice)) {
                            to_be_told.push(seat.inbox.clone());
                        }
                    }
                }
                HubOutput::Commit(group) => {
                    if let Some(writer) = &state.writer {
                        writer
                            .send(group)
                            .expect("the writer lives as long as it is not told to end");
                    }
                }
                HubOutput::Perform(job) => self.start(state, job),
                HubOutput::Log(line) => log(&line),
            }
        }
        self.calls.call(to_be_told);
        if state.timer_is_idle && state.hub.poll_timeout().is_some() {
            self.timer.notify_one();
        }
    }

    /// The disk writer: one group at a time, and none is begun while another is under way, because
    /// the hub gives the next when the result of the last was fed.
    fn write(self: &Arc<Self>, groups: &Receiver<Vec<Finishing>>) {
        while let Ok(group) = groups.recv() {
            let result = self.storage.commit(group);
            self.handle(HubInput::Committed(result));
        }
    }

    fn start(self: &Arc<Self>, state: &mut State, job: HubJob) {
        if state.writer.is_none() {
            return;
        }
        let is_switch = matches!(job, HubJob::FinishPack(_));
        let thread = spawn("pack", self, move |core| {
            let done = perform_for_hub(&*core.storage, job);
            core.handle(HubInput::Done(done));
        });
        state.switching = is_switch.then_some(thread);
    }

    fn keep_time(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        while state.writer.is_some() {
            let now = self.clock.now();
            state.hub.handle_timeout(now);
            self.drain(&mut state);
            state = match state.hub.poll_timeout() {
                Some(deadline) => {
                    let wait = deadline.0.saturating_sub(now.instant.0);
                    let woken = self.timer.wait_timeout(state, wait);
                    woken.unwrap_or_else(|_| abort("the hub")).0
                }
                None => {
                    state.timer_is_idle = true;
                    self.timer.wait(state).unwrap_or_else(|_| abort("the hub"))
                }
            };
            state.timer_is_idle = false;
        }
    }
}

/// Nobody may go on with what a panic has left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|_| abort("the hub"))
}

/// Ends the process with the thread that holds it.
struct EndsWithPanic;

impl Drop for EndsWithPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            abort("a thread of a storage");
        }
    }
}

/// A thread of its own for something of this unit. Without threads there is no server.
fn spawn(
    what: &str,
    core: &Arc<Core>,
    body: impl FnOnce(&Arc<Core>) + Send + 'static,
) -> JoinHandle<()> {
    let core = core.clone();
    std::thread::Builder::new()
        .name(what.to_owned())
        .spawn(move || {
            let _guard = EndsWithPanic;
            body(&core);
        })
        .expect("the system has room for one more thread")
}
