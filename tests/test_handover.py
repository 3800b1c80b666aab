"""One file, handed from server to server and back.

Python's server and rzeo take turns in serving the same file: each adds commits,
conflicts, undos and packs, and is stopped or killed. After every turn Python's FileStorage must
open the file, fstest must find nothing, the contents must be those that were acknowledged to the
applications, and no transaction that was there before may have changed.
"""
import base64
import os
import random
import shutil
import time

import transaction
import ZODB
from persistent.mapping import PersistentMapping
from ZEO.ClientStorage import ClientStorage
from ZODB.FileStorage import FileStorage
from ZODB.fsIndex import fsIndex
from ZODB.scripts import fstest

import servers


def test_handover(directory, arguments, runtime, codec):
    Handover(arguments(turns=8), codec, os.path.join(directory, 'Data.fs')).run()


class Handover:
    """The file between servers, and the contents that it must have"""

    def __init__(self, args, codec, path):
        self.args = args
        self.codec = codec
        self.path = path
        self.random = random.Random(args.seed)
        self.expected = {}
        self.history = []

    def run(self):
        for turn in range(self.args.turns):
            name = ('reference', 'server')[turn % 2]
            command = (self.args.reference, self.args.server)[turn % 2]
            # Every server is killed in some of its turns.
            kill = turn % 4 in (2, 3)
            packs = turn % 3 == 1
            self.turn(command, turn, kill, packs)
            self.check(kill, packs)
            print(f'{self.codec} {turn}: {name}', 'packed' if packs else '',
                  'killed' if kill else 'stopped', f'{os.path.getsize(self.path)} bytes, '
                  f'{len(self.history)} transactions', flush=True)

    def turn(self, command, turn, kill, packs):
        with servers.Server(command, self.path, self.codec) as server:
            db = ZODB.DB(ClientStorage(server.address, wait_timeout=20))
            try:
                self.work(db, turn)
                if packs:
                    db.pack()
                    self.work(db, turn + 100)
                if kill:
                    server.kill()
            finally:
                db.close()

    def work(self, db, turn):
        """Commits of all kinds. ``expected`` has the acknowledged ones."""
        for n in range(20):
            key = f'{turn}.{n}'
            value = self.random.randbytes(self.random.choice((0, 10, 1000, 100_000)))
            self.commit(db, self.put(key, value), note=key)
            self.expected[key] = value
        some = self.random.sample(sorted(self.expected), 5)
        for key in some[:2]:
            self.commit(db, self.remove(key))
            del self.expected[key]
        for key in some[2:]:
            self.change_and_undo(db, key)
        self.conflict(db, some[2])

    @staticmethod
    def commit(db, change, note=''):
        manager = transaction.TransactionManager()
        conn = db.open(manager)
        try:
            with manager as txn:
                if note:
                    txn.note(note)
                    txn.setExtendedInfo('key', note)
                return change(conn.root())
        finally:
            conn.close()

    @staticmethod
    def put(key, value):
        def change(root):
            root[key] = PersistentMapping(value=value)
        return change

    @staticmethod
    def remove(key):
        def change(root):
            del root[key]
        return change

    def change_and_undo(self, db, key):
        def change(root):
            root[key]['value'] = b'wrong'
            return root[key]._p_oid
        oid = self.commit(db, change)
        manager = transaction.TransactionManager()
        db.undo(base64.b64encode(db.history(oid)[0]['tid']), manager.get())
        manager.commit()

    def conflict(self, db, key):
        """A commit that is refused must not change the file"""
        first, second = (transaction.TransactionManager() for _ in range(2))
        one, two = db.open(first), db.open(second)
        one.root()[key]['value'] = self.expected[key] = b'first'
        two.root()[key]['value'] = b'second'
        first.commit()
        try:
            second.commit()
        except ZODB.POSException.ConflictError:
            second.abort()
        else:
            raise AssertionError('a conflict was not noticed')
        one.close()
        two.close()

    def check(self, killed, packed):
        """What Python reads from the file"""
        # The next server gets the file as it is; Python looks at a copy.
        copy = self.path + '.copy'
        shutil.copy(self.path, copy)
        index = self.path + '.index'
        if os.path.exists(index):
            shutil.copy(index, copy + '.index')
            if not killed:
                saved = fsIndex.load(index)
                assert saved['pos'] == os.path.getsize(self.path), 'the index is not up to date'
        fstest.check(copy)
        for with_index in True, False:
            if not with_index and os.path.exists(copy + '.index'):
                os.remove(copy + '.index')
            self.check_copy(copy, packed)
        for name in copy, copy + '.index', copy + '.lock', copy + '.tmp':
            if os.path.exists(name):
                os.remove(name)

    def check_copy(self, copy, packed):
        size = os.path.getsize(copy)
        storage = FileStorage(copy)
        assert os.path.getsize(copy) == size, 'the file has an interrupted end'
        history = [(t.tid, t.user, t.description, t.extension_bytes,
                    [(r.oid, r.tid, r.data, r.data_txn) for r in t])
                   for t in storage.iterator()]
        if not packed:
            before = [t[0] for t in self.history]
            assert [t[0] for t in history[:len(before)]] == before, 'transactions are missing'
            assert history[:len(before)] == self.history[:len(before)] or before == [], \
                'a transaction has changed'
        self.history = history
        db = ZODB.DB(storage)
        conn = db.open()
        found = {key: value['value'] for key, value in conn.root().items()}
        assert found == self.expected, \
            f'{sorted(set(found) ^ set(self.expected))} differ, or their values'
        tid = storage.lastTransaction()
        assert tid == history[-1][0]
        assert time.time() > ZODB.TimeStamp.TimeStamp(tid).timeTime() - 1
        conn.close()
        db.close()
