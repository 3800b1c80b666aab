//! One storage with its hub, its disk writer and its timer.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rzeo_core::server::{
    CommitHistograms, ConnId, Hub, HubInput, HubJob, HubOutput, HubRequest, HubSettings, Urgency,
    perform_hub_job,
};
use rzeo_core::storage::{Finishing, Storage, StorageError, Subscriber};

use crate::batch_waker::WakeList;
use crate::clock::Clock;
use crate::connection_slots::ConnectionSlots;
use crate::inbox::InboxMessage;
use crate::log::{abort, log};
use crate::overview::Overview;

/// A storage that is served. See the crate's introduction.
pub(crate) struct ServedStorage {
    name: String,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads of a served storage share.
struct Shared {
    storage: Arc<dyn Storage>,
    state: Mutex<HubState>,
    /// Signaled when the hub has a timeout and the timer has none, or at the end.
    timer: Condvar,
    slots: Arc<ConnectionSlots>,
    wake_list: Arc<WakeList>,
    clock: Clock,
}

struct HubState {
    hub: Hub,
    /// `None` while the storage is closing: no more commits, no more jobs.
    writer: Option<Sender<Vec<Finishing>>>,
    /// Whether the timer knows of no timeout. If it knows of one, those that come up are later.
    timer_is_idle: bool,
    /// A pack that is switching files, which must not be interrupted by the end of the process.
    switching: Option<JoinHandle<()>>,
}

impl ServedStorage {
    pub(crate) fn start(
        settings: HubSettings,
        storage: Arc<dyn Storage>,
        slots: Arc<ConnectionSlots>,
        wake_list: Arc<WakeList>,
        clock: Clock,
    ) -> Result<Self, StorageError> {
        let recent = storage.recent(settings.invalidation_queue_size)?;
        let last_tid = storage.last_tid();
        let name = settings.name.clone();
        let has_timeouts = settings.transaction_timeout.is_some();
        let hub = Hub::new(settings, last_tid, recent);
        let (writer, groups) = channel();
        let state = HubState { hub, writer: Some(writer), timer_is_idle: false, switching: None };
        let shared = Arc::new(Shared {
            storage,
            state: Mutex::new(state),
            timer: Condvar::new(),
            slots,
            wake_list,
            clock,
        });
        let listening = Arc::downgrade(&shared);
        shared.storage.subscribe(
            last_tid,
            Subscriber::new(move |event| {
                if let Some(shared) = listening.upgrade() {
                    shared.handle(HubInput::StorageEvent(event));
                }
            }),
        );
        let mut threads = vec![spawn("writer", &shared, move |shared| shared.write(&groups))];
        if has_timeouts {
            threads.push(spawn("timer", &shared, |shared| shared.keep_time()));
        }
        Ok(Self { name, shared, threads: Mutex::new(threads) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.shared.storage
    }

    pub(crate) fn overview(&self) -> Overview {
        let storage = self.storage();
        let figures = lock(&self.shared.state).hub.figures();
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

    pub(crate) fn histograms(&self) -> CommitHistograms {
        lock(&self.shared.state).hub.histograms().clone()
    }

    pub(crate) fn request(&self, conn: ConnId, request: HubRequest) {
        self.shared.handle(HubInput::Request(conn, request));
    }

    /// Ends the threads after what was given to them, then closes the storage. A pack that has not
    /// begun to switch files is left behind: the end of the process undoes it.
    pub(crate) fn close(&self) -> Result<(), StorageError> {
        let switching = {
            let mut state = lock(&self.shared.state);
            state.writer = None;
            self.shared.timer.notify_all();
            state.switching.take()
        };
        let threads = core::mem::take(&mut *lock(&self.threads));
        for thread in threads.into_iter().chain(switching) {
            // One that panicked would have ended the process.
            let _ = thread.join();
        }
        self.shared.storage.close()
    }
}

impl Shared {
    /// Feeds the hub and performs its outputs under its lock, so that everything is delivered in the
    /// hub's order.
    fn handle(self: &Arc<Self>, input: HubInput) {
        let mut state = lock(&self.state);
        state.hub.handle_input(self.clock.now(), input);
        self.drain(&mut state);
    }

    fn drain(self: &Arc<Self>, state: &mut HubState) {
        let slots = self.slots.read();
        let mut to_wake = Vec::new();
        while let Some(output) = state.hub.poll_output() {
            match output {
                HubOutput::Registered(conn) => {
                    if let Some(slot) = slots.get(&conn) {
                        slot.admission.registered();
                    }
                }
                HubOutput::Deliver { conn, notice, urgency } => {
                    let Some(slot) = slots.get(&conn) else { continue };
                    let message = InboxMessage::Notice(notice);
                    match urgency {
                        Urgency::Now => slot.inbox.push(message),
                        Urgency::Later => {
                            if slot.inbox.push_quietly(message) {
                                to_wake.push(slot.inbox.clone());
                            }
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
        self.wake_list.wake(to_wake);
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

    fn start(self: &Arc<Self>, state: &mut HubState, job: HubJob) {
        if state.writer.is_none() {
            return;
        }
        let is_switch = matches!(job, HubJob::FinishPack(..));
        let thread = spawn("pack", self, move |shared| {
            let done = perform_hub_job(&*shared.storage, job);
            shared.handle(HubInput::Done(done));
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

/// No thread may continue with what a panic has left half done.
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

/// Starts a thread of this storage. Without threads there is no server.
fn spawn(
    what: &str,
    shared: &Arc<Shared>,
    body: impl FnOnce(&Arc<Shared>) + Send + 'static,
) -> JoinHandle<()> {
    let shared = shared.clone();
    std::thread::Builder::new()
        .name(what.to_owned())
        .spawn(move || {
            let _guard = EndsWithPanic;
            body(&shared);
        })
        .expect("the system has room for one more thread")
}
