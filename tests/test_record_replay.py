"""`rzeo record` and `rzeo replay`, with Python's clients, on rzeo and on Python's server.

Two clients do all that clients do: new objects, conflicts that can be resolved and others, undo,
iterators, history, blobs, a pack; each receives what the other commits. Their traffic goes through
`rzeo record`, in both encodings, over TCP and over a Unix socket.

* A recording from rzeo is played to rzeo on a fresh copy of the database, on both runtimes: the same.
* One from Python's server is played to rzeo: only what KNOWN lists is different.
* Four clients that work at the same time on the same objects of rzeo: the same again.
* A change of any line is found and shown.
* Bytes that are no ZEO messages pass through unchanged, and are in the recording.
* The file of a recorder that was killed can be played up to its last complete line.

With ``--captures DIR`` a small recording for each encoding is made with Python's server, for the Rust tests
that play captures.
"""
import collections
import contextlib
import itertools
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
import transaction
import ZODB
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZEO.ClientStorage import ClientStorage
from ZODB.blob import Blob
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, POSKeyError, UndoError
from ZODB.utils import p64, z64

import servers
import wire

BIG = 24 << 20
#: How long four clients work at the same time, in seconds.
CROWD = 1.5
#: Where rzeo differs from Python's server (see captures/differences.txt), and how many times.
KNOWN = {
    'a client receives invalidations of the objects that another deletes': (
        r'S\d+ - invalidateTransaction \$0x[0-9a-f]{16} [\[(]\$?0x[0-9a-f]{16}[,)\]]', 1),
    'the last transaction stays in a pack': (
        r'S\d+ - info \{"length": \d+, "size": \d+\}', 2),
}


@pytest.fixture
def recordings(directory, arguments):
    recordings = Recordings(arguments(), pathlib.Path(directory))
    yield recordings
    print(', '.join(f'{count} {what}' for what, count in sorted(recordings.counts.items())))


def test_rzeo_to_rzeo(recordings, codec):
    recordings.rzeo_to_rzeo(codec)


def test_python_to_rzeo(recordings, codec):
    recordings.python_to_rzeo(codec)


def test_crowd(recordings, codec):
    recordings.crowd(codec)


def test_odd_bytes(recordings):
    recordings.odd_bytes()


def test_killed_recorder(recordings):
    recordings.killed_recorder()


def test_big_record(recordings):
    recordings.big_record()


def test_make_captures(recordings, request):
    """Records the two captures of fixtures/captures anew, with Python's server."""
    if not request.config.getoption('captures'):
        pytest.skip('records captures only with --captures DIR')
    recordings.make_captures(pathlib.Path(request.config.getoption('captures')))


class Recordings:

    def __init__(self, args, directory):
        self.args = args
        self.directory = directory
        self.counts = collections.Counter()
        self.runs = itertools.count()
        self.base = directory / 'base'
        self.base.mkdir()
        make_base(self.base)

    def fresh(self):
        """A copy of the database"""
        place = self.directory / f'run-{next(self.runs)}'
        shutil.copytree(self.base, place)
        return place

    @contextlib.contextmanager
    def server(self, command, codec, place=None, **options):
        place = place or self.fresh()
        with servers.Server(command, str(place / 'Data.fs'), codec,
                          blob_dir=str(place / 'blobs'), **options) as server:
            yield server

    def rzeo(self, runtime):
        return f'{self.args.server} --runtime {runtime}'

    def record(self, command, codec, name, is_unix=False, work=None):
        """-> the path of a recording"""
        path = self.directory / f'{name}.zeo'
        place = self.fresh()
        address = str(place / 'zeo.sock') if is_unix else '127.0.0.1:0'
        with self.server(command, codec, place, address=address) as server:
            listen = f'unix:{place}/recorder.sock' if is_unix else '127.0.0.1:0'
            with Recorder(self.args.rzeo, listen, server.address, path) as recorder:
                (work or Work(place).run)(recorder.address)
        if self.args.keep:
            shutil.copy(path, self.args.keep)
        text = path.read_text()
        assert text.endswith('\n')
        self.counts['recordings'] += 1
        self.counts['lines'] += text.count('\n')
        return path

    def replay(self, path, command, codec, *options):
        """-> status, what is shown"""
        with self.server(command, codec) as server:
            done = subprocess.run(
                [self.args.rzeo, 'replay', str(path), '--against', address_text(server.address), *options],
                capture_output=True, text=True, timeout=300)
            assert done.returncode in (0, 1), done.stderr
            self.counts['replays'] += 1
            return done.returncode, done.stdout

    def expect_same(self, path, command, codec):
        status, shown = self.replay(path, command, codec)
        assert status == 0 and shown.endswith('the same\n'), shown

    def rzeo_to_rzeo(self, codec):
        for runtime, is_unix in ('tokio', False), ('smol', True):
            path = self.record(self.rzeo(runtime), codec, f'rzeo-{runtime}-{codec}', is_unix)
            for other in 'tokio', 'smol':
                self.expect_same(path, self.rzeo(other), codec)
            # A server with other oids and in another encoding differs at once.
        self.changed_lines(path, codec)

    def changed_lines(self, path, codec):
        """A line that differs from what the server sends is found, and both are shown"""
        lines = path.read_text().splitlines(keepends=True)
        answers = [number for number, line in enumerate(lines)
                   if re.match(r'S\d+ .*(reply [(\[]b"|invalidateTransaction .*0x.{16},?[)\]])', line)]
        chance = random.Random(1)
        for number in chance.sample(answers, 5):
            changed = list(lines)
            # Another record, or another oid in an invalidation. Oids that the server chooses may differ.
            old = lines[number]
            if 'b"' in old:
                new = old.replace('b"', 'b"!', 1)
            else:
                new = re.sub(r'0x[0-9a-f]{16}(?=[^0-9a-f]*$)', '0x00000000deadbeef', old)
            changed[number] = new
            copy = self.directory / 'changed.zeo'
            copy.write_text(''.join(changed))
            status, shown = self.replay(copy, self.rzeo('tokio'), codec, '--timeout', '3')
            assert status == 1, f'{old}{new}{shown}'
            assert re.search(rf'^line {number + 1}:$', shown, re.M), f'{number + 1}: {shown}'
            expected, got = re.findall(r'^([-+]) (.*)$', shown, re.M)
            assert (expected[0], got[0]) == ('-', '+'), shown
            assert expected[1] != got[1], shown
            self.counts['changes found'] += 1
        missing = [n for n, line in enumerate(lines) if 'invalidateTransaction' in line][3]
        copy.write_text(''.join(lines[:missing] + lines[missing + 1:]))
        status, shown = self.replay(copy, self.rzeo('tokio'), codec)
        assert status == 1 and 'invalidateTransaction' in shown.split('\n+ ')[1], shown
        never = re.sub(r'^S(\d+) - invalidateTransaction', r'S\1 - invalidateNothing', lines[missing])
        copy.write_text(''.join(lines[:missing + 1] + [never] + lines[missing + 1:]))
        status, shown = self.replay(copy, self.rzeo('tokio'), codec, '--timeout', '1')
        assert status == 1 and 'invalidateNothing' in shown.split('\n- ')[1], shown

    def python_to_rzeo(self, codec):
        path = self.record(self.args.reference, codec, f'python-{codec}')
        self.expect_same(path, self.args.reference, codec)
        status, shown = self.replay(path, self.rzeo('tokio'), codec, '--all', '--timeout', '2')
        found = collections.Counter()
        for got in re.findall(r'^\+ (.*)$', shown, re.M):
            why = [why for why, (pattern, _) in KNOWN.items() if re.match(pattern, got)]
            assert why, shown
            found[why[0]] += 1
        assert status == 1 and found == {why: times for why, (_, times) in KNOWN.items()}, \
            f'{found}\n{shown}'
        self.counts['known differences'] += found.total()

    def crowd(self, codec):
        """Only the replies show which request the server has handled first"""
        path = self.record(
            self.rzeo('tokio'), codec, f'crowd-{codec}',
            work=lambda address: Work(self.directory).run_crowd(address, self.counts))
        for runtime in 'tokio', 'smol':
            self.expect_same(path, self.rzeo(runtime), codec)

    def odd_bytes(self):
        """Bytes that are no ZEO messages pass through, and are in the recording"""
        odd = [b'GET / HTTP/1.1\r\n\r\n', b'\0\0\0\4ruok', b'\0\0\0\2X5\0\0\0\3abc',
               b'\0\0\0\2Z5' + b'\0\0\0\7garbage', b'\xff' * 100, b'\0\0']

        def work(address):
            for data in odd:
                with socket.create_connection(address, timeout=10) as peer:
                    peer.sendall(data)
                    peer.shutdown(socket.SHUT_WR)
                    received = b''
                    with contextlib.suppress(ConnectionResetError):
                        while data := peer.recv(1 << 16):
                            received += data
                    assert received[:4] == b'\0\0\0\2', received
        path = self.record(self.rzeo('tokio'), 'pickle', 'odd', work=work)
        text = path.read_text()
        for line in (r'C1 bytes b"GET / HTTP/1.1\x0d\x0a\x0d\x0a"', r'C2 frame b"ruok"',
                     r'C3 frame b"X5"', r'C4 frame b"garbage"',
                     'C5 bytes b"' + r'\xff' * 100 + '"', r'C6 bytes b"\x00\x00"'):
            assert f'\n{line}\n' in text, f'{line} is missing in\n{text}'
        self.counts['odd connections'] += len(odd)

    def killed_recorder(self):
        """Half of a recording can be played"""
        place = self.fresh()
        path = self.directory / 'killed.zeo'
        with self.server(self.rzeo('tokio'), 'msgpack', place) as server:
            with Recorder(self.args.rzeo, '127.0.0.1:0', server.address, path) as recorder:
                peer = wire.Raw(recorder.address, 'msgpack')
                peer.register()
                serial = z64
                for number in range(200):
                    oid = p64(1000)
                    serial = peer.commit((oid, serial, wire.record(20_000)))
                    if number > 100:
                        peer.send('loadBefore', oid, wire.MAXTID)
                recorder.kill()
        # In the middle of a line.
        with open(path, 'r+b') as f:
            f.seek(-100, 2)
            f.truncate()
        with self.server(self.rzeo('smol'), 'msgpack') as server:
            done = subprocess.run(
                [self.args.rzeo, 'replay', str(path), '--against', address_text(server.address)],
                capture_output=True, text=True, timeout=300)
        assert done.returncode == 0 and 'unfinished' in done.stderr, done
        played = int(done.stdout.split()[0])
        assert played > 700, done.stdout
        self.counts['lines of a killed recorder'] += played

    def big_record(self):
        """Memory is bounded by a frame"""
        def work(address):
            peer = wire.Raw(address, 'msgpack', timeout=60)
            peer.register()
            serial = z64
            for _ in range(4):
                serial = peer.commit((p64(1000), serial, wire.record(BIG)))
            peer.close()
            self.most = self.recorder.most_memory()
        path = self.directory / 'big.zeo'
        with self.server(self.rzeo('tokio'), 'msgpack') as server:
            with Recorder(self.args.rzeo, '127.0.0.1:0', server.address, path) as recorder:
                self.recorder = recorder
                work(recorder.address)
        assert path.stat().st_size > 4 * BIG
        # Maximum bytes that are not yet written to the recording, and some copies of a frame.
        assert self.most < (64 << 20) + 6 * BIG, f'the recorder needed {self.most >> 20} MB'
        self.expect_same(path, self.rzeo('smol'), 'msgpack')
        self.counts[f'MB of memory for records of {BIG >> 20} MB'] = self.most >> 20

    def make_captures(self, directory):
        for codec, letter in ('pickle', 'Z5'), ('msgpack', 'M5'):
            self.base = self.directory / f'empty-{codec}'
            self.base.mkdir()
            path = self.record(self.args.reference, codec, f'capture-{codec}',
                               work=lambda address: Work(self.base).run_small(address))
            shutil.copy(path, directory / f'recorded.{letter}.zeo')


def address_text(address):
    """An address as an argument"""
    return address if isinstance(address, str) else '%s:%d' % address


class Recorder:
    """A process"""

    def __init__(self, rzeo, listen, to, path):
        self.process = subprocess.Popen(
            [rzeo, 'record', '--listen', listen, '--to', address_text(to), str(path)],
            stdout=subprocess.PIPE, text=True)
        place = self.process.stdout.readline().removeprefix('recording at ').strip()
        assert place, 'the recorder does not start'
        host, _, port = place.rpartition(':')
        self.address = place if '/' in place else (host, int(port))

    most_memory = servers.Server.most_memory

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            status = self.process.wait(20)
            assert status == 0 or error[0], f'the recorder ended with status {status}'
        self.process.stdout.close()


def make_base(directory):
    """A database that exists before the recording"""
    db = ZODB.DB(FileStorage(str(directory / 'Data.fs'), blob_dir=str(directory / 'blobs')))
    with db.transaction('base') as conn:
        conn.root.things = PersistentMapping(n=0)
        conn.root.tree = OOBTree({f'{n:03}': n for n in range(200)})
        conn.root.count = Length()
        conn.root.blob = Blob(b'there before')
    with db.transaction('later') as conn:
        conn.root.things['n'] = 1
    db.close()


class Work:
    """The operations of two clients, one after the other"""

    def __init__(self, place):
        self.place = place
        self.caches = itertools.count()

    def client(self, address):
        return ClientStorage(
            address, wait_timeout=20, server_sync=True,
            blob_dir=str(self.place / f'client-{next(self.caches)}'), blob_cache_size=1 << 30)

    def settle(self):
        """Python's server may answer a ping before it sends the invalidations of earlier commits"""
        deadline = time.monotonic() + 10
        while len({db.storage.lastTransaction() for db in self.dbs}) > 1:
            assert time.monotonic() < deadline, 'a client does not receive a commit'
            time.sleep(.001)

    @contextlib.contextmanager
    def transaction(self, db, note=None):
        self.settle()
        with db.transaction(note) as conn:
            yield conn
        self.settle()

    def run(self, address):
        self.dbs = first, second = [ZODB.DB(self.client(address)) for _ in 'ab']
        self.objects(first, second, 70_000)
        self.conflicts(first, second)
        self.undo(first, second)
        self.blobs(first, second)
        self.look(first, second)
        self.records(first, second)
        for db in first, second:
            db.close()

    def run_crowd(self, address, counts):
        """Four clients at once"""
        self.dbs = [ZODB.DB(self.client(address)) for _ in range(4)]
        problems = []

        def work(number):
            chance, ends = random.Random(number), time.monotonic() + CROWD
            while time.monotonic() < ends:
                manager = transaction.TransactionManager()
                conn = self.dbs[number].open(manager)
                try:
                    conn.root.count.change(1)
                    conn.root.tree[f'{chance.randrange(200):03}'] = chance.random()
                    if chance.random() < .3:
                        conn.root.things['n'] += 1
                    manager.commit()
                    counts['commits of a crowd'] += 1
                except ConflictError:
                    counts['conflicts of a crowd'] += 1
                except BaseException as error:
                    problems.append(error)
                finally:
                    manager.abort()
                    conn.close()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not problems, problems[0]
        for db in self.dbs:
            db.close()

    def run_small(self, address):
        """On an empty database, without packs and blobs"""
        self.dbs = first, second = [ZODB.DB(self.client(address)) for _ in 'ab']
        with self.transaction(first) as conn:
            conn.root.things = PersistentMapping(n=0)
            conn.root.count = Length()
        self.objects(first, second, 300)
        self.conflicts(first, second)
        self.undo(first, second)
        self.look(first, second)
        for db in first, second:
            db.close()

    def objects(self, first, second, size):
        with self.transaction(first, 'new') as conn:
            for n in range(5):
                conn.root.things[n] = PersistentMapping(fill=n * 'x')
        with self.transaction(second) as conn:
            assert sum(len(conn.root.things[n]['fill']) for n in range(5)) == 10
            conn.root.things[3]['fill'] = 'y' * size
        with self.transaction(first) as conn:
            assert len(conn.root.things[3]['fill']) == size

    def conflicts(self, first, second):
        # One that the server resolves, and one that cannot be resolved.
        for name, lost in ('count', False), ('things', True):
            self.settle()
            managers = [transaction.TransactionManager() for _ in 'ab']
            a, b = (db.open(manager) for db, manager in zip((first, second), managers))
            for conn, by in (a, 2), (b, 3):
                thing = conn.root()[name]
                if lost:
                    thing['n'] += by
                else:
                    thing.change(by)
            managers[0].commit()
            self.settle()
            try:
                managers[1].commit()
                assert not lost
            except ConflictError:
                assert lost
                managers[1].abort()
            a.close(), b.close()
        # An object that was only read has changed.
        self.settle()
        managers = [transaction.TransactionManager() for _ in 'ab']
        a, b = (db.open(manager) for db, manager in zip((first, second), managers))
        b.readCurrent(b.root.things)
        b.root.things[1]['fill'] = 'never'
        a.root.things['n'] += 1
        managers[0].commit()
        self.settle()
        try:
            managers[1].commit()
            raise AssertionError('a read conflict was not noticed')
        except ConflictError:
            managers[1].abort()
        a.close(), b.close()

    def undo(self, first, second):
        with self.transaction(first, 'to be undone') as conn:
            conn.root.things[0]['fill'] = 'oops'
        with self.transaction(second) as conn:
            assert conn.root.things[0]['fill'] == 'oops'
        log = second.undoInfo(0, 20)
        assert log[0]['description'] == 'to be undone', log
        manager = transaction.TransactionManager()
        first.undo(log[0]['id'], manager.get())
        manager.commit()
        with self.transaction(second) as conn:
            assert conn.root.things[0]['fill'] == ''
        # This undo is too late.
        try:
            first.undo(first.undoInfo(0, 20)[4]['id'], manager.get())
            manager.commit()
        except UndoError:
            pass
        except Exception as error:
            # Python's client cannot always build what Python's server raises.
            assert 'Undo' in repr(error), repr(error)
        manager.abort()

    def blobs(self, first, second):
        with self.transaction(first) as conn:
            conn.root.blob = Blob(b'new' * 50_000)
            conn.root.small = Blob(b'')
        with self.transaction(second) as conn:
            assert len(conn.root.blob.open().read()) == 150_000
            with conn.root.blob.open('w') as f:
                f.write(b'again')
        with self.transaction(first) as conn:
            assert conn.root.blob.open().read() == b'again'

    def look(self, first, second):
        self.settle()
        storage = second.storage
        last = storage.lastTransaction()
        for oid in p64(0), p64(1):
            for revision in storage.history(oid, 3):
                storage.loadSerial(oid, revision['tid'])
        storage.getTid(p64(1))
        records = [[record.oid for record in found] for found in storage.iterator()]
        assert len(records) > 3
        assert len(list(storage.iterator(last, last))) == 1
        storage.loadBefore(p64(0), p64(int.from_bytes(last, 'big') - 1))
        following = None
        for _ in range(4):
            *_, following = storage.record_iternext(following)
        try:
            storage.loadBefore(p64(1 << 40), last)
        except POSKeyError:
            pass

    def records(self, first, second):
        """Operations of storages that applications do not use"""
        storage, other = first.storage, second.storage
        oid = storage.new_oid()
        serial = self.store(storage, lambda meta: storage.store(
            oid, z64, wire.record(100), '', meta))
        self.settle()
        assert other.loadBefore(oid, wire.MAXTID)[1] == serial
        self.store(storage, lambda meta: storage.deleteObject(oid, serial, meta))
        self.settle()
        meta = TransactionMetaData('begun', 'and given up')
        storage.tpc_begin(meta)
        storage.store(p64(1), serial, b'never', '', meta)
        storage.tpc_abort(meta)
        first.pack(time.time())
        self.settle()
        other.undoLog(0, 3)

    @staticmethod
    def store(storage, change):
        meta = TransactionMetaData('user', 'description', {'extension': 1})
        storage.tpc_begin(meta)
        change(meta)
        storage.tpc_vote(meta)
        return storage.tpc_finish(meta)
