"""The power fails under the release binary, at any moment, as far as a log of its calls shows it.

The server works under load while strace writes down what it does to its files and what it sends to
its clients. Then, for many moments of the log, states are built in which a disk could be if the
power had failed there (support/disk_trace.py). Each is opened by rzeo, and then by Python's ZODB, and

* every commit that was acknowledged to any client at that moment must be there, and of the others those up to
  some moment, each as a whole: each object is as the last of them left it;
* every record of a blob must have its file, with the right content;
* fstest and ``rzeo check`` must find nothing.

Python opens the state by itself, too, before rzeo has; the cases that docs/filestorage.md names are counted.

The final state of the log must be the files of the server, so the log is complete. A disk that never syncs must
lose commits, so the states are bad enough.

Without strace the test is skipped.
"""
import base64
import collections
import hashlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
import traceback

import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from ZEO.ClientStorage import ClientStorage
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.POSException import POSKeyError
from ZODB.scripts import fstest
from ZODB.utils import u64

import servers
import wire
from disk_trace import STRACE, Disk, Trace, write_state

WRITERS = 4
OBJECTS = 3
UNSYNCED_STATES = 40


@pytest.mark.slow
@pytest.mark.parametrize('encoding, packs', [('msgpack', False), ('pickle', True)])
def test_power_cuts(directory, arguments, serve, size, encoding, packs):
    if not can_trace():
        pytest.skip('strace is not installed, or may not be used')
    args = arguments(server=f"{serve} --runtime {'smol' if packs else 'tokio'}", codec=encoding, packs=packs,
                     seconds=size('seconds', 3, 8), cuts=size('cuts', 40, 250))
    cuts = PowerCuts(args, directory)
    cuts.load()
    cuts.read_log()
    cuts.check_disk_without_sync()
    cuts.cut_often()
    print(', '.join(f'{count} {what}' for what, count in sorted(cuts.counts.items())))


def can_trace():
    try:
        return subprocess.run([*STRACE, '-o', '/dev/null', 'true'], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class Lost(AssertionError):
    """A state that breaks a promise of the storage"""


def expect(holds, what):
    if not holds:
        raise Lost(what)


class PowerCuts:

    def __init__(self, args, directory):
        self.args = args
        self.directory = directory
        self.root = os.path.join(directory, 'db')
        os.mkdir(self.root)
        self.random = random.Random(args.seed)
        self.counts = collections.Counter()
        #: Of each object all revisions, in order: tid, digest of the record
        self.revisions = collections.defaultdict(list)
        #: Of each object the digests of its blobs
        self.blobs = collections.defaultdict(set)
        self.problems = []

    # The load

    def load(self):
        log = os.path.join(self.directory, 'strace')
        command = ' '.join([*STRACE, '-o', log, self.args.server])
        path = os.path.join(self.root, 'Data.fs')
        with servers.Server(command, path, self.args.codec, blob_dir=os.path.join(self.root, 'blobs'),
                          storages=self.storage(path)) as server:
            db = ZODB.DB(ClientStorage(server.address, wait_timeout=20,
                                       blob_dir=os.path.join(self.directory, 'client')))
            ends = time.monotonic() + self.args.seconds
            threads = [threading.Thread(target=self.guarded, args=(self.write, n, server, ends))
                       for n in range(WRITERS)]
            threads.append(threading.Thread(target=self.guarded, args=(self.blob, db, ends)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            db.close()
            assert not self.problems, self.problems[0]
            # strace is not the server.
            with open(f'/proc/{server.process.pid}/task/{server.process.pid}/children') as f:
                child = int(f.read().split()[0])
            os.kill(child, signal.SIGTERM)
            assert server.process.wait(30) == 0, server.tail()
        self.log = log
        for revisions in self.revisions.values():
            revisions.sort()

    def storage(self, path, blobs=None):
        """Unreachable objects stay in a pack"""
        blobs = blobs or os.path.join(os.path.dirname(path), 'blobs')
        return '\n'.join(['<filestorage>', f'path {path}', f'blob-dir {blobs}', 'pack-gc false',
                          '</filestorage>', ''])

    def guarded(self, work, *args):
        try:
            work(*args)
        except BaseException:
            self.problems.append(traceback.format_exc())

    def write(self, number, server, ends):
        """Commits of a few objects that only this thread changes"""
        chance = random.Random(f'{self.args.seed} {number}')
        peer = wire.Raw(server.address, self.args.codec, timeout=60)
        peer.register()
        oids, serials = peer.call('new_oids', OBJECTS), {}
        while time.monotonic() < ends:
            stores = []
            for oid in chance.sample(list(oids), chance.randint(1, OBJECTS)):
                size = chance.choice((50, 300, 513, 5000, 40_000))
                record = wire.record(size, bytes([chance.randint(33, 126)]))
                stores.append((oid, serials.get(oid, wire.Z64), record))
            tid = peer.commit(*stores)
            for oid, _, record in stores:
                serials[oid] = tid
                self.revisions[oid].append((tid, digest(record)))
        peer.close()

    def blob(self, db, ends):
        """Blobs, undo, and packs"""
        with db.transaction() as conn:
            conn.root.blob = Blob(b'')
            conn.root.value = PersistentMapping(value=0)
        number = 0
        while time.monotonic() < ends:
            number += 1
            content = f'{number} '.encode() * (number * 997 % 20_000)
            with db.transaction() as conn:
                with conn.root.blob.open('w') as f:
                    f.write(content)
                conn.root.value['value'] = number
                blob = conn.root.blob._p_oid
                # Before any client can read it.
                self.blobs[blob] |= {digest(content), digest(b'')}
                value = conn.root.value._p_oid
            if number % 4 == 0:
                manager = transaction.TransactionManager()
                db.undo(base64.b64encode(db.history(value)[0]['tid']), manager.get())
                try:
                    manager.commit()
                    self.counts['undos'] += 1
                except Exception as error:
                    manager.abort()
                    assert 'Undo' in repr(error), repr(error)
            if self.args.packs and number % 5 == 0:
                db.pack(time.time() - .2)
                self.counts['packs'] += 1

    # The log

    def read_log(self):
        self.trace = Trace(self.log, self.root)
        disk = Disk()
        #: The event with which a commit was acknowledged
        self.acknowledged = {}
        known = {tid for revisions in self.revisions.values() for tid, _ in revisions}
        received = collections.defaultdict(bytes)
        acknowledgements = []
        for index, event in enumerate(self.trace.events):
            disk.step(event)
            if event[0] == 'send':
                number, data = event[1:]
                text = received[number][-7:] + data
                received[number] = text
                for tid in known:
                    if tid in text and tid not in self.acknowledged:
                        self.acknowledged[tid] = index
                        acknowledgements.append(index)
        missing = len(known - self.acknowledged.keys())
        assert self.acknowledged.keys() == known, f'{missing} commits were never acknowledged'
        for path, file in disk.now.files.items():
            with open(os.path.join(self.root, path), 'rb') as f:
                assert f.read() == file.now(), f'the log is not complete: {path} differs'
        self.acknowledgements = acknowledgements
        self.counts['events'] = len(self.trace.events)
        self.counts['syncs'] = self.trace.syncs
        self.counts['commits'] = len(known)

    # Cuts

    def moments(self, count):
        """Moments just before and after an acknowledgement, and random ones"""
        ends = len(self.trace.events)
        near = [min(ends, max(0, index + self.random.choice((0, 1, -1, -2, -3))))
                for index in self.random.choices(self.acknowledgements, k=count // 2)]
        return sorted(near + [self.random.randint(0, ends) for _ in range(count - len(near))])

    def states(self, count, **how):
        disk, at = Disk(**how), 0
        for number, moment in enumerate(self.moments(count)):
            while at < moment:
                disk.step(self.trace.events[at])
                at += 1
            yield moment, disk.cut(f'{self.args.seed} {number}')

    def check_disk_without_sync(self):
        """On a disk that ignores syncs, commits are lost"""
        lost, counts = 0, self.counts.copy()
        for moment, state in self.states(UNSYNCED_STATES, ignores_sync=True):
            try:
                self.check_state(moment, state)
            except (AssertionError, POSKeyError, OSError):
                lost += 1
        assert lost, 'no commit is lost'
        # The counts exclude those states.
        self.counts = counts
        self.counts[f'of {UNSYNCED_STATES} states of a disk that never syncs, with a lost commit'] = lost

    def cut_often(self):
        for moment, state in self.states(self.args.cuts):
            try:
                self.check_state(moment, state)
            except BaseException as error:
                raise AssertionError(f'cut at event {moment}: {error}') from error
            self.counts['states'] += 1

    def check_state(self, moment, state):
        place = os.path.join(self.directory, 'state')
        shutil.rmtree(place, ignore_errors=True)
        write_state(state, place)
        path = os.path.join(place, 'Data.fs')
        acknowledged = [tid for tid, since in self.acknowledged.items() if since < moment]
        self.python_at_once(place, acknowledged)
        size = os.path.getsize(path) if os.path.exists(path) else 0
        server = servers.Server(self.args.server, path, self.args.codec, storages=self.storage(path))
        self.counts['states in which something was cut'] += os.path.getsize(path) < size
        server.stop()
        done = subprocess.run([self.args.rzeo, 'check', '--quiet', '--blobs',
                               os.path.join(place, 'blobs'), path], capture_output=True, text=True)
        problems = [line for line in done.stdout.splitlines() if line.startswith(place)]
        back = [line for line in problems if line.endswith('belongs to no revision')]
        if self.args.packs and back and problems == back:
            # A pack does not sync the directory of each blob that it removes.
            self.counts['blobs that were packed away and are back'] += len(back)
        else:
            expect(done.returncode == 0, f'rzeo check: {done.stdout}{done.stderr}')
        storage = FileStorage(path, blob_dir=os.path.join(place, 'blobs'))
        self.look(storage, acknowledged)
        storage.close()
        fstest.check(path)

    def python_at_once(self, place, acknowledged):
        """Python opens the state before rzeo has opened it"""
        copy = place + '.python'
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(place, copy)
        path = os.path.join(copy, 'Data.fs')
        if not os.path.exists(path):
            return
        try:
            storage = FileStorage(path)
        except (FileStorageError, ValueError, AssertionError):
            self.counts['states that Python refuses at first'] += 1
            return
        self.look(storage, acknowledged, blobs=False)
        storage.close()
        self.counts['states that Python opens at once'] += 1

    def look(self, storage, acknowledged, blobs=True):
        """Checks the contents of a storage"""
        # Python takes the last tid from what it cuts.
        last = max((found.tid for found in storage.iterator()), default=wire.Z64)
        newest = max(acknowledged, default=wire.Z64)
        expect(newest <= last, f'{u64(newest):#x} was acknowledged, and {u64(last):#x} is the last')
        for oid, revisions in self.revisions.items():
            expected = [revision for revision in revisions if revision[0] <= last]
            try:
                data, tid = storage.load(oid)
                found = tid, digest(data)
            except POSKeyError:
                found = None
            expect(found == (expected[-1] if expected else None),
                   f'object {u64(oid):#x} is {found}, not {expected[-1:]}')
        for transaction_ in storage.iterator():
            for record in transaction_:
                if blobs and record.data and storage.is_blob_record(record.data):
                    with open(storage.loadBlob(record.oid, record.tid), 'rb') as f:
                        known = self.blobs[record.oid] | {digest(b'')}
                        expect(digest(f.read()) in known, f'blob {u64(record.oid):#x} has other content')


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]
