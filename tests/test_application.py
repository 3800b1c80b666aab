"""A ZODB application in several processes and threads.

Every thread does a sequence of transactions that follows from the seed and is repeated until it
succeeds, and all transactions commute: whatever the interleaving, conflicts, undos and packs, the
database must look in the end as if one thread had done it all in memory. Meanwhile every reader
checks that its snapshot is consistent: sums are conserved, counters fit what they count, BTrees are
sound, and no object that was read disappears.

In full size the reference does the same for some rounds, and must reach the same state: otherwise the
model is wrong. The comparison is left out if one of its clients sees a mixed snapshot: Python's server
now and then lets the answer to a commit overtake the invalidation by an earlier one.
"""
import base64
import collections
import faulthandler
import hashlib
import json
import multiprocessing
import os
import random
import threading
import time
import traceback

import BTrees.check
import transaction
import ZODB
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZEO.ClientStorage import ClientStorage
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, POSKeyError
from ZODB.scripts import fstest

import servers

ACCOUNTS = 24
START_BALANCE = 1000
TOTAL = ACCOUNTS * START_BALANCE
PATIENCE = 120


def test_application(directory, arguments, size, codec, runtime):
    args = arguments(codec=codec, seconds=size('seconds', 5, 60), processes=3, threads=3, operations=25,
                     reference_rounds=size('reference-rounds', 0, 5))
    server = Run(args, args.server, os.path.join(directory, 'server'))
    report('server', server.run())
    assert not server.problems, '\n'.join(server.problems)
    assert server.contents == server.model.contents()
    print(f"{server.counts['commits']} commits in {server.rounds} rounds, {server.seconds:.1f} s: "
          f'{server.contents}')
    if args.reference_rounds and runtime == servers.RUNTIMES[0]:
        reference = Run(args, args.reference, os.path.join(directory, 'reference'),
                        rounds=args.reference_rounds, tolerant=True)
        report('reference', reference.run())
        if reference.problems or reference.counts['broken snapshots']:
            agrees = 'agrees' if reference.contents == reference.model.contents() else 'does not agree'
            print(f'the reference mixed snapshots, {len(reference.problems)} threads gave up; it {agrees}')
        else:
            assert reference.contents == reference.model.contents()
            print(f'the reference agrees after {reference.rounds} rounds')


def report(name, counts):
    print(f'{name}:', ', '.join(f'{n} {what}' for what, n in sorted(counts.items())), flush=True)


class Run:
    """All rounds against one server"""

    def __init__(self, args, command, directory, rounds=None, tolerant=False):
        self.args = args
        self.command = command
        self.directory = directory
        os.mkdir(directory)
        self.rounds = rounds
        self.tolerant = tolerant
        self.problems = []
        self.counts = collections.Counter()
        self.model = Model(args)

    def run(self):
        """-> counts of what happened"""
        path = os.path.join(self.directory, 'Data.fs')
        with servers.Server(self.command, path, self.args.codec) as server:
            self.address = server.address
            self.prepare()
            started = time.monotonic()
            done = 0
            while not self.is_done(done, time.monotonic() - started):
                self.round(done)
                self.model.round(done)
                done += 1
            self.rounds = done
            self.seconds = time.monotonic() - started
            storage = client(self.address)
            self.contents = contents(storage)
            storage.close()
        fstest.check(path)
        storage = FileStorage(path, read_only=True)
        assert contents(storage) == self.contents, 'the file differs from what was served'
        storage.close()
        return self.counts

    def is_done(self, rounds, seconds):
        if self.rounds is not None:
            return rounds == self.rounds
        return self.problems or rounds and seconds > self.args.seconds

    def prepare(self):
        db = ZODB.DB(client(self.address))
        with db.transaction() as conn:
            fill(conn.root, self.args)
        db.close()

    def round(self, number):
        queue = multiprocessing.Queue()
        workers = [multiprocessing.Process(
            target=Worker(self, number, n, queue).run) for n in range(self.args.processes)]
        for w in workers:
            w.start()
        for _ in workers:
            counts, problems = queue.get(timeout=PATIENCE + 30)
            self.counts.update(counts)
            self.problems += problems
        for w in workers:
            w.join()
            assert w.exitcode == 0, f'a worker ended with {w.exitcode}'


def fill(root, args):
    root.accounts = OOBTree()
    for n in range(ACCOUNTS):
        root.accounts[n] = PersistentMapping(balance=START_BALANCE)
    root.log = OOBTree()
    root.entries = Length()
    root.ticks = Length()
    root.private = OOBTree()
    for n in range(args.processes * args.threads):
        root.private[n] = PersistentMapping(value=0, things=OOBTree())


def client(address, **options):
    return ClientStorage(address, wait_timeout=20, **options)


def contents(storage):
    """A digest of everything that the application has in a storage"""
    # Not db.close(): the storage is closed where it was opened.
    conn = ZODB.DB(storage).open()
    result = summary(conn.root)
    conn.close()
    return result


def summary(root):
    check(root, collections.Counter())
    state = dict(
        balances=[a['balance'] for a in root.accounts.values()],
        log=list(root.log.items()),
        entries=root.entries(),
        ticks=root.ticks(),
        private=[(p['value'], sorted((k, dict(v)) for k, v in p['things'].items()))
                 for p in root.private.values()])
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]
    return f"{digest}: {state['entries']} entries, {state['ticks']} ticks"


def check(root, seen):
    """Checks the conditions that every snapshot must fulfil"""
    balances = [a['balance'] for a in root.accounts.values()]
    assert sum(balances) == TOTAL, f'money was made or lost: {sum(balances)}'
    assert len(root.log) == root.entries(), \
        f'{len(root.log)} entries in the log, {root.entries()} counted'
    BTrees.check.check(root.log)
    root.log._check()
    for name in 'entries', 'ticks':
        now = getattr(root, name)()
        assert now >= seen[name], f'{name} went back from {seen[name]} to {now}'
        seen[name] = now


class Worker:
    """One process in one round. Its cache file outlives it and is verified in the next round."""

    def __init__(self, run, round_number, number, queue):
        self.run_ = run
        self.round_number = round_number
        self.number = number
        self.queue = queue
        self.counts = collections.Counter()
        self.problems = []

    def run(self):
        try:
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
            self.work()
        except BaseException:
            self.problems.append(traceback.format_exc())
        finally:
            faulthandler.cancel_dump_traceback_later()
            self.queue.put((dict(self.counts), self.problems))

    def work(self):
        cache = os.path.join(self.run_.directory, f'cache-{self.number}')
        # The second worker synchronizes with the server at each begin of a transaction.
        self.db = ZODB.DB(client(
            self.run_.address, cache=cache, server_sync=self.number == 1), pool_size=20)
        threads = [threading.Thread(target=self.guarded, args=(n,))
                   for n in range(self.run_.args.threads)]
        for t in threads:
            t.start()
        if self.number == 0:
            self.pack(threads)
        for t in threads:
            t.join()
        self.db.close()

    def guarded(self, number):
        try:
            Thread(self, number).run()
        except BaseException:
            self.problems.append(f'round {self.round_number}, worker {self.number}\n' + traceback.format_exc())

    def pack(self, threads):
        while any(t.is_alive() for t in threads):
            time.sleep(.3)
            self.db.pack(time.time() - .5)
            self.counts['packs'] += 1


class Thread:
    """One thread of a worker: its operations, each repeated until it succeeds"""

    def __init__(self, worker, number):
        args = worker.run_.args
        self.worker = worker
        self.db = worker.db
        self.tolerant = worker.run_.tolerant
        self.prepare(args, worker.round_number, worker.number * args.threads + number)
        # Values that were read must be read later, too.
        self.seen = collections.Counter()

    def prepare(self, args, round_number, name):
        self.name = name
        self.round_number = round_number
        self.random = random.Random(f'{args.seed} {round_number} {name}')
        self.operations = args.operations
        self.counts = collections.Counter()

    def run(self):
        self.operate()
        self.worker.counts.update(self.counts)

    def operate(self):
        kinds = (self.transfer, self.transfer, self.note, self.note, self.tick, self.read,
                 self.grow, self.shrink, self.undo, self.look_back)
        for n in range(self.operations):
            self.random.choice(kinds)(n)

    def commit(self, change):
        """Repeat a change of the root until it is committed"""
        while True:
            manager = transaction.TransactionManager()
            conn = self.db.open(manager)
            try:
                manager.begin()
                result = change(conn.root)
                manager.commit()
                self.counts['commits'] += 1
                return result
            except ConflictError:
                self.counts['conflicts'] += 1
            finally:
                manager.abort()
                conn.close()

    def transfer(self, n):
        giver, taker = self.random.sample(range(ACCOUNTS), 2)
        amount = self.random.randint(1, 50)

        def change(root):
            root.accounts[giver]['balance'] -= amount
            root.accounts[taker]['balance'] += amount
        self.commit(change)

    def note(self, n):
        key = f'{self.random.getrandbits(16):04x} {self.name} {self.round_number} {n}'

        def change(root):
            assert key not in root.log, f'{key} was refused, yet it is there'
            root.log[key] = n
            root.entries.change(1)
        self.commit(change)

    def tick(self, n):
        self.commit(lambda root: root.ticks.change(1))

    def read(self, n):
        conn = self.db.open(transaction.TransactionManager())
        try:
            check(conn.root, self.seen)
            self.counts['reads'] += 1
        except ConflictError:
            self.counts['read conflicts'] += 1
        except Exception:
            self.broken()
        finally:
            conn.close()

    def broken(self):
        """A snapshot is inconsistent"""
        if not self.tolerant:
            raise
        self.counts['broken snapshots'] += 1

    def grow(self, n):
        """New objects, some of them large"""
        fill = self.random.choice((10, 100, 20000)) * 'x'
        key = f'{self.round_number} {n}'

        def change(root):
            root.private[self.name]['things'][key] = PersistentMapping(fill=fill)
        self.commit(change)

    def shrink(self, n):
        """Garbage for the next pack"""
        def change(root):
            things = root.private[self.name]['things']
            if things:
                del things[things.minKey()]
        self.commit(change)

    def undo(self, n):
        """Two changes of an object that no other thread changes; the second is undone"""
        def set_to(value):
            def change(root):
                root.private[self.name]['value'] = value
                return root.private[self.name]
            return change
        value = self.round_number * 1000 + n
        self.commit(set_to(value))
        changed = self.commit(set_to(-1))
        if not self.undone(changed._p_oid):
            self.commit(set_to(value))

        def look(root):
            self.expect(root.private[self.name]['value'], value)
        self.commit(look)

    def undone(self, oid):
        """Undo the newest revision. -> whether that was still possible"""
        try:
            tid = self.db.history(oid)[0]['tid']
            manager = transaction.TransactionManager()
            self.db.undo(base64.b64encode(tid), manager.get())
            manager.commit()
            self.counts['undos'] += 1
            return True
        except Exception as error:
            # A pack has removed the revision, or is running.
            manager.abort()
            assert 'Undo' in repr(error), repr(error)
            self.counts['undos too late'] += 1
            return False

    @staticmethod
    def expect(got, expected):
        assert got == expected, f'{got} instead of {expected}'

    def look_back(self, n):
        """An earlier state is unchanged"""
        conn = self.db.open(transaction.TransactionManager(), at=self.db.storage.lastTransaction())
        try:
            balances = [a['balance'] for a in conn.root.accounts.values()]
            self.expect(sum(balances), TOTAL)
            self.counts['looks back'] += 1
        except POSKeyError:
            self.counts['looks back too late'] += 1
        except AssertionError:
            self.broken()
        finally:
            conn.close()


class Model(Thread):
    """Does what all threads do, one after the other, in memory"""

    class Root:
        pass

    def __init__(self, args):
        self.args = args
        self.root = self.Root()
        fill(self.root, args)

    def round(self, number):
        for name in range(self.args.processes * self.args.threads):
            self.prepare(self.args, number, name)
            self.operate()

    def contents(self):
        return summary(self.root)

    def commit(self, change):
        return change(self.root)

    def undone(self, oid):
        return False

    def read(self, n):
        pass

    look_back = read
