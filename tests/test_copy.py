"""`rzeo copy` beside Python's copyTransactionsFrom.

* Every sample database is copied by both, from file to file: files and blobs must be the same byte
  for byte. Where Python's copy fails, ours may fail or not.
* A database with everything in it is copied from and to files and servers, Python's and ours, in both
  encodings: transactions, the history and the state of every object, and blobs must be the same.
* Copies are killed at any instant: what Python reads must be complete up to a transaction, and the next run
  must continue from there.
"""
import collections
import contextlib
import hashlib
import io
import itertools
import pathlib
import random
import shutil
import signal
import subprocess
import time

import pytest
import transaction
import ZODB
import zodbpickle.pickle
from persistent.mapping import PersistentMapping
from ZEO.ClientStorage import ClientStorage
from ZODB.Connection import TransactionMetaData
from ZODB.blob import Blob, is_blob_record
from ZODB.FileStorage import FileStorage

import servers
from certificates import Certificates

SAMPLES = pathlib.Path(servers.ROOT) / 'fixtures' / 'samples'
BLOB = 200_000
PARTS = 'samples', 'kinds', 'tls', 'kills'
# Copies that differ from Python's, and why.
DIFFERENT = {
    'tail-bad-status/Data.fs': 'an unknown status becomes a plain one',
    'packed-dup-undo/Data.fs': "Python's copy has other data than the file: of a transaction's two records "
                               'of an object it points to the other one',
}


@pytest.mark.parametrize('part', PARTS)
def test_copy(directory, arguments, size, part):
    comparison = Comparison(arguments(kills=size('kills', 2, 6)), pathlib.Path(directory))
    getattr(comparison, part)()
    print(', '.join(f'{count} {what}' for what, count in sorted(comparison.counts.items())))
    assert not comparison.differences, f'{comparison.differences} differences'


class Comparison:

    def __init__(self, args, directory):
        self.args = args
        self.directory = directory
        self.random = random.Random(args.seed)
        self.counts = collections.Counter()
        self.differences = 0
        self.runs = itertools.count()

    def differ(self, name, text):
        self.differences += 1
        print(f'{name}: {text}', flush=True)

    def new(self, name):
        path = self.directory / f'{next(self.runs)}-{name}'
        path.mkdir()
        return path

    def command(self, source, target):
        return [self.args.rzeo, 'copy', *source.options('from'), *target.options('to'),
                source.place, target.place]

    def copy(self, name, source, target, *words):
        """Runs a copy. -> whether it went well"""
        command = [*self.command(source, target), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in (0, 1) or 'panicked' in done.stderr:
            self.differ(name, f'status {done.returncode}: {done.stderr[-500:]}')
        self.output = done.stdout + done.stderr
        return done.returncode == 0

    # Samples, from file to file

    def samples(self):
        for sample in sorted(path for path in SAMPLES.iterdir() if path.is_dir()):
            where = self.new(sample.name)
            shutil.copytree(sample, where / 'source')
            for file in 'Data.fs', 'source.fs', 'before.fs':
                if (where / 'source' / file).exists():
                    self.sample(f'{sample.name}/{file}', where, file)

    def sample(self, name, where, file):
        path = where / 'source' / file
        blobs = where / 'source' / 'blobs'
        for with_blobs in {False, blobs.exists() and file == 'Data.fs'}:
            label = f'{name}{" with blobs" * with_blobs}'
            source = File(path, blobs if with_blobs else None)
            theirs, ours = (File(where / f'{side}-{file}-{with_blobs}.fs',
                                 where / f'{side}-{file}-blobs' if with_blobs else None)
                            for side in ('theirs', 'ours'))
            try:
                pythons_copy(source, theirs)
            except Exception:
                self.counts["copies that Python's refuses"] += 1
                self.copy(label, source, ours)
                continue
            if not self.copy(label, source, ours):
                if 'is damaged at byte' in self.output:
                    self.counts["damaged files that Python's opening cuts"] += 1
                    continue
                self.differ(label, f'only Python copies it: {self.output[-300:]}')
                continue
            self.counts['samples'] += 1
            same = theirs.path.read_bytes() == ours.path.read_bytes()
            if same == (name in DIFFERENT):
                self.differ(label, 'the files differ')
            if theirs.blob_files() != ours.blob_files():
                self.differ(label, 'the blobs differ')
            # A second copy finds nothing to do.
            if not self.copy(label, source, ours) or 'nothing to copy' not in self.output:
                self.differ(label, f'not continued: {self.output[-300:]}')

    # Files and servers

    def kinds(self):
        where = self.new('everything')
        source = File(where / 'Data.fs', where / 'blobs')
        everything(self, source, where)
        expected = View(source)
        for codec in servers.CODECS:
            for one, other in itertools.product(('file', 'reference', 'server'), repeat=2):
                if one == other == 'file' and codec != servers.CODECS[0]:
                    continue
                self.kind(f'{codec}, from {one} to {other}', codec, one, other, source, expected)

    def kind(self, name, codec, one, other, original, expected):
        where = self.new(f'{codec}-{one}-{other}')
        with contextlib.ExitStack() as stack:
            source = original.copied_to(where / 'source.fs')
            target = File(where / 'target.fs', where / 'target-blobs')
            ours = stack.enter_context(self.side(source, one, codec))
            theirs = stack.enter_context(self.side(target, other, codec))
            if not self.copy(name, ours, theirs):
                self.differ(name, f'not copied: {self.output[-500:]}')
            if not self.copy(name, ours, theirs) or 'nothing to copy' not in self.output:
                self.differ(name, f'not continued: {self.output[-500:]}')
        self.counts['kinds'] += 1
        self.same(name, expected, View(target), exact=other == 'file')
        if other == 'file':
            python = File(where / 'python.fs', where / 'python-blobs')
            with self.side(source, one, codec) as again:
                pythons_copy(again, python)
            if python.path.read_bytes() != target.path.read_bytes():
                self.differ(name, "the file differs from the one that Python's copy makes")

    @contextlib.contextmanager
    def side(self, file, kind, codec, tls=None):
        if kind == 'file':
            yield file
            return
        command = self.args.server if kind == 'server' else self.args.reference
        with servers.Server(command, str(file.path), codec, blob_dir=file.blobs, tls=tls) as server:
            yield Served(server, file)

    def tls(self):
        """Over TLS, with certificates on both sides"""
        certificates = Certificates(str(self.new('certificates')))
        where = self.new('tls')
        source = File(where / 'Data.fs', where / 'blobs')
        everything(self, source, where)
        expected = View(source)
        target = File(where / 'target.fs', where / 'target-blobs')
        words = ['--from-tls', '--to-tls', '--tls-ca', certificates.path('authority.pem'),
                 '--tls-certificate', certificates.path('client.pem'),
                 '--tls-key', certificates.path('client.key')]
        with self.side(source, 'reference', 'pickle', certificates) as ours, \
                self.side(target, 'server', 'msgpack', certificates) as theirs:
            if self.copy('without TLS', ours, theirs):
                self.differ('without TLS', 'copied')
            if not self.copy('TLS', ours, theirs, *words):
                self.differ('TLS', f'not copied: {self.output[-500:]}')
        self.counts['kinds over TLS'] += 1
        self.same('TLS', expected, View(target), exact=False)

    def same(self, name, expected, found, exact):
        for what, difference in expected.differences(found, exact):
            self.differ(name, f'{what}: {difference}')

    # Copies that are killed

    def kills(self):
        where = self.new('long')
        source = File(where / 'Data.fs', where / 'blobs')
        long(self, source)
        expected = View(source)
        for one, other in itertools.product(('file', 'reference', 'server'), repeat=2):
            self.killed(one, other, source, expected)

    def killed(self, one, other, original, expected):
        name = f'killed from {one} to {other}'
        where = self.new(f'killed-{one}-{other}')
        source = original.copied_to(where / 'source.fs')
        target = File(where / 'target.fs', where / 'target-blobs')
        codec = self.random.choice(servers.CODECS)
        with contextlib.ExitStack() as stack:
            ours = stack.enter_context(self.side(source, one, codec))
            theirs = stack.enter_context(self.side(target, other, codec))
            signals = [signal.SIGKILL, signal.SIGKILL, signal.SIGINT]
            for kill in range(self.args.kills):
                was = target.size()
                process = subprocess.Popen(self.command(ours, theirs), stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE, text=True)
                wait_for(lambda: target.size() > was or process.poll() is not None)
                time.sleep(self.random.random() ** 3 * .3)
                process.send_signal(signals[kill % 3])
                printed = ''.join(process.communicate())
                if process.returncode not in (-signal.SIGKILL, 0, 1):
                    self.differ(name, f'status {process.returncode}: {printed[-500:]}')
                if process.returncode == 1 and 'interrupted' not in printed:
                    self.differ(name, f'failed: {printed[-500:]}')
                self.counts['kills in time'] += process.returncode != 0
                if other == 'file':
                    self.prefix(name, target, expected)
            if not self.copy(name, ours, theirs):
                self.differ(name, f'not continued: {self.output[-500:]}')
        found = View(target)
        tids = [tid for tid, *_ in found.transactions]
        if tids != sorted(set(tids)):
            self.differ(name, 'a transaction was copied twice')
        self.same(name, expected, found, exact=other == 'file')
        if one == other == 'file' and target.path.read_bytes() != source.path.read_bytes():
            self.differ(name, 'the file is not the same')

    def prefix(self, name, target, expected):
        """A killed copy, as Python reads it, is a beginning of the source"""
        # On a copy: Python cuts what a kill has left at the end.
        where = self.new('prefix')
        looked_at = target.copied_to(where / 'Data.fs')
        if not looked_at.path.exists():
            return
        found = View(looked_at)
        shutil.rmtree(where)
        count = len(found.transactions)
        if found.comparable(True) != expected.comparable(True)[:count]:
            self.differ(name, 'the copy is no beginning of the source')
        missing = {at: blob for at, blob in found.wanted_blobs(expected).items()
                   if found.blobs.get(at) != blob}
        if missing:
            self.differ(name, f'blobs are missing: {sorted(missing)[:3]}')


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(.002)


class File:
    """A database in a file"""

    def __init__(self, path, blobs=None):
        self.path = path
        self.blobs = blobs
        self.place = str(path)

    def options(self, side):
        return [f'--{side}-blobs', str(self.blobs)] if self.blobs else []

    def storage(self, **options):
        return FileStorage(str(self.path), blob_dir=self.blobs and str(self.blobs), **options)

    def source(self):
        return self.storage(read_only=True)

    def size(self):
        return self.path.stat().st_size if self.path.exists() else 0

    def copied_to(self, path):
        blobs = None
        if self.blobs:
            blobs = path.with_suffix('.blobs')
            if self.blobs.exists():
                shutil.copytree(self.blobs, blobs)
        if self.path.exists():
            shutil.copy(self.path, path)
        return File(path, blobs)

    def blob_files(self):
        if not self.blobs:
            return {}
        return {path.relative_to(self.blobs): (path.read_bytes(), path.stat().st_mode)
                for path in self.blobs.rglob('*.blob')}


class Served:
    """A database that a server serves"""

    def __init__(self, server, file):
        self.server = server
        self.file = file
        self.place = '{}:{}'.format(*server.address)

    def options(self, side):
        return [f'--{side}-storage', '1']

    def source(self):
        return ClientStorage(self.server.address, wait_timeout=20,
                             blob_dir=str(self.file.path) + '.cache')


def pythons_copy(source, target):
    with contextlib.closing(source.source()) as there, \
            contextlib.closing(target.storage()) as here, \
            contextlib.redirect_stdout(io.StringIO()):
        here.copyTransactionsFrom(there)


class View:
    """A database as Python reads it"""

    def __init__(self, file):
        self.transactions = []
        self.blobs = {}
        # Opened for writing, which cuts the remains of an interrupted write.
        with contextlib.closing(file.storage()) as storage:
            for trans in storage.iterator():
                records = [(r.oid, r.tid, r.data, r.data_txn) for r in trans]
                self.transactions.append((trans.tid, trans.status, trans.user,
                                          trans.description, trans.extension_bytes, records))
                for oid, tid, data, _ in records:
                    if data is not None and is_blob_record(data):
                        with contextlib.suppress(KeyError), \
                                open(storage.loadBlob(oid, tid), 'rb') as f:
                            self.blobs[oid, tid] = hashlib.sha256(f.read()).digest()
            self.objects = {oid: state(storage, oid) for oid in storage._index}
            self.last = storage.lastTransaction()

    def wanted_blobs(self, expected):
        known = {(oid, tid) for *_, records in self.transactions for oid, tid, _, _ in records}
        return {at: blob for at, blob in expected.blobs.items() if at in known}

    def comparable(self, exact):
        """Msgpack has no lists; a server writes the record of a blob twice, at the end, and whole"""
        found = []
        for *header, extension, records in self.transactions:
            header.append(plain(zodbpickle.pickle.loads(extension) if extension else {}))
            if exact:
                found.append((*header, records))
                continue
            last = {}
            for oid, tid, data, data_txn in records:
                is_blob = data is not None and is_blob_record(data)
                last[oid] = tid, data, None if is_blob else data_txn
            found.append((*header, last))
        return found

    def differences(self, other, exact):
        ours, theirs = self.comparable(exact), other.comparable(exact)
        if len(ours) != len(theirs):
            yield 'transactions', f'{len(ours)} and {len(theirs)}'
        for one, two in zip(ours, theirs):
            for part, a, b in zip(('tid', 'status', 'user', 'description', 'extension', 'records'),
                                  one, two):
                if a != b:
                    yield f'transaction {one[0].hex()}', f'{part}: {str(a)[:200]}, {str(b)[:200]}'
        if self.objects != other.objects:
            oids = [oid for oid in self.objects.keys() | other.objects.keys()
                    if self.objects.get(oid) != other.objects.get(oid)]
            oid = min(oids)
            yield f'object {oid.hex()}', f'{self.objects.get(oid)}, {other.objects.get(oid)}'
        if self.blobs != other.blobs:
            ats = [at for at in self.blobs.keys() | other.blobs.keys()
                   if self.blobs.get(at) != other.blobs.get(at)]
            yield 'blobs', f'{len(self.blobs)} and {len(other.blobs)}, first {min(ats)}'


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value


def state(storage, oid):
    try:
        current = storage.load(oid)
    except KeyError:
        current = None
    history = [(entry['tid'], entry['user_name'], entry['description'])
               for entry in storage.history(oid, size=10**6)]
    return current, history


def everything(comparison, file, where):
    """A database with all that there is: packed, undone, deleted, blobs, by files and by servers"""
    db = ZODB.DB(file.storage())
    work(comparison, db, 30)
    db.pack()
    work(comparison, db, 30)
    # A creation that is undone, done again, and so on.
    with db.transaction() as conn:
        conn.root()['undone'] = Blob(b'undone')
    for _ in range(4):
        db.undo(db.undoLog(0, 1)[0]['id'])
        transaction.commit()
    with db.transaction() as conn:
        gone = conn.root()['gone'] = PersistentMapping(gone=1)
        conn.add(gone)
    with db.transaction() as conn:
        oid = conn.root()['gone']._p_oid
        del conn.root()['gone']
    txn = TransactionMetaData()
    storage = db.storage
    storage.tpc_begin(txn)
    storage.deleteObject(oid, storage.load(oid)[1], txn)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)
    db.close()
    # A server writes the records of blobs twice.
    with comparison.side(file, 'reference', 'pickle') as served:
        db = ZODB.DB(served.source())
        work(comparison, db, 20)
        db.close()


def long(comparison, file):
    db = ZODB.DB(file.storage())
    work(comparison, db, 400, length=20_000)
    db.close()


def work(comparison, db, count, length=500):
    for n in range(count):
        txn = transaction.begin()
        conn = db.open()
        root = conn.root()
        txn.note(f'{n} \N{SNOWMAN}')
        txn.setUser(f'user {n % 3}')
        if n % 4 == 0:
            txn.setExtendedInfo('what', {'n': n, 'list': [1, 2.5, None, b'x']})
        key = comparison.random.randrange(10)
        data = comparison.random.randbytes(comparison.random.randrange(length))
        if n % 5 == 1:
            blob = root.get(f'blob{key}')
            if blob is None:
                blob = root[f'blob{key}'] = Blob()
            with blob.open('w') as f:
                f.write(comparison.random.randbytes(comparison.random.choice((0, 10, BLOB))))
        root[f'key{key}'] = PersistentMapping(data=data)
        txn.commit()
        conn.close()
        if n % 7 == 6:
            db.undo(db.undoLog(0, 1)[0]['id'])
            transaction.commit()
