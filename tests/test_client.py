"""The Rust client against rzeo and Python's server, while Python's client reads and writes the same objects.

For each server, codec, runtime and transport (TCP, a Unix socket, TLS), the test makes a database and starts the
program `everything` of fixtures/client-judge, which calls every function of the client. The program asks with
lines on its output that Python's client read or store something, and that servers start or stop.
"""
import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import time

import pytest
import transaction
import ZODB
from BTrees.Length import Length
from persistent.mapping import PersistentMapping
from ZEO.ClientStorage import ClientStorage
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError
from ZODB.scripts import fstest
from ZODB.utils import p64, u64

import servers
from certificates import Certificates

ACCOUNTS = 12
#: Size of the server's invalidation queue.
KNOWN_COMMITS = 10
TRANSPORTS = 'tcp', 'unix', 'tls'
#: Every value is in one of these, and nearly every pair of runtime, codec and transport.
SHORT = (('tokio', 'pickle', 'tcp'), ('smol', 'msgpack', 'unix'), ('tokio', 'msgpack', 'tls'),
         ('smol', 'pickle', 'tls'))
#: How long to wait for the exit of the program, in seconds; it detects hanging checks itself.
PATIENCE = 300


def pytest_generate_tests(metafunc):
    combinations = SHORT
    if metafunc.config.getoption('size') == 'full':
        combinations = list(itertools.product(servers.RUNTIMES, servers.CODECS, TRANSPORTS))
    metafunc.parametrize('client_runtime, encoding, transport', combinations)


@pytest.mark.parametrize('kind', ['rzeo', 'python'])
def test_client(directory, arguments, program, kind, client_runtime, encoding, transport):
    args = arguments(program=program('everything'))
    command = args.server if kind == 'rzeo' else args.reference
    run = Run(args, command, directory, client_runtime, encoding, transport)
    print(f'{run.run()} checks')


def number(text):
    return p64(int(text))


def content(size):
    return bytes((place // 251 + place) & 255 for place in range(size))


def digest(data):
    return f'{len(data)} {hashlib.sha256(data).hexdigest()}'


class Run:
    """One combination"""

    def __init__(self, args, command, directory, runtime, codec, transport):
        self.args = args
        self.command = command
        self.directory = directory
        self.runtime = runtime
        self.codec = codec
        self.transport = transport
        self.path = os.path.join(directory, 'Data.fs')
        self.blobs = os.path.join(directory, 'blobs')
        self.tls = transport == 'tls' and Certificates(os.path.join(directory, 'certificates'))
        self.checks = 0
        #: Servers by kind
        self.servers = {}
        self.db = None
        self.address = None

    def run(self):
        self.prepare()
        self.start()
        try:
            self.converse()
        finally:
            if self.db:
                self.db.close()
            for server in self.servers.values():
                server.__exit__(*sys.exc_info())
        fstest.check(self.path)
        return self.checks

    def prepare(self):
        """Writes the database"""
        db = ZODB.DB(FileStorage(self.path, blob_dir=self.blobs))
        conn = db.open()
        root = conn.root
        root.accounts = [PersistentMapping(balance=1) for _ in range(ACCOUNTS)]
        root.length = Length(10)
        root.gone = PersistentMapping(balance=9)
        root.blob = Blob(b'hello')
        transaction.commit()
        revisions = [root.accounts[0]._p_serial]
        for balance in 2, 3, 4, 5:
            root.accounts[0]['balance'] = balance
            transaction.get().note(f'revision {balance}')
            transaction.commit()
            revisions.append(root.accounts[0]._p_serial)
        gone = root.gone._p_oid
        del root.gone
        transaction.commit()
        self.facts = dict(
            accounts=','.join(str(u64(account._p_oid)) for account in root.accounts),
            revisions=','.join(str(u64(tid)) for tid in revisions),
            length=u64(root.length._p_oid), gone=u64(gone), blob=u64(root.blob._p_oid),
            blobs=self.blobs)
        conn.close()
        db.close()

    def start(self):
        """Starts the tested server, and connects Python's client"""
        if self.transport == 'unix':
            self.address = os.path.join(self.directory, 'main.sock')
        self.servers['main'] = self.server(
            self.path, self.blobs, self.address if isinstance(self.address, str) else
            '%s:%s' % (self.address or ('127.0.0.1', 0)))
        # The address stays the same after a restart.
        self.address = self.servers['main'].address
        if self.db is None:
            self.db = ZODB.DB(self.storage())
            self.conn = self.db.open(transaction.TransactionManager())

    def server(self, path, blobs, address, *settings):
        return servers.Server(
            self.command, path, self.codec, tls=self.tls, blob_dir=blobs, address=address,
            settings=[f'invalidation-queue-size {KNOWN_COMMITS}', *settings])

    def storage(self):
        options = self.tls.options if self.tls else {}
        return ClientStorage(self.address, wait_timeout=30,
                             blob_dir=os.path.join(self.directory, 'python-blobs'), **options)

    def converse(self):
        words = [self.args.program, '--runtime', self.runtime, '--directory', self.directory,
                 '--address', self.spelled(self.address)]
        if self.tls:
            words += ['--certificates', self.tls.directory]
        self.program = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        last = ''
        with self.program:
            try:
                for line in self.program.stdout:
                    last = line.strip()
                    self.handle(last)
                assert self.program.wait(PATIENCE) == 0 and last == 'done', \
                    f'{last or "the program wrote nothing"}\n{self.servers["main"].tail()}'
            finally:
                self.program.kill()

    @staticmethod
    def spelled(address):
        return address if isinstance(address, str) else '%s:%s' % address

    def handle(self, line):
        word, _, rest = line.partition(' ')
        print(line, flush=True)
        if word == 'ok':
            self.checks += 1
        elif word == '?':
            question, *words = rest.split()
            answer = getattr(self, 'answer_' + question.replace('-', '_'))(*words)
            print('!', answer, flush=True)
            self.program.stdin.write(f'{answer}\n')
            self.program.stdin.flush()

    # The requests of the program. Numbers are oids and tids.

    def answer_facts(self):
        return ' '.join(f'{name}={value}' for name, value in self.facts.items())

    def answer_path(self):
        return self.path

    def answer_newest(self):
        self.begin()
        return u64(self.db.storage.lastTransaction())

    def answer_logged(self, *words):
        """Whether the server logs the words, at the latest after it has noticed the end of a connection"""
        ends = time.monotonic() + 20
        while ' '.join(words) not in self.servers['main'].log_text():
            if time.monotonic() > ends:
                return 'no'
            time.sleep(.05)
        return 'yes'

    def answer_transactions(self):
        text = (lambda words: words.decode().replace(' ', '_'))
        return ' '.join(
            f'{u64(it.tid)}:{text(it.user)}:{text(it.description)}:'
            + ','.join(str(u64(record.oid)) for record in it)
            for it in self.db.storage.iterator())

    def answer_objects(self):
        oids, following = [], None
        while True:
            oid, _, _, following = self.db.storage.record_iternext(following)
            oids.append(str(u64(oid)))
            if following is None:
                return ','.join(oids)

    def answer_change(self, account, balance):
        def change():
            self.conn.get(number(account))['balance'] = int(balance)
        return self.commit(change)

    def begin(self):
        """Begins a transaction that sees all commits"""
        manager, storage = self.conn.transaction_manager, self.db.storage
        newest = storage._call('lastTransaction')
        # Python's server may send an invalidation after it has answered.
        while storage.lastTransaction() < newest:
            time.sleep(.01)
        manager.begin()
        return manager

    def commit(self, change):
        """Commits a change; returns the tid"""
        manager = self.begin()
        change()
        manager.get().note('change')
        manager.commit()
        return u64(self.db.storage.lastTransaction())

    def answer_look(self, oid):
        self.begin()
        try:
            found = self.conn.get(number(oid))
            found._p_activate()
        except POSKeyError:
            return 'nothing'
        return found() if isinstance(found, Length) else found['balance']

    def answer_about(self, tid):
        it = self.one(tid)
        return f'{it.user.decode()}|{it.description.decode()}|{it.extension}'

    def answer_records(self, tid):
        return len(list(self.one(tid)))

    def one(self, tid):
        for it in self.db.storage.iterator(number(tid), number(tid)):
            return it

    def answer_blob(self, oid):
        self.begin()
        with self.conn.get(number(oid)).open() as f:
            return digest(f.read())

    def answer_new_blob(self, size):
        data = content(int(size))
        blob = Blob(data)
        tid = self.commit(lambda: self.conn.add(blob))
        return f'{u64(blob._p_oid)} {tid} {digest(data)}'

    def answer_commits(self, count):
        for n in range(int(count)):
            tid = self.commit(lambda: self.conn.root.length.change(1))
        return tid

    def answer_serve(self, kind):
        """Starts another server, on a copy of the database"""
        settings = {'plain': '', 'leaves-conflicts': 'client-conflict-resolution true',
                    'read-only': 'read-only true'}[kind]
        path = os.path.join(self.directory, kind + '.fs')
        shutil.copy(self.path, path)
        blobs = path + '.blobs'
        shutil.copytree(self.blobs, blobs)
        address = path + '.sock' if self.transport == 'unix' else '127.0.0.1:0'
        self.servers[kind] = self.server(path, blobs, address, settings)
        return self.spelled(self.servers[kind].address)

    def answer_stop(self):
        self.servers.pop('main').stop()
        return 'done'

    def answer_start(self):
        self.start()
        return 'done'

    def answer_start_changed(self):
        """Starts the server again, after a commit directly to the file"""
        db = ZODB.DB(FileStorage(self.path, blob_dir=self.blobs))
        with db.transaction() as conn:
            conn.root.length.change(1)
        tid = u64(db.storage.lastTransaction())
        db.close()
        self.start()
        return tid

    def answer_pin(self):
        done = subprocess.run(
            ['openssl', 'x509', '-noout', '-fingerprint', '-sha256', '-in',
             self.tls.path('server.pem')], capture_output=True, text=True, check=True)
        return done.stdout.strip().replace(' ', '')
