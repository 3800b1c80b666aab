"""Many bad connections at the same time, while two ordinary clients work.

Thousands of connections send nothing, hundreds stop in the middle of the handshake, some arrive when
max-connections is reached, one sends a byte a second, one requests much and reads nothing while others
commit. The test measures how long two ordinary clients wait for their commits and loads, before, during and
after. No connection may disturb them, the server's memory stays bounded, and the log has the connections that
were refused, and the reasons.
"""
import contextlib
import multiprocessing
import os
import re
import resource
import select
import socket
import ssl
import statistics
import struct
import threading
import time
import traceback

import pytest
from ZEO.ClientStorage import ClientStorage
from ZODB.Connection import TransactionMetaData

import servers
import wire
from certificates import SERVER_NAME
from wire import MAXTID, Z64, Closed, Raw

# Maximum factor by which the ordinary clients wait longer, in the median: the machine is shared.
SLOWER = 3
TRIES = 3
PATIENCE = 60
# How long an ordinary client pauses after each load, in seconds. The test does not measure throughput.
THINKING = .01
HANDSHAKE_TIMEOUT = 10
BACKLOG = 2 << 20
# Maximum bytes of memory for a connection: a session, buffers, and with TLS its state.
COST = {'tcp': 32 << 10, 'tls': 96 << 10}
# Maximum bytes of memory for everything else.
ROOM = 64 << 20
# Size and number of the records that a peer requests and does not read: more than a socket buffers.
RECORD = 100_000
RECORDS = 150


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize('transport', ['tcp', 'tls'])
def test_crowd(directory, arguments, certificates, size, runtime, transport):
    args = arguments(codec='msgpack', idle=size('idle', 500, 2000), half=200, refused=50, rounds=200)
    allow_open_files(2 * (args.idle + args.half + 2 * args.refused) + 200)
    commands = [(runtime, args.server)]
    if args.compare and runtime == servers.RUNTIMES[0]:
        commands.append(('reference', args.reference))
    for name, command in commands:
        where = os.path.join(directory, name)
        os.mkdir(where)
        crowd = Crowd(args, name, command, transport, certificates, where)
        crowd.run()
        assert name == 'reference' or not crowd.problems, '\n'.join(crowd.problems)


def allow_open_files(count):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.fail(f'{count} open files are needed, {hard} are allowed: see ulimit -Hn')
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


class Crowd:
    """One server and all its connections"""

    def __init__(self, args, name, command, transport, certificates, directory):
        self.args = args
        self.title = f'{name} {transport}'
        self.command = command
        self.transport = transport
        self.tls = certificates if transport == 'tls' else None
        self.directory = directory
        self.problems = []
        self.crowd = []

    def run(self):
        args = self.args
        self.connections = args.idle + args.half + 20
        own = [f'max-connections {self.connections}',
               f'max-unfinished-handshakes {args.half}',
               f'handshake-timeout {HANDSHAKE_TIMEOUT}',
               f'max-backlog {BACKLOG}']
        path = os.path.join(self.directory, 'Data.fs')
        with servers.Server(self.command, path, args.codec, own=own, tls=self.tls) as self.server:
            self.ordinary = [Ordinary(self, n) for n in range(2)]
            try:
                self.phases()
            finally:
                for client in self.ordinary:
                    client.stop()
            if not self.server.is_python:
                took = self.server.stop()
                print(f'{self.title}: stopped in {took:.2f} s', flush=True)

    def phases(self):
        self.measure()
        alone = self.measure()
        before = self.server.watch_memory()
        descriptors = self.server.descriptors()
        slow = [] if self.server.is_python else [SlowSender(self, registered=True)]
        self.idle(before)
        quiet = self.spent_while_idle()
        print(f'{self.title}: {quiet:.2f} s of processor time in a second without requests')
        if not self.server.is_python:
            self.half_handshakes()
        with_crowd = self.measure_well('with the crowd', alone)
        if not self.server.is_python:
            self.timed_out()
            self.no_room()
            self.check_invalidations_of_idle()
        growth = self.server.most_memory() - before
        self.leave()
        alone = [max(a, b, key=lambda found: found.median)
                 for a, b in zip(alone, self.measure())]
        self.compare('with the crowd', alone, with_crowd)
        if not self.server.is_python:
            self.bound(growth)
            slow.append(SlowSender(self, registered=False))
            self.unread_replies(alone)
            for sender in slow:
                sender.join(PATIENCE)
                self.expect(sender.problem is None, f'a byte a second: {sender.problem}')
        wait_for(lambda: self.server.descriptors() <= descriptors + 1,
                   f'{self.title}: connections are not closed')

    def expect(self, condition, problem):
        if not condition:
            self.problems.append(f'{self.title}: {problem}')

    # The times of the ordinary clients

    def measure(self):
        """-> figures of commits and loads, from both clients at once"""
        for client in self.ordinary:
            client.pipe.send(self.args.rounds)
        commits, loads = [], []
        for client in self.ordinary:
            more_commits, more_loads = client.answer()
            commits += more_commits
            loads += more_loads
        return Waits('commits', commits), Waits('loads', loads)

    def measure_well(self, what, alone):
        """The best of several tries: other programs may run on this machine"""
        best = None
        for _ in range(TRIES):
            found = self.measure()
            best = found if best is None else [
                min(a, b, key=lambda waits: waits.median) for a, b in zip(best, found)]
            if all(now.median <= SLOWER * then.median for now, then in zip(best, alone)):
                break
        return best

    def compare(self, what, alone, found):
        for then, now in zip(alone, found):
            ratio = now.median / then.median
            print(f'{self.title}: {then} alone; {now} {what}: times {ratio:.2f}', flush=True)
            self.expect(ratio <= SLOWER or self.server.is_python,
                        f'{now.name} take {ratio:.1f} times as long {what}')

    # Connections that send nothing

    def connect(self, **options):
        raw = Raw(self.server.address, self.args.codec, tls=self.tls, timeout=PATIENCE, **options)
        self.crowd.append(raw)
        return raw

    def idle(self, before):
        started = time.monotonic()
        for _ in range(self.args.idle):
            self.connect().register()
        seconds = time.monotonic() - started
        self.committed_before_idle = sum(client.commits for client in self.ordinary)
        each = (self.server.memory() - before) / max(1, self.args.idle)
        print(f'{self.title}: {self.args.idle} idle connections in {seconds:.1f} s, '
              f'{each / 1024:.1f} KB each', flush=True)

    def spent_while_idle(self):
        """Processor time in a second in which nothing happens"""
        before = self.server.seconds()
        time.sleep(1)
        return self.server.seconds() - before

    def check_invalidations_of_idle(self):
        """Each idle connection has received all invalidations, in order, and is served"""
        commits = sum(client.commits for client in self.ordinary) - self.committed_before_idle
        for raw in self.crowd[:self.args.idle:100]:
            raw.call('lastTransaction')
            tids = [args[0] for name, args in raw.notices if name == 'invalidateTransaction']
            self.expect(tids == sorted(set(tids)), 'invalidations are not in order')
            self.expect(len(tids) == commits, f'{len(tids)} invalidations for {commits} commits')

    def leave(self):
        for raw in self.crowd:
            raw.close()
        self.crowd.clear()

    # Connections that stop in the middle of the handshake

    def half_handshakes(self):
        """As many as the limit allows, and some more, which are refused at once"""
        kinds = list(self.half_kinds())
        opened = []
        for n in range(self.args.half):
            opened.append(self.half(kinds[n % len(kinds)]))
        self.still_open(opened, 'peers in the middle of the handshake')
        more = [self.half(kinds[0]) for _ in range(self.args.refused)]
        self.all_closed(more, 5, 'peers beyond max-unfinished-handshakes')
        self.still_open(opened, 'peers in the middle of the handshake')
        self.stuck = opened
        self.check_log('max-unfinished-handshakes', self.args.half)

    def half_kinds(self):
        """What is sent: -> (bytes, whether after a whole TLS handshake)"""
        hello = struct.pack('>I', 2) + b'Z5'
        for data in b'', b'\0', hello[:5], hello, hello + b'\0\0\0\x20abc':
            yield data, True
        if self.tls:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.context.wrap_bio(
                    incoming, outgoing, server_hostname=SERVER_NAME).do_handshake()
            client_hello = outgoing.read()
            for length in 0, 1, len(client_hello) // 2, len(client_hello):
                yield client_hello[:length], False

    def half(self, kind):
        data, after_tls = kind
        s = socket.create_connection(self.server.address, timeout=PATIENCE)
        self.crowd.append(s)
        # A connection that is refused may be closed before it has sent anything.
        with contextlib.suppress(OSError):
            if self.tls and after_tls:
                s = self.crowd[-1] = self.tls.wrap(s)
            if data:
                s.sendall(data)
        return s

    def timed_out(self):
        self.all_closed(self.stuck, HANDSHAKE_TIMEOUT + 10, 'peers that never end the handshake')
        self.check_log('handshake-timeout', HANDSHAKE_TIMEOUT)

    def no_room(self):
        """As many connections as the limit allows, then some more"""
        free = self.connections - self.args.idle
        answers = [self.try_to_register() for _ in range(free + self.args.refused)]
        refused = answers.count(False)
        self.expect(refused >= self.args.refused,
                    f'{refused} refused of {len(answers)} for {free} places')
        self.expect(answers[0], 'refused before max-connections was reached')
        self.check_log('max-connections', self.connections)

    def try_to_register(self):
        try:
            self.connect().register()
            return True
        except (Closed, OSError):
            return False

    def still_open(self, sockets, what):
        closed = sum(at_end(s, 0) for s in sockets)
        self.expect(not closed, f'{closed} {what} were disconnected too early')

    def all_closed(self, sockets, seconds, what):
        deadline = time.monotonic() + seconds
        left = sum(not at_end(s, max(0, deadline - time.monotonic())) for s in sockets)
        self.expect(not left, f'{left} of {len(sockets)} {what} are not disconnected')

    def check_log(self, setting, value):
        """The log has the refusal, with the name of the setting and its value"""
        lines = [line for line in self.server.log_text().splitlines() if setting in line]
        self.expect(lines, f'the log does not mention {setting}')
        self.expect(any(re.search(rf'\b{value}\b', line) for line in lines),
                    f'the log does not show that {setting} is {value}: {lines[:1]}')
        if lines:
            print(f'{self.title}: {len(lines)} lines like: {lines[0].strip()}', flush=True)

    # A peer that requests records and does not read

    def unread_replies(self, alone):
        raw = Raw(self.server.address, self.args.codec, tls=self.tls, timeout=PATIENCE)
        raw.register()
        oid = raw.call('new_oids')[0]
        raw.commit((oid, Z64, wire.record(RECORD)))
        before = self.server.watch_memory()
        for _ in range(RECORDS):
            raw.send('loadBefore', oid, MAXTID)
        peer = '%s:%s' % raw.socket.getsockname()[:2]
        found = self.measure_well('beside a peer that does not read', alone)
        self.compare('beside a peer that does not read', alone, found)

        # Another connection may have had the same port before: only the reason shows which it was.
        def reasons():
            return [line.strip() for line in self.server.log_text().splitlines()
                    if peer in line and str(BACKLOG) in line]

        self.commit_until(reasons)
        growth = self.server.most_memory() - before
        self.expect(growth < ROOM, f'{growth >> 20} MB for a peer that does not read')
        lines = reasons()
        self.expect(lines, f'the log has no reason why {peer} was disconnected')
        print(f'{self.title}: +{growth / 2 ** 20:.1f} MB for a peer that does not read: {lines[:1]}', flush=True)
        raw.close()

    def disconnected(self):
        return ''.join(line for line in self.server.log_text().splitlines() if 'disconnect' in line.lower())

    def commit_until(self, condition):
        """Commits with many objects, until the server has closed the connection that does not read"""
        with contextlib.closing(Raw(self.server.address, self.args.codec, tls=self.tls)) as raw:
            raw.register()
            oids = [oid for _ in range(20) for oid in raw.call('new_oids')]
            data = wire.record(100)
            serial = Z64
            queued = 0
            while not condition():
                if queued > 16 * BACKLOG:
                    return self.expect(False, 'a peer that reads nothing is never disconnected')
                serial = raw.commit(*[(oid, serial, data) for oid in oids])
                queued += 10 * len(oids)

    def bound(self, growth):
        connections = self.args.idle + self.args.half + 2 * self.args.refused
        most = connections * COST[self.transport] + ROOM
        print(f'{self.title}: +{growth / 2 ** 20:.1f} MB in all, {most >> 20} MB allowed', flush=True)
        self.expect(growth < most, f'the server grew by {growth >> 20} MB, {most >> 20} MB allowed')


def at_end(s, seconds):
    """Whether the peer closes within that time"""
    deadline = time.monotonic() + seconds
    # A handshake that failed has closed its socket.
    while s.fileno() >= 0:
        # A TLS socket may have decrypted something already.
        pending = isinstance(s, ssl.SSLSocket) and s.pending()
        wait = max(0, deadline - time.monotonic())
        poll = select.poll()
        poll.register(s, select.POLLIN)
        if not pending and not poll.poll(wait * 1000):
            return False
        try:
            if not s.recv(1 << 16):
                return True
        except ssl.SSLWantReadError:
            continue
        except OSError:
            return True
    return True


def wait_for(condition, problem, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, problem
        time.sleep(.02)


class Waits:
    """How long something took, many times"""

    def __init__(self, name, seconds):
        self.name = name
        self.median = statistics.median(seconds)
        self.p99 = statistics.quantiles(seconds, n=100)[98]

    def __str__(self):
        return f'{self.name} {self.median * 1000:.2f} ms (p99 {self.p99 * 1000:.2f})'


class Ordinary:
    """A client like those of applications, in a process of its own"""

    def __init__(self, crowd, number):
        self.crowd = crowd
        self.number = number
        self.commits = 0
        context = multiprocessing.get_context('fork')
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=self.run, args=(other,), daemon=True)
        self.process.start()

    def run(self, pipe):
        try:
            self.work(pipe)
        except BaseException:
            pipe.send(traceback.format_exc())

    def work(self, pipe):
        options = self.crowd.tls.options if self.crowd.tls else {}
        storage = ClientStorage(self.crowd.server.address, wait_timeout=30, **options)
        oid = storage.new_oid()
        serial = Z64
        while rounds := pipe.recv():
            commits, loads = [], []
            for _ in range(rounds):
                data = wire.record(1000, os.urandom(1))
                started = time.perf_counter()
                serial = self.commit(storage, oid, serial, data)
                commits.append(time.perf_counter() - started)
                started = time.perf_counter()
                # Directly, because the client's cache would answer.
                found = storage._call('loadBefore', oid, MAXTID)
                loads.append(time.perf_counter() - started)
                assert found == (data, serial, None), 'the load does not return the commit'
                time.sleep(THINKING)
            pipe.send((commits, loads))
        storage.close()

    @staticmethod
    def commit(storage, oid, serial, data):
        txn = TransactionMetaData()
        storage.tpc_begin(txn)
        storage.store(oid, serial, data, '', txn)
        storage.tpc_vote(txn)
        return storage.tpc_finish(txn)

    def answer(self):
        if not self.pipe.poll(PATIENCE * 2):
            raise AssertionError('an ordinary client waits forever')
        found = self.pipe.recv()
        assert not isinstance(found, str), found
        self.commits += len(found[0])
        return found

    def stop(self):
        with contextlib.suppress(OSError):
            self.pipe.send(0)
        self.process.join(10)


class SlowSender(threading.Thread):
    """Sends a byte a second: dropped before it is registered, served afterwards"""

    def __init__(self, crowd, registered):
        super().__init__(daemon=True)
        self.registered = registered
        self.problem = 'is not done'
        self.raw = Raw(crowd.server.address, crowd.args.codec, tls=crowd.tls, timeout=PATIENCE,
                       hello=registered)
        if registered:
            self.raw.register()
        self.start()

    def run(self):
        try:
            self.problem = self.served() if self.registered else self.dropped()
        except BaseException as error:
            self.problem = repr(error)
        finally:
            self.raw.close()

    def send_slowly(self, message):
        for byte in message:
            self.raw.socket.sendall(bytes([byte]))
            time.sleep(1)

    def served(self):
        payload = self.raw.encode(77, False, 'lastTransaction', ())
        self.send_slowly(struct.pack('>I', len(payload)) + payload)
        return None if len(self.raw.answer(77)) == 8 else 'got a wrong reply'

    def dropped(self):
        payload = self.raw.encode(1, False, 'register', ('1', False))
        hello = b'M5' if self.raw.codec == 'msgpack' else b'Z5'
        message = struct.pack('>I', 2) + hello + struct.pack('>I', len(payload)) + payload
        started = time.monotonic()
        try:
            self.send_slowly(message * 3)
        except OSError:
            seconds = time.monotonic() - started
            return None if seconds < HANDSHAKE_TIMEOUT + 10 else f'dropped after {seconds:.0f} s'
        return 'was never dropped'
