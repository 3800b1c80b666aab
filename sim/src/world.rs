//! A database, a server that comes and goes, a network, applications, and a seed that decides.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use rzeo_core::client::ClientSettings;
use rzeo_core::client::cache::Cache;
use rzeo_core::ids::{Oid, Tid};
use rzeo_core::server::{CloseReason, Limits, LockScope};
use rzeo_core::time::{Instant, Now, UnixTime};
use rzeo_core::wire::Codec;
use rzeo_storage::disk::memory::Fault;

use crate::application::{Desk, Heard, Person, Shared};
use crate::coverage::Coverage;
use crate::disk_faults::Doom;
use crate::objects;
use crate::server_host::{Machine, PATH, first_tid};
use crate::workload::{Habit, Trouble, Workload};
use rzeo_fixtures::client::ClientRig;
use rzeo_fixtures::network::{Network, Step};
use rzeo_fixtures::random::Random;
use rzeo_fixtures::server::{START_TIME, Setup};
use rzeo_script::Hold;

/// Number of actions in a world before the faults stop, unless the plan says otherwise.
pub const STEPS: usize = 400;

/// As many as there are counters.
const PEOPLE: usize = 4;
/// Addresses; at one of them there is a server, most of the time.
const SERVERS: usize = 2;

/// What a client says in its log of a server that it cannot make sense of, or that has lost commits.
const ODD: [&str; 4] =
    ["unreadable message", "cannot be understood", "was not made", "the same database"];

/// See the module's introduction.
pub(crate) struct World {
    random: Random,
    habits: Vec<(usize, Habit)>,
    troubles: (usize, Vec<(usize, Trouble)>),
    setup: Setup,
    network: Network,
    machine: Machine,
    people: Vec<Person>,
    /// Where clients began and what they heard, of those that are gone.
    gone: Vec<(Tid, Vec<Heard>)>,
    pub(crate) shared: Shared,
    now: Now,
    cache_bytes: Vec<usize>,
    /// The files of the caches of those that were killed before.
    journals: Vec<Vec<u8>>,
    /// What is kept back, and until when.
    slow: Option<(Hold, Instant)>,
}

impl World {
    pub(crate) fn new(seed: u64, workload: Workload, shared: Shared) -> Self {
        let mut random = Random::new(seed);
        let clients_merge = workload.clients_merge().unwrap_or(random.below(2) == 0);
        let backlog = [600, 20_000, 256 << 20][random.below(3)];
        let setup = Setup {
            codec: if random.below(3) == 0 { Codec::Msgpack } else { Codec::Pickle },
            client_conflict_resolution: clients_merge,
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
        let cache_bytes = (0..PEOPLE).map(|_| sizes[random.below(sizes.len())]).collect();
        let machine = Machine::new(&mut random);
        let mut world = Self {
            random,
            habits: workload.habits(),
            troubles: workload.troubles(),
            setup,
            network,
            machine,
            people: Vec::new(),
            gone: Vec::new(),
            shared,
            now,
            cache_bytes,
            journals: vec![Vec::new(); PEOPLE],
            slow: None,
        };
        world.shared.truth.clients_merge = clients_merge;
        let first = world.machine.disk().bytes(PATH).expect("there is a database");
        world.shared.truth.learn(&first, first_tid());
        world.start_server();
        for person in 0..PEOPLE {
            let cache = Cache::new(world.cache_bytes[person]);
            let rig = world.client(person, cache);
            world.network.clients.push(Some(rig));
            world.people.push(Person::new(person as u64, Tid::ZERO));
        }
        world
    }

    fn client(&mut self, person: usize, mut cache: Cache) -> ClientRig {
        cache.keep_journal();
        let settings = ClientSettings {
            servers: SERVERS,
            cache_bytes: self.cache_bytes[person],
            wait_timeout: Duration::from_secs(3),
            seed: self.random.next(),
            ..ClientSettings::default()
        };
        ClientRig::new_at(self.now, settings, cache)
    }

    /// Tries to, because the disk may fail, or the process die.
    fn start_server(&mut self) {
        let started = self.machine.start(&self.setup, self.now, &mut self.random, &mut self.shared);
        self.count_disk();
        let Some(rig) = started else { return };
        let place = self.random.below(SERVERS);
        self.network.servers[place] = Some(rig);
        self.say(|| format!("a server starts at address {place}"));
    }

    fn has_server(&self) -> bool {
        self.network.servers.iter().any(Option::is_some)
    }

    /// Lets applications act, and the network a little in between.
    pub(crate) fn live(&mut self, actions: usize) {
        for step in 0..actions {
            self.shared.trace.step = step;
            let time = Duration::from_micros(self.random.next() % 20_000);
            self.pass(time);
            if self.random.below(1000) < self.troubles.0 {
                let trouble = self.random.weighted(&self.troubles.1);
                self.trouble(trouble);
            } else {
                let person = self.random.below(PEOPLE);
                let habit = self.random.weighted(&self.habits);
                self.with(person, |person, desk| person.act(desk, habit));
            }
            let steps = self.random.below(40);
            self.work(steps);
            if !self.has_server() && self.random.below(20) == 0 {
                self.start_server();
            }
            if self.machine.is_broken() && self.random.below(30) == 0 {
                self.shared.coverage.count("storages that were broken");
                self.stop_server();
            }
        }
    }

    /// Something happens to a person, or by them.
    fn with(&mut self, person: usize, what: impl FnOnce(&mut Person, &mut Desk<'_>)) {
        let rig = self.network.clients[person].as_mut().expect("all are alive");
        let mut desk = Desk { rig, random: &mut self.random, shared: &mut self.shared };
        what(&mut self.people[person], &mut desk);
    }

    fn listen(&mut self, person: usize) {
        self.with(person, Person::hear);
    }

    fn listen_to_all(&mut self) {
        (0..PEOPLE).for_each(|person| self.listen(person));
    }

    /// `false` if there is nothing more to be done now.
    fn work(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            match self.network.step() {
                Step::Client(person) => self.listen(person),
                Step::Server => self.look_at_the_disk(),
                Step::Bytes => {}
                Step::Nothing => return false,
            }
        }
        true
    }

    /// A server may have written, or died of it.
    fn look_at_the_disk(&mut self) {
        if self.machine.is_dead() {
            self.server_died();
        } else {
            self.machine.learn(&mut self.shared);
        }
        self.count_disk();
    }

    fn count_disk(&mut self) {
        self.shared.coverage += &self.machine.take_happened();
        let failed = [
            "calls that a broken disk refused",
            "calls without room on the disk",
            "reads that failed",
        ];
        self.shared.disk_has_failed |= failed.iter().any(|what| self.shared.coverage.of(what) > 0);
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant = self.now.instant.after(time);
        self.now.wall.0 += time.as_secs_f64();
        self.shared.trace.time = self.now.instant.0;
        self.network.advance(time);
        if let Some((hold, until)) = self.slow
            && until <= self.now.instant
        {
            self.slow = None;
            self.network.servers.iter_mut().flatten().for_each(|server| server.release(hold));
        }
        self.listen_to_all();
        self.look_at_connections();
    }

    /// Servers end connections for good reasons only, and remember little of those who do not read.
    fn look_at_connections(&mut self) {
        for reason in std::mem::take(&mut self.network.closed) {
            self.shared.coverage.count(match reason {
                CloseReason::Gone => "connections that a server ended",
                CloseReason::TransactionTimeout { .. } => "transactions that took too long",
                CloseReason::RegisterTimeout { .. } => "connections that did not register",
                CloseReason::Backlog { .. } => "connections that did not read",
                CloseReason::OneWayRefused { .. } if self.shared.disk_has_failed => {
                    "uploads that the disk refused"
                }
                reason => panic!("a server disconnects a client: {reason}"),
            });
        }
        let (unread, max) = (self.network.unread_bytes(), self.setup.limits.backlog_bytes_max);
        // The limit is looked at when there is news; until then one message may go beyond it.
        assert!(unread <= max + (512 << 10), "{unread} bytes are kept for a client, {max} may be");
    }

    fn trouble(&mut self, trouble: Trouble) {
        self.shared.coverage.count("troubles");
        let person = self.random.below(PEOPLE);
        self.say(|| format!("TROUBLE: {trouble:?} ({person})"));
        let happened = match trouble {
            Trouble::Cut => self.network.cut(person).then_some("connections that were cut"),
            Trouble::HalfCut => {
                self.network.half_cut(person).then_some("connections that one side lost")
            }
            Trouble::Stall => {
                self.network.stall(person).then_some("connections that nothing came through")
            }
            Trouble::Deafen => {
                if self.random.below(2) == 0 {
                    self.network.undeafen_all();
                }
                self.network.deafen(person).then_some("clients that did not read")
            }
            Trouble::CutAll => {
                (0..PEOPLE).for_each(|person| while self.network.cut(person) {});
                Some("storms")
            }
            Trouble::KillClient => {
                self.kill_client(person);
                Some("clients that were killed")
            }
            Trouble::StopServer => {
                self.stop_server();
                None
            }
            Trouble::KillServer => {
                self.machine.kill(&mut self.random);
                self.look_at_the_disk();
                None
            }
            Trouble::Disk => {
                self.arm();
                None
            }
            Trouble::SlowSync => self.slow_sync().then_some("slow syncs"),
            Trouble::ClockJump => self.clock_jump().then_some("clock jumps"),
            Trouble::Pause => {
                self.pass(Duration::from_secs(2));
                None
            }
        };
        happened.into_iter().for_each(|what| self.shared.coverage.count(what));
        self.listen_to_all();
    }

    /// Something is to go wrong with the disk soon.
    fn arm(&mut self) {
        let random = &mut self.random;
        let times = [1, 1, 2, 10, 1000][random.below(5)];
        let doom = match random.below(6) {
            0 => Doom::Kill,
            1 | 2 => Doom::PowerCut,
            3 => Doom::Fail(Fault::NoSpace, times),
            4 => Doom::Fail(Fault::Broken, times),
            _ => Doom::FailReads(times.min(10)),
        };
        let after = u32::try_from(random.below(30)).unwrap_or_default();
        self.say(|| format!("{doom:?} in {after} calls"));
        self.machine.arm(after, doom);
    }

    /// The disk takes its time.
    fn slow_sync(&mut self) -> bool {
        let hold = [Hold::Commits, Hold::Committed][self.random.below(2)];
        let Some(server) = self.network.servers.iter_mut().flatten().next() else { return false };
        if self.slow.is_some() {
            return false;
        }
        server.hold(hold);
        let time = Duration::from_millis(self.random.next() % 3000);
        self.slow = Some((hold, self.now.instant.after(time)));
        true
    }

    /// By up to an hour, to and fro.
    fn clock_jump(&mut self) -> bool {
        let seconds = i32::try_from(self.random.below(7200)).unwrap_or_default() - 3600;
        let server = self.network.servers.iter_mut().flatten().next();
        server.map(|server| server.now.wall.0 += f64::from(seconds)).is_some()
    }

    /// A server's process is dead, whatever it was doing.
    fn server_died(&mut self) {
        self.slow = None;
        self.shared.new_oids = None;
        for server in 0..SERVERS {
            drop(self.network.stop_server(server));
        }
        self.machine.bury(&mut self.shared);
        self.say(|| "the server is dead".into());
        self.listen_to_all();
    }

    /// A server ends as it should: it answers what it has taken, and closes its storage.
    fn stop_server(&mut self) {
        self.slow = None;
        self.shared.new_oids = None;
        for server in 0..SERVERS {
            let Some(rig) = &mut self.network.servers[server] else { continue };
            for hold in [Hold::Commits, Hold::Committed] {
                rig.release(hold);
            }
            for client in rig.clients() {
                rig.stop(client);
            }
            while rig.step_shuffled(&mut self.random) {
                if self.machine.is_dead() {
                    break;
                }
            }
            if !self.machine.is_dead() {
                self.machine.learn(&mut self.shared);
            }
            drop(self.network.stop_server(server));
            self.shared.coverage.count("servers that stopped");
        }
        self.machine.stop(&mut self.shared);
        self.count_disk();
        self.say(|| "the server has stopped".into());
        self.listen_to_all();
    }

    /// A client's process is killed, and another one comes with what is left of its cache.
    fn kill_client(&mut self, person: usize) {
        self.listen(person);
        self.compare_cache(person);
        let killed = self.network.kill_client(person).expect("all are alive");
        self.end_of(&killed);
        let cache = self.cache_of(person, &killed.journal);
        let next = Person::new(person as u64, cache.last_tid());
        let person_gone = std::mem::replace(&mut self.people[person], next);
        let began = person_gone.began;
        self.gone.push((began, person_gone.die(&mut self.shared)));
        let rig = self.client(person, cache);
        self.network.clients[person] = Some(rig);
        self.listen(person);
    }

    fn compare_cache(&mut self, person: usize) {
        let rig = self.network.clients[person].as_mut().expect("all are alive");
        self.people[person].compare_cache(rig, &mut self.shared);
    }

    fn end_of(&mut self, rig: &ClientRig) {
        let evictions = rig.client.cache().statistics().evictions;
        self.shared.coverage.add("evictions", evictions);
        for line in &rig.logged {
            assert!(!ODD.iter().any(|odd| line.contains(odd)), "a client's log says: {line}");
        }
    }

    /// What can be made of the journal, whose last writes may not have reached the disk.
    fn cache_of(&mut self, person: usize, written: &[u8]) -> Cache {
        let journal = &mut self.journals[person];
        journal.extend_from_slice(written);
        let lost = if self.random.below(2) == 0 { 0 } else { self.random.below(300) };
        journal.truncate(journal.len().saturating_sub(lost));
        let mut replay = Cache::replay(self.cache_bytes[person]);
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

    /// Faults stop: everything that was asked is answered, everybody can commit, and the whole is
    /// right.
    ///
    /// A world without commits and faults would show nothing, so it is wrong, too.
    pub(crate) fn end(&mut self) -> Coverage {
        let troubles = self.shared.coverage.of("troubles");
        let steps = self.shared.trace.step;
        assert!(steps < STEPS || troubles > 0, "nothing has gone wrong in {steps} steps");
        self.say(|| "the faults stop".into());
        self.slow = None;
        self.network.undeafen_all();
        self.machine.disarm();
        for server in self.network.servers.iter_mut().flatten() {
            [Hold::Commits, Hold::Committed].into_iter().for_each(|hold| server.release(hold));
        }
        self.rest();
        for person in 0..PEOPLE {
            self.must_commit(person);
        }
        let last = self.shared.truth.last_tid();
        for person in 0..PEOPLE {
            let client = &self.network.clients[person].as_ref().expect("all are alive").client;
            assert!(client.is_connected());
            assert_eq!((self.people[person].told, client.last_tid()), (last, last));
            self.compare_cache(person);
            let rig = self.network.clients[person].take().expect("all are alive");
            self.end_of(&rig);
        }
        self.shared.truth.compare_outcomes();
        for person in std::mem::take(&mut self.people) {
            self.gone.push((person.began, person.heard));
        }
        let history: BTreeMap<_, _> = self.shared.truth.between(Tid::ZERO, last).collect();
        for (began, heard) in &self.gone {
            complete(*began, heard, &history);
        }
        self.shared.coverage.add("merges", self.shared.truth.merges);
        self.shared.coverage.clone()
    }

    /// There is progress.
    fn must_commit(&mut self, person: usize) {
        let commits = |world: &Self| world.shared.coverage.of("commits");
        let before = commits(self);
        for _ in 0..30 {
            if commits(self) > before {
                return;
            }
            let habit = Habit::Deal(crate::application::transactions::DealKind::Transfer);
            self.with(person, |person, desk| person.act(desk, habit));
            self.rest();
        }
        panic!("client {person} cannot commit");
    }

    /// Until nobody waits for anything.
    fn rest(&mut self) {
        for turn in 0..1000 {
            if self.machine.is_broken() {
                self.stop_server();
            }
            if !self.has_server() {
                self.machine.disarm();
                self.start_server();
                self.machine.disarm();
            }
            while self.work(1000) {}
            for person in 0..PEOPLE {
                let rig = self.network.clients[person].as_mut().expect("all are alive");
                self.people[person].read_all_files(rig);
                self.listen(person);
            }
            while self.work(1000) {}
            if self.people.iter().all(Person::is_idle) && self.are_connected() {
                return;
            }
            self.pass(Duration::from_millis(if turn < 50 { 50 } else { 500 }));
        }
        panic!("somebody waits for ever: {:#?}", self.people);
    }

    fn are_connected(&self) -> bool {
        self.network.clients.iter().flatten().all(|rig| rig.client.is_connected())
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        self.shared.trace.mark(self.random.clone().next());
        self.shared.trace.say(what);
    }
}

/// From each tid that was told to the next, exactly what changed in between was named, or everything.
fn complete(began: Tid, heard: &[Heard], history: &BTreeMap<Tid, Vec<Oid>>) {
    let mut last = began;
    for news in heard {
        if let Heard::Changed(tid, oids) = news {
            let between = history.range(last.next()..=*tid);
            let changed: BTreeSet<Oid> = between.flat_map(|(_, oids)| oids).copied().collect();
            assert_eq!(*oids, changed, "from {last} to {tid}");
        }
        last = news.tid();
    }
}

const _: () = assert!(PEOPLE as u64 == objects::COUNTERS);
