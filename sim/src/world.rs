//! The main loop: applications act, the network moves bytes, and faults happen, as a seed decides.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use rzeo_core::client::ClientSettings;
use rzeo_core::client::cache::Cache;
use rzeo_core::server::{CloseReason, Limits, LockScope};
use rzeo_core::wire::Codec;
use rzeo_core::{Instant, Now, Oid, Tid, UnixTime};
use rzeo_storage::disk::memory::Fault as CallFault;

use crate::application::{Application, Context, Invalidation, Shared};
use crate::coverage::Coverage;
use crate::disk_faults::DiskFault;
use crate::objects;
use crate::server_host::{PATH, ServerHost, first_tid};
use crate::workload::{Action, Fault, TransactionKind, Workload};
use rzeo_fixtures::client::ClientRig;
use rzeo_fixtures::network::{Network, Step};
use rzeo_fixtures::random::Random;
use rzeo_fixtures::server::{START_TIME, Setup};
use rzeo_script::Queue;

/// Number of actions in a world before the faults stop, unless the plan has another number.
pub const STEPS: usize = 400;

/// Number of clients; each has a counter.
const CLIENTS: usize = 4;
/// Number of addresses; at most one of them has a server.
const SERVERS: usize = 2;

/// Log messages of a client that cannot read its server or that misses commits.
const UNEXPECTED: [&str; 4] =
    ["unreadable message", "cannot be understood", "was not made", "the same database"];

/// A world, while it runs.
pub(crate) struct World {
    random: Random,
    actions: Vec<(usize, Action)>,
    faults: (usize, Vec<(usize, Fault)>),
    setup: Setup,
    network: Network,
    host: ServerHost,
    applications: Vec<Application>,
    /// The first tids and the invalidations of clients that have ended.
    ended: Vec<(Tid, Vec<Invalidation>)>,
    pub(crate) shared: Shared,
    now: Now,
    cache_bytes: Vec<usize>,
    /// Cache journals of killed clients.
    journals: Vec<Vec<u8>>,
    /// The delayed tasks of the server, and until when.
    slow: Option<(Queue, Instant)>,
}

impl World {
    pub(crate) fn new(seed: u64, workload: Workload, shared: Shared) -> Self {
        let mut random = Random::new(seed);
        let clients_resolve = workload.clients_resolve().unwrap_or(random.below(2) == 0);
        let backlog = [600, 20_000, 256 << 20][random.below(3)];
        let setup = Setup {
            codec: if random.below(3) == 0 { Codec::Msgpack } else { Codec::Pickle },
            client_conflict_resolution: clients_resolve,
            invalidation_queue_size: 2 + random.below(20),
            invalidation_age: [None, Some(600.0)][random.below(2)],
            transaction_timeout: [None, Some(Duration::from_secs(1))][random.below(2)],
            lock_scope: [LockScope::Objects, LockScope::Storage][random.below(2)],
            limits: Limits {
                backlog_bytes_max: backlog,
                backlog_bytes_high: backlog / 2,
                transaction_memory_bytes: [300, 8 << 20][random.below(2)],
                ..Limits::default()
            },
            ..Setup::default()
        };
        let now = Now { instant: Instant::START, wall: UnixTime(START_TIME) };
        let servers = (0..SERVERS).map(|_| None).collect();
        let network = Network::new(servers, Random::new(random.next()));
        let sizes = [0, 400, 4000, 1 << 20];
        let cache_bytes = (0..CLIENTS).map(|_| sizes[random.below(sizes.len())]).collect();
        let host = ServerHost::new(&mut random);
        let mut world = Self {
            random,
            actions: workload.actions(),
            faults: workload.faults(),
            setup,
            network,
            host,
            applications: Vec::new(),
            ended: Vec::new(),
            shared,
            now,
            cache_bytes,
            journals: vec![Vec::new(); CLIENTS],
            slow: None,
        };
        world.shared.oracle.clients_resolve = clients_resolve;
        let first = world.host.disk().bytes(PATH).expect("there is a database");
        world.shared.oracle.read_new(&first, first_tid());
        world.start_server();
        for application in 0..CLIENTS {
            let cache = Cache::new(world.cache_bytes[application]);
            let rig = world.client(application, cache);
            world.network.clients.push(Some(rig));
            world.applications.push(Application::new(application as u64, Tid::ZERO));
        }
        world
    }

    fn client(&mut self, application: usize, mut cache: Cache) -> ClientRig {
        cache.keep_journal();
        let settings = ClientSettings {
            servers: SERVERS,
            cache_bytes: self.cache_bytes[application],
            wait_timeout: Duration::from_secs(3),
            seed: self.random.next(),
            ..ClientSettings::default()
        };
        ClientRig::new_at(self.now, settings, cache)
    }

    /// Starts a server, unless a fault prevents it.
    fn start_server(&mut self) {
        let started = self.host.start(&self.setup, self.now, &mut self.random, &mut self.shared);
        self.count_disk();
        let Some(rig) = started else { return };
        let address = self.random.below(SERVERS);
        self.network.servers[address] = Some(rig);
        self.log(|| format!("a server starts at address {address}"));
    }

    fn has_server(&self) -> bool {
        self.network.servers.iter().any(Option::is_some)
    }

    /// Runs actions and faults, with some steps of the network after each.
    pub(crate) fn run(&mut self, actions: usize) {
        for step in 0..actions {
            self.shared.trace.step = step;
            let time = Duration::from_micros(self.random.next() % 20_000);
            self.advance(time);
            if self.random.below(1000) < self.faults.0 {
                let fault = self.random.weighted(&self.faults.1);
                self.inject(fault);
            } else {
                let application = self.random.below(CLIENTS);
                let action = self.random.weighted(&self.actions);
                self.with(application, |application, context| application.act(context, action));
            }
            let steps = self.random.below(40);
            self.run_network(steps);
            if !self.has_server() && self.random.below(20) == 0 {
                self.start_server();
            }
            if self.host.is_broken() && self.random.below(30) == 0 {
                self.shared.coverage.count("storages that refused commits");
                self.stop_server();
            }
        }
    }

    /// Calls a function with an application and its context.
    fn with(
        &mut self,
        application: usize,
        function: impl FnOnce(&mut Application, &mut Context<'_>),
    ) {
        let rig =
            self.network.clients[application].as_mut().expect("every application has a client");
        let mut context = Context { rig, random: &mut self.random, shared: &mut self.shared };
        function(&mut self.applications[application], &mut context);
    }

    fn process_events(&mut self, application: usize) {
        self.with(application, Application::process_events);
    }

    fn process_all_events(&mut self) {
        (0..CLIENTS).for_each(|application| self.process_events(application));
    }

    /// Runs steps of the network; `false` if nothing is left to do now.
    fn run_network(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            match self.network.step() {
                Step::Client(application) => self.process_events(application),
                Step::Server => self.check_disk(),
                Step::Bytes => {}
                Step::Nothing => return false,
            }
        }
        true
    }

    /// Checks the disk after a step of a server.
    fn check_disk(&mut self) {
        if self.host.has_crashed() {
            self.server_crashed();
        } else {
            self.host.read_new(&mut self.shared);
        }
        self.count_disk();
    }

    fn count_disk(&mut self) {
        self.shared.coverage += &self.host.take_happened();
        let failed = [
            "calls that failed on a broken disk",
            "calls that failed for lack of space",
            "reads that failed",
        ];
        self.shared.disk_has_failed |= failed.iter().any(|what| self.shared.coverage.of(what) > 0);
    }

    fn advance(&mut self, time: Duration) {
        self.now.instant = self.now.instant.after(time);
        self.now.wall.0 += time.as_secs_f64();
        self.shared.trace.time = self.now.instant.0;
        self.network.advance(time);
        if let Some((queue, until)) = self.slow
            && until <= self.now.instant
        {
            self.slow = None;
            self.network.servers.iter_mut().flatten().for_each(|server| server.release(queue));
        }
        self.process_all_events();
        self.check_connections();
    }

    /// Checks why servers closed connections, and how much they queue for clients that do not read.
    fn check_connections(&mut self) {
        for reason in std::mem::take(&mut self.network.closed) {
            self.shared.coverage.count(match reason {
                CloseReason::Gone => "connections that a server ended",
                CloseReason::TransactionTimeout { .. } => "transactions that took too long",
                CloseReason::RegisterTimeout { .. } => "connections that did not register",
                CloseReason::Backlog { .. } => "connections closed for their backlog",
                CloseReason::OneWayRefused { .. } if self.shared.disk_has_failed => {
                    "uploads that failed on the disk"
                }
                reason => panic!("a server closed a connection: {reason}"),
            });
        }
        let (unread, max) = (self.network.unread_bytes(), self.setup.limits.backlog_bytes_max);
        // The server checks the limit at each invalidation, so one message may exceed it.
        assert!(
            unread <= max + (512 << 10),
            "{unread} bytes are queued for a client, the limit is {max}"
        );
    }

    fn inject(&mut self, fault: Fault) {
        self.shared.coverage.count("faults");
        let application = self.random.below(CLIENTS);
        self.log(|| format!("FAULT: {fault:?} ({application})"));
        let happened = match fault {
            Fault::Cut => self.network.cut(application).then_some("connections that were cut"),
            Fault::HalfCut => {
                self.network.half_cut(application).then_some("connections that one side lost")
            }
            Fault::Stall => self.network.stall(application).then_some("connections that stalled"),
            Fault::StopReading => {
                if self.random.below(2) == 0 {
                    self.network.resume_reading();
                }
                self.network.stop_reading(application).then_some("clients that stopped reading")
            }
            Fault::CutAll => {
                (0..CLIENTS).for_each(|application| while self.network.cut(application) {});
                Some("storms")
            }
            Fault::KillClient => {
                self.kill_client(application);
                Some("clients that were killed")
            }
            Fault::StopServer => {
                self.stop_server();
                None
            }
            Fault::KillServer => {
                self.host.kill(&mut self.random);
                self.check_disk();
                None
            }
            Fault::Disk => {
                self.arm();
                None
            }
            Fault::SlowSync => self.slow_sync().then_some("slow syncs"),
            Fault::ClockJump => self.clock_jump().then_some("clock jumps"),
            Fault::Pause => {
                self.advance(Duration::from_secs(2));
                None
            }
        };
        happened.into_iter().for_each(|what| self.shared.coverage.count(what));
        self.process_all_events();
    }

    /// Arms a fault of the disk.
    fn arm(&mut self) {
        let random = &mut self.random;
        let times = [1, 1, 2, 10, 1000][random.below(5)];
        let fault = match random.below(6) {
            0 => DiskFault::Kill,
            1 | 2 => DiskFault::PowerCut,
            3 => DiskFault::Fail(CallFault::NoSpace, times),
            4 => DiskFault::Fail(CallFault::Broken, times),
            _ => DiskFault::FailReads(times.min(10)),
        };
        let after = u32::try_from(random.below(30)).unwrap_or_default();
        self.log(|| format!("{fault:?} in {after} calls"));
        self.host.arm(after, fault);
    }

    /// Delays the commits of the server.
    fn slow_sync(&mut self) -> bool {
        let queue = [Queue::Commits, Queue::Committed][self.random.below(2)];
        let Some(server) = self.network.servers.iter_mut().flatten().next() else { return false };
        if self.slow.is_some() {
            return false;
        }
        server.hold(queue);
        let time = Duration::from_millis(self.random.next() % 3000);
        self.slow = Some((queue, self.now.instant.after(time)));
        true
    }

    /// Moves the server's clock by up to an hour, in either direction.
    fn clock_jump(&mut self) -> bool {
        let seconds = i32::try_from(self.random.below(7200)).unwrap_or_default() - 3600;
        let server = self.network.servers.iter_mut().flatten().next();
        server.map(|server| server.now.wall.0 += f64::from(seconds)).is_some()
    }

    /// Handles a crash of the server.
    fn server_crashed(&mut self) {
        self.slow = None;
        self.shared.new_oids = None;
        for server in 0..SERVERS {
            drop(self.network.stop_server(server));
        }
        self.host.take_crash_image(&mut self.shared);
        self.log(|| "the server has crashed".into());
        self.process_all_events();
    }

    /// Stops the server cleanly: it answers pending requests and closes its storage.
    fn stop_server(&mut self) {
        self.slow = None;
        self.shared.new_oids = None;
        for server in 0..SERVERS {
            let Some(rig) = &mut self.network.servers[server] else { continue };
            for queue in [Queue::Commits, Queue::Committed] {
                rig.release(queue);
            }
            for client in rig.clients() {
                rig.stop(client);
            }
            while rig.step_shuffled(&mut self.random) {
                if self.host.has_crashed() {
                    break;
                }
            }
            if !self.host.has_crashed() {
                self.host.read_new(&mut self.shared);
            }
            drop(self.network.stop_server(server));
            self.shared.coverage.count("servers that were stopped");
        }
        self.host.stop(&mut self.shared);
        self.count_disk();
        self.log(|| "the server has stopped".into());
        self.process_all_events();
    }

    /// Kills a client, and starts another one with the cache that its journal holds.
    fn kill_client(&mut self, application: usize) {
        self.process_events(application);
        self.compare_cache(application);
        let killed = self.network.kill_client(application).expect("every application has a client");
        self.check_log(&killed);
        let cache = self.cache_of(application, &killed.journal);
        let next = Application::new(application as u64, cache.last_tid());
        let ended = std::mem::replace(&mut self.applications[application], next);
        let started_at = ended.started_at;
        self.ended.push((started_at, ended.end(&mut self.shared)));
        let rig = self.client(application, cache);
        self.network.clients[application] = Some(rig);
        self.process_events(application);
    }

    fn compare_cache(&mut self, application: usize) {
        let rig =
            self.network.clients[application].as_mut().expect("every application has a client");
        self.applications[application].compare_cache(rig, &mut self.shared);
    }

    fn check_log(&mut self, rig: &ClientRig) {
        let evictions = rig.client.cache().statistics().evictions;
        self.shared.coverage.add("evictions", evictions);
        for line in &rig.logged {
            assert!(
                !UNEXPECTED.iter().any(|problem| line.contains(problem)),
                "a client logged: {line}"
            );
        }
    }

    /// The cache from a journal whose last writes may be lost.
    fn cache_of(&mut self, application: usize, written: &[u8]) -> Cache {
        let journal = &mut self.journals[application];
        journal.extend_from_slice(written);
        let lost = if self.random.below(2) == 0 { 0 } else { self.random.below(300) };
        journal.truncate(journal.len().saturating_sub(lost));
        let mut replay = Cache::replay(self.cache_bytes[application]);
        let mut rest = &journal[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(1 + self.random.below(rest.len()));
            replay.feed(piece);
            rest = later;
        }
        let (cache, good) = replay.finish();
        journal.truncate(usize::try_from(good).expect("it is in memory"));
        self.shared.coverage.add("caches that survived", u64::from(!cache.is_empty()));
        cache
    }

    /// Stops the faults, and checks that every request is answered, that every client can commit, and that caches,
    /// outcomes and invalidations agree with the oracle.
    ///
    /// A world without commits and faults would show nothing, so it fails, too.
    pub(crate) fn finish(&mut self) -> Coverage {
        let faults = self.shared.coverage.of("faults");
        let steps = self.shared.trace.step;
        assert!(steps < STEPS || faults > 0, "no fault happened in {steps} steps");
        self.log(|| "the faults stop".into());
        self.slow = None;
        self.network.resume_reading();
        self.host.disarm();
        for server in self.network.servers.iter_mut().flatten() {
            [Queue::Commits, Queue::Committed].into_iter().for_each(|queue| server.release(queue));
        }
        self.settle();
        for application in 0..CLIENTS {
            self.must_commit(application);
        }
        let last = self.shared.oracle.last_tid();
        for application in 0..CLIENTS {
            let client = &self.network.clients[application]
                .as_ref()
                .expect("every application has a client")
                .client;
            assert!(client.is_connected());
            assert_eq!((self.applications[application].last_tid, client.last_tid()), (last, last));
            self.compare_cache(application);
            let rig =
                self.network.clients[application].take().expect("every application has a client");
            self.check_log(&rig);
        }
        self.shared.oracle.compare_outcomes();
        for application in std::mem::take(&mut self.applications) {
            self.ended.push((application.started_at, application.invalidations));
        }
        let history: BTreeMap<_, _> = self.shared.oracle.between(Tid::ZERO, last).collect();
        for (started_at, invalidations) in &self.ended {
            check_complete(*started_at, invalidations, &history);
        }
        self.shared.coverage.add("resolved conflicts", self.shared.oracle.resolved);
        self.shared.coverage.clone()
    }

    /// Checks that a client can commit.
    fn must_commit(&mut self, application: usize) {
        let commits = |world: &Self| world.shared.coverage.of("commits");
        let before = commits(self);
        for _ in 0..30 {
            if commits(self) > before {
                return;
            }
            let action = Action::Transaction(TransactionKind::Transfer);
            self.with(application, |application, context| application.act(context, action));
            self.settle();
        }
        panic!("client {application} cannot commit");
    }

    /// Runs until no request is pending.
    fn settle(&mut self) {
        for round in 0..1000 {
            if self.host.is_broken() {
                self.stop_server();
            }
            if !self.has_server() {
                self.host.disarm();
                self.start_server();
                self.host.disarm();
            }
            while self.run_network(1000) {}
            for application in 0..CLIENTS {
                let rig = self.network.clients[application]
                    .as_mut()
                    .expect("every application has a client");
                self.applications[application].read_all_files(rig);
                self.process_events(application);
            }
            while self.run_network(1000) {}
            if self.applications.iter().all(Application::is_idle) && self.are_connected() {
                return;
            }
            self.advance(Duration::from_millis(if round < 50 { 50 } else { 500 }));
        }
        panic!("a request is never answered: {:#?}", self.applications);
    }

    fn are_connected(&self) -> bool {
        self.network.clients.iter().flatten().all(|rig| rig.client.is_connected())
    }

    fn log(&mut self, what: impl FnOnce() -> String) {
        self.shared.trace.mark(self.random.clone().next());
        self.shared.trace.log(what);
    }
}

/// Checks that from each tid to the next exactly the objects that changed in between were invalidated, or
/// everything.
fn check_complete(
    started_at: Tid,
    invalidations: &[Invalidation],
    history: &BTreeMap<Tid, Vec<Oid>>,
) {
    let mut last = started_at;
    for invalidation in invalidations {
        if let Invalidation::Changed(tid, oids) = invalidation {
            let between = history.range(last.next()..=*tid);
            let changed: BTreeSet<Oid> = between.flat_map(|(_, oids)| oids).copied().collect();
            assert_eq!(*oids, changed, "from {last} to {tid}");
        }
        last = invalidation.tid();
    }
}

const _: () = assert!(CLIENTS as u64 == objects::COUNTERS);
