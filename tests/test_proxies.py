"""Two proxies over one server: money moves between objects on all three, and no client sees it in between.

Every client moves money from one account to another, or adds all accounts up. The sum is always the same
in every snapshot of every client, also after the server was killed and started again, and what was
acknowledged is there in the end. Then blobs, undo, history, records one by one, iteration and a pack go
through one proxy and are seen through the other.

The server is rzeo and then Python's; the proxies are rzeo's. Clients of Python's server itself sometimes
read sums between two moves, without any proxy; that is counted, and is not a fault of the proxies.
"""
import faulthandler
import os
import random
import socket
import threading
import time
import traceback

import pytest
import transaction
import ZEO
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZEO.Exceptions import ClientDisconnected
from ZEO.asyncio.client import ServerException
from ZODB.blob import Blob
from ZODB.POSException import POSKeyError, StorageError

import servers
import wire

ACCOUNTS = 8
MONEY = 1000
PATIENCE = 60
#: Sums and moves that each client must make at least, beside other tests and while its server is down.
ACTS_PER_SECOND = .5


@pytest.mark.parametrize('kind', ['rzeo', 'python'])
def test_proxies(directory, arguments, size, kind):
    args = arguments(seconds=size('seconds', 3, 10), deaths=size('deaths', 1, 4))
    ProxiedServer(args, kind, args.server if kind == 'rzeo' else args.reference, directory).run()


class ProxiedServer:
    """A server, two proxies, and their clients"""

    def __init__(self, args, name, command, directory):
        self.args = args
        self.name = name
        self.command = command
        self.directory = directory
        self.problems = []
        self.is_over = threading.Event()
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.address = free.getsockname()

    def run(self):
        self.server = self.start()
        try:
            found = ZEO.DB(self.address)
            with found.transaction() as connection:
                root = connection.root()
                for number in range(ACCOUNTS):
                    root[number] = PersistentMapping(money=MONEY)
            found.close()
            with self.proxy(1) as one, self.proxy(2) as two:
                self.proxies = one, two
                self.live()
                self.look_around()
            self.server.stop()
        finally:
            # The current server, which may not be the first one.
            if self.server.process.poll() is None:
                self.server.kill()

    def start(self):
        path = os.path.join(self.directory, 'Data.fs')
        conf = path + '.conf'
        with open(conf, 'w') as f:
            f.write('<zeo>\naddress %s:%d\n</zeo>\n' % self.address
                    + f'<filestorage>\npath {path}\nblob-dir {self.directory}/blobs\n</filestorage>\n')
        return servers.Server(self.command, path, conf=conf)

    def proxy(self, number):
        lines = ['<zeoclient>', 'server %s:%d' % self.address, f'blob-dir {self.directory}/cache{number}',
                 '</zeoclient>', '']
        path = os.path.join(self.directory, f'proxy{number}')
        codec = servers.CODECS[number % 2]
        return servers.Server(self.args.server, path, codec, storages='\n'.join(lines))

    def live(self):
        """Money moves while the server is killed sometimes"""
        clients = [Client(self, address, n) for n, address in enumerate(self.addresses() * 2)]
        for client in clients:
            client.thread.start()
        for _ in range(self.args.deaths):
            self.wait(self.args.seconds)
            self.server.kill()
            self.wait(.5)
            self.server = self.start()
        self.wait(self.args.seconds)
        self.is_over.set()
        for client in clients:
            client.thread.join(PATIENCE)
            if client.thread.is_alive():
                faulthandler.dump_traceback()
                raise AssertionError(f'{client.name} hangs')
        self.show_problems()
        self.compare(clients)
        moves = sum(client.acknowledged for client in clients)
        sums = sum(client.sums for client in clients)
        lost = sum(client.uncertain for client in clients)
        conflicts = sum(client.conflicts for client in clients)
        least = ACTS_PER_SECOND * self.args.seconds * (self.args.deaths + 1)
        assert all(client.sums > least and client.acknowledged > least for client in clients), \
            [(client.name, client.sums, client.acknowledged) for client in clients]
        print(f'{self.name}: {moves} moves and {sums} sums, {conflicts} conflicts, {lost} commits with '
              f'no reply that shows whether they were made, {self.args.deaths} deaths: no sum was wrong '
              f'but {sum(client.mixed for client in clients)} on Python\'s server itself', flush=True)

    def addresses(self):
        return [self.address, *(proxy.address for proxy in self.proxies)]

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.problems:
            time.sleep(.05)

    def show_problems(self):
        if self.problems:
            for proxy in self.proxies:
                print(proxy.tail())
            raise AssertionError('\n'.join(self.problems))

    def compare(self, clients):
        """At rest, all clients have the values of the server"""
        expected = clients[0].values_at_rest()
        for client in clients:
            values = client.values_at_rest()
            assert values == expected, f'{client.name} has {values}, but the server {expected}'
            made = values.get(client.name, 0)
            most = client.acknowledged + client.uncertain
            assert client.acknowledged <= made <= most, \
                f'{client.name}: {client.acknowledged} acknowledged, {made} made'
        for client in clients:
            client.close()

    def look_around(self):
        """All other operations through a proxy"""
        one, two = (ZEO.DB(proxy.address, blob_dir=f'{self.directory}/client{n}')
                    for n, proxy in enumerate(self.proxies))
        direct = ZEO.DB(self.address)
        try:
            self.blobs(one, two)
            self.undo(one, two, direct)
            self.walk(one, direct)
            self.pack(one, two, direct)
        finally:
            for db in one, two, direct:
                db.close()
        print(f'{self.name}: blobs, undo, history, iteration and pack go through proxies', flush=True)

    def blobs(self, one, two):
        content = random.Random(self.args.seed).randbytes(300_000)
        with one.transaction('blob') as connection:
            connection.root()['blob'] = Blob(content)
        with seen(two, lambda root: 'blob' in root) as connection:
            blob = connection.root()['blob']
            with blob.open() as f:
                assert f.read() == content
            oid = blob._p_oid
            try:
                two.storage.loadBlob(oid, wire.p64(17))
            except POSKeyError:
                pass
            else:
                raise AssertionError('a blob that was never stored is there')

    def undo(self, one, two, direct):
        with one.transaction('first') as connection:
            connection.root()['undone'] = PersistentMapping(value=1)
        with one.transaction('second') as connection:
            connection.root()['undone']['value'] = 2
        entries = one.undoInfo(0, 3)
        assert [entry['description'] for entry in entries[:2]] == ['second', 'first'], entries
        # One encoding has no lists.
        assert list(entries) == list(direct.undoInfo(0, 3))
        manager = transaction.TransactionManager()
        one.undo(entries[0]['id'], manager.get())
        manager.commit()
        for db in one, two:
            with seen(db, lambda root: root['undone'].get('value') == 1):
                pass

    def walk(self, one, direct):
        with direct.transaction() as connection:
            oid = connection.root()['undone']._p_oid
        assert list(one.storage.history(oid, 9)) == list(direct.storage.history(oid, 9))
        for storage in one.storage, direct.storage:
            assert storage.supportsUndo() and len(storage) > 10
        through = [walked(txn) for txn in one.storage.iterator()]
        assert through == [walked(txn) for txn in direct.storage.iterator()] and len(through) > 10
        following, records = None, 0
        while records == 0 or following:
            found = one.storage.record_iternext(following)
            assert found == direct.storage.record_iternext(following)
            following, records = found[3], records + 1
        assert records > ACCOUNTS
        for db in one, direct:
            try:
                db.storage.loadBefore(wire.p64(1 << 40), wire.MAXTID)
            except POSKeyError:
                pass
            else:
                raise AssertionError('an object that was never stored is there')

    def pack(self, one, two, direct):
        with one.transaction() as connection:
            del connection.root()['undone']
        one.storage.pack(time.time(), wait=True)
        with seen(two, lambda root: 'undone' not in root):
            pass
        through = [walked(txn) for txn in two.storage.iterator()]
        assert through == [walked(txn) for txn in direct.storage.iterator()]


def walked(txn):
    return (txn.tid, txn.status, txn.user, txn.description, txn.extension,
            [(record.oid, record.tid, record.data, record.data_txn) for record in txn])


class seen:
    """A transaction that sees a condition; waits until it is true"""

    def __init__(self, db, condition):
        self.manager = transaction.TransactionManager()
        self.connection = db.open(self.manager)
        deadline = time.monotonic() + PATIENCE
        while not condition(self.connection.root()):
            assert time.monotonic() < deadline, 'a change is not seen'
            time.sleep(.01)
            self.manager.begin()

    def __enter__(self):
        return self.connection

    def __exit__(self, *error):
        self.manager.abort()
        self.connection.close()


class Client:
    """Moves money and adds it up, until the run is over"""

    def __init__(self, proxied, address, number):
        self.proxied = proxied
        self.name = f'client {number} of {address}'
        self.random = random.Random(f'{proxied.args.seed} {number}')
        self.acknowledged = self.uncertain = self.sums = self.conflicts = self.mixed = 0
        self.is_of_python = proxied.server.is_python and address == proxied.address
        self.db = ZEO.DB(address, wait_timeout=PATIENCE)
        self.manager = transaction.TransactionManager()
        self.connection = self.db.open(self.manager)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            while not self.proxied.is_over.is_set() and not self.proxied.problems:
                self.act()
        except Exception:
            self.proxied.problems.append(f'{self.name}:\n{traceback.format_exc()}')

    def act(self):
        is_committing = False
        try:
            self.manager.begin()
            if self.random.random() < .6:
                self.add_up()
                return
            self.move()
            is_committing = True
            self.manager.commit()
            self.acknowledged += 1
        except Exception as error:
            if is_disconnection(error):
                # Either the vote was lost, or the reply to a later request.
                self.uncertain += is_committing
                time.sleep(.05)
            elif isinstance(error, TransientError):
                self.conflicts += 1
            else:
                raise
            self.manager.abort()

    def values(self):
        root = self.connection.root()
        return {number: root[number]['money'] for number in range(ACCOUNTS)}

    def add_up(self):
        values = self.values()
        self.sums += 1
        if sum(values.values()) != ACCOUNTS * MONEY:
            assert self.is_of_python, f'a mixed snapshot: {values}'
            self.mixed += 1

    def move(self):
        root = self.connection.root()
        source, target = self.random.sample(range(ACCOUNTS), 2)
        amount = self.random.randrange(100)
        root[source]['money'] -= amount
        root[target]['money'] += amount
        if self.name not in root:
            root[self.name] = PersistentMapping(moves=0)
        root[self.name]['moves'] += 1

    def values_at_rest(self):
        """Everything, when no client writes any more"""
        deadline = time.monotonic() + PATIENCE
        newest = self.newest()
        while self.db.storage.lastTransaction() < newest:
            assert time.monotonic() < deadline, f'{self.name} does not receive the last commit'
            time.sleep(.01)
        self.manager.begin()
        values = self.values()
        root = self.connection.root()
        values.update((key, root[key]['moves']) for key in root.keys() if isinstance(key, str))
        self.manager.abort()
        return values

    def newest(self):
        raw = wire.Raw(self.proxied.address, 'pickle')
        try:
            return raw.register(read_only=True)
        finally:
            raw.close()

    def close(self):
        self.connection.close()
        self.db.close()


def is_disconnection(error):
    """Whether the server or a proxy was lost, or the proxy has lost its server"""
    if isinstance(error, ServerException):
        return error.args[0] == 'ZEO.Exceptions.ClientDisconnected'
    return isinstance(error, ClientDisconnected) or (
        isinstance(error, StorageError) and 'locks' in str(error))
