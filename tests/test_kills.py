"""The server under load is killed again and again, and no acknowledged commit is lost.

The racers of test_races.py move money through the server, in Rust on both runtimes and in Python; a
thread of this test stores blobs, undoes and packs. The server is killed with SIGKILL at any moment
and started again, in both encodings by turns; sometimes it is killed while it opens its file.

After each kill the files that it left are copied, and of the copy

* Python's ZODB must open it, with the index that is there and without any, and read all of it, blobs
  included; fstest must find nothing;
* ``rzeo check`` must find nothing, and once rzeo has opened it, no blob too many or too few;
* acknowledged commits must be there. Attempted ones are there as a whole or not at all: accounts have
  their sum, the common counter that of all counters, a blob is that of its number.

The test counts the events in MUST, and fails if one of them never happened.
"""
import base64
import collections
import contextlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import traceback

import pytest
import transaction
import ZODB
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, StorageTransactionError
from ZODB.scripts import fstest

import cutting_proxy
import servers
import test_races as races

#: Maximum seconds between a commit that was seen and the kill.
LOAD = .6
#: Seconds that clients may take to reconnect.
PATIENCE = 60
#: One of this number of kills happens while the server opens its file.
OPENING = 6
SLOTS = 5
#: A pack keeps the revisions of this many seconds: a client that reconnects reads the state as of its disconnection.
PACKED = 10

MUST = ('kills under load', 'kills while opening', 'cut tails', 'commits', 'blobs', 'undos', 'packs')


@pytest.mark.slow
def test_kills(directory, arguments, program, size, runtime):
    args = arguments(racer=program('racer'), cycles=size('cycles', 10, 20), python=False, without_cuts=False)
    kills = Kills(args, directory)
    try:
        kills.run()
    finally:
        kills.end()
        races.report(kills.counts)
    kills.check_file()
    missing = [what for what in MUST if not kills.counts[what]]
    # A few kills may miss the moments between two syncs.
    assert not missing or args.cycles < 50 and missing == ['cut tails'], f'never: {missing}'
    print(f"{args.cycles} cycles: {kills.counts['commits']} commits, {kills.counts['blobs']} blobs, "
          f"{kills.counts['cut tails']} tails were cut, nothing was lost")


class Kills(races.Race):

    def __init__(self, args, directory):
        self.args = args
        self.directory = directory
        self.random = random.Random(args.seed)
        self.counts = collections.Counter()
        self.path = os.path.join(directory, 'Data.fs')
        self.blobs = os.path.join(directory, 'blobs')
        self.server = None
        self.starts = 0
        self.has_opened = False
        self.racers = []
        plans = [races.Plan(self, n, *kind) for n, kind in enumerate((
            ('tokio', 1 << 20, 2), ('smol', 6000, 2), ('python', 1 << 20, 2)))]
        self.prepare(sum(plan.tasks for plan in plans))
        self.proxy = cutting_proxy.Proxy(args.seed, 1)
        self.start_server()
        self.racers = [races.Racer(plan) for plan in plans]
        self.extra = Extra(self)

    def prepare(self, counters):
        super().prepare(counters)
        db = ZODB.DB(FileStorage(self.path, blob_dir=self.blobs))
        with db.transaction() as conn:
            conn.root.blobs = OOBTree()
            conn.root.extra = PersistentMapping(blob=0)
            conn.root.undone = PersistentMapping(value=0)
        db.close()

    def start_server(self):
        self.starts += 1
        codec = servers.CODECS[self.starts % 2]
        self.server = servers.Server(
            self.args.server, self.path, codec, blob_dir=self.blobs,
            settings=[f'invalidation-queue-size {races.KNOWN_COMMITS}'])
        self.proxy.target = self.server.address
        # The encoding for the comparison with the racers in the end.
        self.args.codec = codec

    def run(self):
        for racer in self.racers:
            racer.send('run')
        self.extra.start()
        for cycle in range(self.args.cycles):
            self.wait_for_load()
            time.sleep(self.random.random() * LOAD)
            self.server.kill()
            self.counts['kills under load'] += 1
            self.check_files(cycle)
            while self.random.random() < 1 / OPENING or cycle == 2 and not self.has_opened:
                self.has_opened = True
                self.kill_while_opening()
                self.check_files(cycle)
            self.start_server()
        self.wait_for_load()
        self.extra.stop()
        self.pause()

    def done(self):
        return [racer.done() for racer in self.racers] + [self.extra.operations]

    def wait_for_load(self):
        """All clients have reconnected and commit"""
        before = self.done()
        ends = time.monotonic() + PATIENCE
        while any(now <= then for now, then in zip(self.done(), before)):
            for racer in self.racers:
                racer.read_lines()
            assert time.monotonic() < ends, (
                f'clients do not reconnect: {before}, {self.done()}\n{self.extra.place()}')
            assert not self.extra.problem, self.extra.problem
            time.sleep(.02)

    def kill_while_opening(self):
        """As a supervisor with a short timeout does"""
        words = self.args.server.split()
        with open(self.path + '.server.log', 'ab') as log:
            process = subprocess.Popen([*words, '-C', self.server.conf], stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log)
        time.sleep(self.random.random() * .03)
        process.kill()
        process.wait()
        self.counts['kills while opening'] += 1

    def check_files(self, cycle):
        """The files as the kill left them"""
        place = os.path.join(self.directory, 'copy')
        shutil.rmtree(place, ignore_errors=True)
        os.mkdir(place)
        for name in os.listdir(self.directory):
            if name.startswith('Data.fs') and name.split('.')[-1] in ('fs', 'index', 'pack'):
                shutil.copy(os.path.join(self.directory, name), place)
        # Blobs do not change.
        shutil.copytree(self.blobs, os.path.join(place, 'blobs'), copy_function=os.link)
        path = os.path.join(place, 'Data.fs')
        self.check(path)
        if cycle % 2 and os.path.exists(path + '.index'):
            os.remove(path + '.index')
        if cycle % 3 == 2:
            self.after_rzeo(path)
        self.after_python(path)
        self.counts['copies checked'] += 1

    def check(self, path, *options):
        done = subprocess.run([self.args.rzeo, 'check', '--quiet', *options, path],
                              capture_output=True, text=True)
        assert done.returncode == 0, f'{path}: {done.stdout}{done.stderr}'

    def after_rzeo(self, path):
        """rzeo opens it, with blobs, and stops"""
        place = os.path.dirname(path)
        server = servers.Server(self.args.server, path, blob_dir=os.path.join(place, 'blobs'))
        server.stop()
        self.check(path, '--blobs', os.path.join(place, 'blobs'))
        self.counts['copies opened by rzeo'] += 1

    def after_python(self, path):
        size = os.path.getsize(path)
        blobs = os.path.join(os.path.dirname(path), 'blobs')
        storage = FileStorage(path, blob_dir=blobs)
        self.counts['cut tails'] += os.path.getsize(path) < size
        fstest.check(path)
        self.look_at_blobs(storage)
        db = ZODB.DB(storage)
        conn = db.open(transaction.TransactionManager())
        self.check_sums(conn)
        self.extra.look(conn)
        conn.close()
        db.close()

    def look_at_blobs(self, storage):
        """Every record of a blob has its file"""
        for found in storage.iterator():
            for record in found:
                if record.data and storage.is_blob_record(record.data):
                    storage.loadBlob(record.oid, record.tid)

    def check_file(self):
        self.after_python(self.path)
        fstest.check(self.path)

    def end(self):
        self.extra.is_over = True
        super().end()


class Extra(threading.Thread):
    """Operations that racers do not do: blobs, undo, packs"""

    def __init__(self, kills):
        super().__init__(daemon=True)
        self.kills = kills
        self.counts = kills.counts
        self.random = random.Random(kills.args.seed)
        self.operations = 0
        self.problem = None
        self.is_over = False
        #: The numbers may be from the last acknowledged one to the last attempted one.
        self.done, self.tried = 0, 0
        self.values = {0}
        self.db = None

    def stop(self):
        self.is_over = True
        self.join(PATIENCE)
        assert not self.is_alive(), 'the thread with blobs hangs'
        assert not self.problem, self.problem

    def run(self):
        try:
            self.db = self.opened()
            while not self.is_over:
                with contextlib.suppress(
                        ClientDisconnected, ConflictError, StorageTransactionError, TimeoutError):
                    self.operate()
                    continue
                self.counts['calls in doubt'] += 1
                time.sleep(.01)
        except BaseException:
            self.problem = traceback.format_exc()

    def place(self):
        """The stack of the thread"""
        return ''.join(traceback.format_stack(sys._current_frames()[self.ident]))

    def opened(self):
        storage = ClientStorage(
            self.kills.proxy.address, blob_dir=os.path.join(self.kills.directory, 'client-blobs'),
            wait=False, wait_timeout=60)
        while True:
            try:
                storage._wait()
                return ZODB.DB(storage)
            except ClientDisconnected:
                pass

    def operate(self):
        deed = self.random.random()
        if deed < .02:
            self.db.storage.pack(time.time() - PACKED)
            self.counts['packs'] += 1
        elif deed < .7:
            self.store_blob()
        else:
            self.undo()
        self.operations += 1

    @contextlib.contextmanager
    def connection(self):
        manager = transaction.TransactionManager()
        conn = self.db.open(manager)
        try:
            yield conn, manager
        finally:
            manager.abort()
            conn.close()

    def store_blob(self):
        with self.connection() as (conn, manager):
            number = conn.root.extra['blob'] + 1
            assert self.done < number <= self.tried + 1, f'{number}: {self.done} to {self.tried}'
            conn.root.blobs[number % SLOTS] = Blob(content(number))
            conn.root.extra['blob'] = number
            self.tried = max(self.tried, number)
            manager.commit()
            self.done = number
            self.counts['blobs'] += 1

    def undo(self):
        with self.connection() as (conn, manager):
            before = conn.root.undone['value']
            assert before in self.values, f'{before} is none of {self.values}'
            # It may be of a cache that has no invalidation by the last commit yet.
            value = max(self.values) + 1
            conn.root.undone['value'] = value
            self.values = self.values | {value}
            manager.commit()
            self.values = {value}
            tid = conn.root.undone._p_serial
        with self.connection() as (conn, manager):
            self.values = self.values | {before}
            try:
                self.db.undo(base64.b64encode(tid), manager.get())
                manager.commit()
            except Exception as error:
                if 'Undo' not in repr(error):
                    raise
                # A pack has removed the revision before.
                self.values = {value}
                self.counts['undos too late'] += 1
                return
            self.values = {before}
            self.counts['undos'] += 1

    def look(self, conn):
        """Checks the contents of a file"""
        # The acknowledged number is read before the kill; attempts may be more by now.
        number = conn.root.extra['blob']
        assert self.done <= number <= self.tried, f'{number}: {self.done} done, {self.tried} tried'
        for slot in range(SLOTS):
            newest = max((n for n in range(max(1, number - SLOTS + 1), number + 1)
                          if n % SLOTS == slot), default=None)
            if newest:
                with conn.root.blobs[slot].open() as f:
                    assert f.read() == content(newest), f'blob {newest} has other content'
        value = conn.root.undone['value']
        assert value in self.values, f'{value} is none of {self.values}'


def content(number):
    return f'{number} '.encode() * (number * 7919 % 40_000)
