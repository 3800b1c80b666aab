"""Big blobs through the real client, and the memory that the server uses for them.

A generated stream is stored as a blob, compared in the server's directory, and loaded through
a second client with an empty cache; then through peers that read slowly, or not at all for a while;
then several smaller ones are stored and loaded at the same time. All of it runs over TCP and TLS, for each runtime.
Whatever the size, the server may only grow by a constant: the greatest resident set of each step is
compared with that before it. No side ever holds a blob in memory.
"""
import itertools
import multiprocessing
import os
import shutil
import socket
import struct
import time
import traceback

import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from ZEO.ClientStorage import ClientStorage
from ZODB.blob import Blob

import servers
import wire
from wire import MAXTID, Raw

BLOCK = 1 << 20
NOISE = os.urandom(BLOCK)
# Maximum growth of the server's memory in a step, in bytes.
GROWTH = 64 << 20
# Number of loads of one blob that a peer requests before it reads.
REQUESTS = 200
PATIENCE = 600
# Number of the first stream of the clients that work at the same time.
FIRST = 100


@pytest.mark.alone
@pytest.mark.parametrize('transport', ['tcp', 'tls'])
def test_big_blobs(directory, arguments, certificates, size, runtime, transport):
    args = arguments(codec='pickle', size=size('blob-mb', 64, 2048), crowd=8, crowd_size=size('crowd', 16, 64))
    figures = {}
    commands = [(runtime, args.server)]
    if args.compare and runtime == servers.RUNTIMES[0]:
        commands.append(('reference', args.reference))
    for name, command in commands:
        where = os.path.join(directory, name)
        os.mkdir(where)
        run = Run(args, name, command, transport, certificates, where)
        figures[name, transport] = run.run()
        assert name == 'reference' or not run.problems, '\n'.join(run.problems)
        shutil.rmtree(where)
    show(figures)


def show(figures):
    """The table: MB/s and growth in MB for each step"""
    steps = list(dict.fromkeys(itertools.chain(*figures.values())))
    head = [f'{"MB/s (memory +MB)":20}'] + [f'{step:>14}' for step in steps]
    print(' '.join(head))
    for (name, transport), found in figures.items():
        cells = [f'{name} {transport:>4}'.ljust(20)]
        for step in steps:
            rate, growth = found.get(step, (0, 0))
            cells.append(f"{f'{rate:.0f} (+{growth / 2 ** 20:.0f})' if rate else '-':>14}")
        print(' '.join(cells))
        reference = figures.get(('reference', transport))
        if reference and name != 'reference':
            ratios = [f'{found[step][0] / reference[step][0]:.1f}' if step in reference else '-'
                      for step in steps]
            print(' '.join([f'{"  times reference":20}'] + [f'{ratio:>14}' for ratio in ratios]))


def blocks(seed, size):
    """A stream of ``size`` bytes that differs from any other in every block"""
    for number in range(0, size, BLOCK):
        block = struct.pack('>QQ', seed, number) + NOISE[16:]
        yield block[:size - number]


def write(f, seed, size):
    for block in blocks(seed, size):
        f.write(block)


def check(read, seed, size, what):
    """``read(n)`` gives the whole stream and nothing after it"""
    for number, block in enumerate(blocks(seed, size)):
        assert read(len(block)) == block, f'{what}: wrong in MB {number}'
    assert not read(1), f'{what}: longer than what was sent'


class Run:
    """All steps against one server over one transport"""

    def __init__(self, args, name, command, transport, certificates, directory):
        self.args = args
        self.title = f'{name} {transport}'
        self.command = command
        self.tls = certificates if transport == 'tls' else None
        self.directory = directory
        self.blob_dir = os.path.join(directory, 'blobs')
        self.size = args.size << 20
        self.problems = []
        self.figures = {}

    def run(self):
        """-> {step: (MB/s, growth in bytes)}"""
        path = os.path.join(self.directory, 'Data.fs')
        with servers.Server(self.command, path, self.args.codec, tls=self.tls,
                          blob_dir=self.blob_dir) as self.server:
            self.prepare()
            self.step('up', self.size, self.upload)
            self.look_at_the_file()
            self.step('down', self.size, self.download)
            self.step('slowly', self.size, self.slow_reader)
            requested = 4 << 20
            self.requested = self.store(2, requested)
            if not self.server.is_python:
                self.step('many requests', REQUESTS * requested, self.many_requests)
            crowd = self.args.crowd * self.args.crowd_size << 20
            self.step('crowd up', crowd, lambda: self.crowd('up'))
            self.step('crowd down', crowd, lambda: self.crowd('down'))
            self.nothing_is_left()
        return self.figures

    def step(self, name, size, function):
        before = self.server.watch_memory()
        started = time.monotonic()
        # A step that is only partly the server's work returns the time of that part.
        seconds = function() or time.monotonic() - started
        growth = self.server.most_memory() - before
        self.figures[name] = size / seconds / 1e6, growth
        print(f'{self.title} {name}: {seconds:.1f} s, +{growth / 2 ** 20:.1f} MB', flush=True)
        if growth >= GROWTH:
            self.problems.append(f'{self.title} {name}: the server grew by {growth >> 20} MB')

    def client(self, name):
        options = self.tls.options if self.tls else {}
        cache = os.path.join(self.directory, f'cache-{name}')
        return ClientStorage(self.server.address, wait_timeout=30, blob_dir=cache, **options)

    def database(self, name):
        return ZODB.DB(self.client(name))

    def raw(self, **options):
        raw = Raw(self.server.address, self.args.codec, tls=self.tls, timeout=PATIENCE, **options)
        raw.register()
        return raw

    def forget(self, name):
        """Remove the cache of a client"""
        shutil.rmtree(os.path.join(self.directory, f'cache-{name}'))

    def prepare(self):
        """A place for each blob, so that no two commits conflict"""
        db = self.database('one')
        with db.transaction() as conn:
            for seed in (1, 2, *range(FIRST, FIRST + self.args.crowd)):
                conn.root()[seed] = PersistentMapping()
        db.close()

    def store(self, seed, size, name='one'):
        """Commit a blob. -> its oid, its tid, the seconds for the commit alone"""
        db = self.database(name)
        try:
            manager = transaction.TransactionManager()
            conn = db.open(manager)
            blob = conn.root()[seed]['blob'] = Blob()
            with blob.open('w') as f:
                write(f, seed, size)
            started = time.monotonic()
            manager.commit()
            seconds = time.monotonic() - started
            blob._p_activate()
            result = blob._p_oid, blob._p_serial, seconds
            conn.close()
        finally:
            db.close()
        self.forget(name)
        return result

    def upload(self):
        self.oid, self.tid, seconds = self.store(1, self.size)
        return seconds

    def download(self):
        return self.fetch(1, self.size, 'two')

    def fetch(self, seed, size, name):
        """Load a blob into an empty cache. -> seconds without the comparison"""
        db = self.database(name)
        try:
            conn = db.open(transaction.TransactionManager())
            blob = conn.root()[seed]['blob']
            started = time.monotonic()
            f = blob.open('r')
            seconds = time.monotonic() - started
            with f:
                check(f.read, seed, size, f'{name} got')
            conn.close()
        finally:
            db.close()
        self.forget(name)
        return seconds

    def look_at_the_file(self):
        """The server's directory is laid out as ZODB lays it out: this is what it finds there"""
        steps = [f'0x{byte:02x}' for byte in self.oid]
        path = os.path.join(self.blob_dir, *steps, f'0x{self.tid.hex()}.blob')
        with open(path, 'rb') as f:
            check(f.read, 1, self.size, 'the file of the server')

    def slow_reader(self):
        """Requests a blob, reads nothing while others commit, then a little at a time, then all"""
        raw = self.raw()
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        number = raw.send('sendBlob', self.oid, self.tid)
        self.others_go_on()
        stream = Stream(raw, number, self.oid, self.tid)
        for count, block in enumerate(blocks(1, self.size)):
            assert stream.read(len(block)) == block, f'slow reader: wrong in MB {count}'
            if count < 8:
                self.others_go_on()
        stream.expect_end()
        raw.close()

    def others_go_on(self):
        """Commits while a transfer is stopped"""
        raw = self.raw()
        oid = raw.call('new_oids')[0]
        data = wire.record(1000)
        for _ in range(5):
            tid = raw.commit((oid, wire.Z64, data))
            assert raw.call('loadBefore', oid, MAXTID) == (data, tid, None)
            oid = raw.call('new_oids')[0]
        raw.close()

    def many_requests(self):
        """Requests the same blob many times before it reads anything"""
        oid, tid, _ = self.requested
        raw = self.raw()
        numbers = [raw.send('sendBlob', oid, tid) for _ in range(REQUESTS)]
        self.others_go_on()
        for number in numbers:
            stream = Stream(raw, number, oid, tid)
            for block in blocks(2, 4 << 20):
                assert stream.read(len(block)) == block, 'many requests: wrong content'
            stream.expect_end()
        raw.close()

    def crowd(self, direction):
        """Several clients at the same time, each in a process of its own. -> the time of the slowest"""
        context = multiprocessing.get_context('fork')
        results = context.Queue()
        start = context.Barrier(self.args.crowd)
        clients = [context.Process(target=self.one_of_a_crowd, args=(n, direction, start, results))
                   for n in range(self.args.crowd)]
        for client in clients:
            client.start()
        found = [results.get(timeout=PATIENCE) for _ in clients]
        for client in clients:
            client.join()
        self.problems += [result for result in found if isinstance(result, str)]
        times = [result for result in found if not isinstance(result, str)]
        return max(times, default=None)

    def one_of_a_crowd(self, number, direction, start, results):
        try:
            size = self.args.crowd_size << 20
            seed = FIRST + number
            start.wait(PATIENCE)
            if direction == 'up':
                results.put(self.store(seed, size, f'{seed}')[2])
            else:
                results.put(self.fetch(seed, size, f'{seed}'))
        except BaseException:
            results.put(f'{self.title}: {traceback.format_exc()}')

    def nothing_is_left(self):
        """No file of an upload or download remains"""
        left = [name for _, _, names in os.walk(self.blob_dir) for name in names
                if not name.endswith('.blob') and not name.startswith('.')]
        assert not left, f'{self.title}: files are left in the blob directory: {left}'


class Stream:
    """The pieces of a blob that a raw connection gets, as if it were a file"""

    def __init__(self, raw, number, oid, tid):
        self.raw = raw
        self.number = number
        self.key = oid, tid
        self.rest = b''
        self.expect('receiveBlobStart')

    def message(self):
        while True:
            number, flag, name, args = self.raw.decode(self.raw.frame())
            if name not in ('invalidateTransaction', 'info'):
                return number, name, args

    def expect(self, name, *args):
        _, got, found = self.message()
        assert (got, tuple(found)) == (name, self.key + args), f'{got} instead of {name}'

    def read(self, size):
        pieces = [self.rest]
        length = len(self.rest)
        while length < size:
            _, name, args = self.message()
            assert name == 'receiveBlobChunk', f'{name} within a blob'
            assert tuple(args[:2]) == self.key
            pieces.append(args[2])
            length += len(args[2])
        data = b''.join(pieces)
        self.rest = data[size:]
        return data[:size]

    def expect_end(self):
        """The end of the blob; then the answer to the call, which comes after the blob"""
        assert not self.rest
        self.expect('receiveBlobStop')
        assert self.message() == (self.number, '.reply', None)
