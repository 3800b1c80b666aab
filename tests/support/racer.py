"""The Python process of test_races.py: a ZODB application that works like the program `racer` in Rust.

It reads the same commands and writes the same lines; fixtures/client-judge/src/bin/racer/main.rs describes
them.
"""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import logging
import os
import random
import sys
import threading
import time
import traceback

import transaction
import ZODB
from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected, ServerException
from ZODB.POSException import ConflictError, ReadConflictError, StorageTransactionError
from ZODB.utils import p64, u64

AMOUNT_MAX = 50


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--address')
    parser.add_argument('--cache')
    parser.add_argument('--cache-bytes', type=int)
    parser.add_argument('--ledger', action='append')
    parser.add_argument('--first-counter', type=int)
    parser.add_argument('--seed', type=int)
    parser.add_argument('--accounts')
    parser.add_argument('--counters')
    parser.add_argument('--ticks', type=int)
    parser.add_argument('--total', type=int)
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    host, _, port = args.address.rpartition(':')
    storage = ClientStorage((host, int(port)), cache=args.cache, cache_size=args.cache_bytes,
                            wait=False, wait_timeout=60)
    db = opened(storage)
    write('ready', {})
    Racer(args, storage, db).run_commands()
    write('stopped', {})
    # Not db.close(): it would wait for a server that is down.
    sys.stdout.flush()
    os._exit(0)


def opened(storage):
    """A database on a storage. Python's client stops waiting if its connection is cut while it connects."""
    for _ in range(100):
        try:
            storage._wait()
            return ZODB.DB(storage)
        except ClientDisconnected:
            pass
    raise AssertionError('100 connections were lost before the database was open')


def write(result, value):
    sys.stdout.write(f'{result} {json.dumps(value)}\n')
    sys.stdout.flush()


def unexpected(what):
    sys.stdout.write(f"unexpected {what!r}\n")
    sys.stdout.flush()
    os._exit(1)


class Racer:

    def __init__(self, args, storage, db):
        self.storage = storage
        self.db = db
        self.args = args
        self.accounts = [p64(int(oid)) for oid in args.accounts.split(',')]
        self.counters = [p64(int(oid)) for oid in args.counters.split(',')]
        self.ticks = p64(args.ticks)
        self.counts = collections.Counter()
        self.is_over = False

    def run_commands(self):
        threads = []
        rounds = 0
        for command in sys.stdin:
            if command == 'run\n':
                rounds += 1
                self.is_over = False
                threads = [threading.Thread(target=self.work, args=(n, rounds), daemon=True)
                           for n in range(len(self.args.ledger))]
                for thread in threads:
                    thread.start()
            elif command == 'pause\n':
                self.is_over = True
                for thread in threads:
                    thread.join()
                write('paused', {})
            elif command == 'report\n':
                write('reported', self.report())
            else:
                return

    def work(self, number, rounds):
        try:
            Task(self, number, f'{self.args.seed} {rounds} {number}').work()
        except BaseException:
            unexpected(traceback.format_exc())

    def report(self):
        """All objects, from the storage's cache or from the server"""
        while True:
            try:
                self.storage.ping()
                break
            except ClientDisconnected:
                self.counts['calls lost'] += 1
        before = u64(self.storage.lastTransaction()) + 1
        records = []
        for oid in *self.accounts, *self.counters, self.ticks:
            was_cached = self.storage._cache.loadBefore(oid, p64(before)) is not None
            data, serial, end = self.storage.loadBefore(oid, p64(before))
            records.append((f'{u64(oid):#018x}', f'{u64(serial):#018x}',
                            end and f'{u64(end):#018x}', hashlib.sha256(data).hexdigest(),
                            was_cached))
        counts, self.counts = self.counts, collections.Counter()
        return dict(tid=f'{before - 1:#018x}', records=records, counts=counts)


class Task:
    """One thread"""

    def __init__(self, racer, number, seed):
        self.racer = racer
        self.db = racer.db
        self.counts = racer.counts
        self.counter = racer.counters[racer.args.first_counter + number]
        self.ledger = Ledger(racer.args.ledger[number])
        self.random = random.Random(seed)

    def work(self):
        while not self.racer.is_over:
            manager = transaction.TransactionManager()
            conn = None
            try:
                conn = self.db.open(manager)
                if self.random.random() < .7:
                    self.transfer(conn, manager)
                else:
                    self.check_snapshot(conn)
            except ReadConflictError:
                self.counts['read conflicts'] += 1
            except ConflictError:
                self.counts['conflicts'] += 1
            except (ClientDisconnected, StorageTransactionError, concurrent.futures.CancelledError):
                self.counts['calls lost'] += 1
                time.sleep(.01)
            except ServerException as error:
                if 'closed' in str(error):
                    # Python's server closes its file while it still answers.
                    self.counts['refusals of a closed file'] += 1
                    continue
                # After nine votes with conflicts Python's client finishes as if the vote had succeeded.
                assert 'finished called wo lock' in str(error), error
                self.counts['conflicts without end'] += 1
            finally:
                manager.abort()
                if conn is not None:
                    conn.close()

    def transfer(self, conn, manager):
        giver, taker, other = self.random.sample(self.racer.accounts, 3)
        amount = self.random.randint(1, AMOUNT_MAX)
        counter = conn.get(self.counter)
        self.ledger.check(counter['balance'])
        number = counter['balance'] + 1
        conn.get(giver)['balance'] -= amount
        conn.get(taker)['balance'] += amount
        conn.get(self.racer.ticks).change(1)
        counter['balance'] = number
        if self.random.random() < .5:
            conn.readCurrent(conn.get(other))
        self.ledger.tries(number)
        try:
            manager.commit()
        except ClientDisconnected:
            self.counts['commits in doubt'] += 1
            raise
        self.ledger.did(number)
        self.counts['commits'] += 1

    def check_snapshot(self, conn):
        racer = self.racer
        money = sum(conn.get(oid)['balance'] for oid in racer.accounts)
        counted = sum(conn.get(oid)['balance'] for oid in racer.counters)
        ticks = conn.get(racer.ticks)()
        if money != racer.args.total or counted != ticks:
            sys.stdout.write(f'inconsistent {money} of {racer.args.total} in the accounts, '
                             f'{ticks} ticks for {counted} commits\n')
            self.counts['inconsistent snapshots'] += 1
        self.counts['snapshots'] += 1


class Ledger:
    """The same as the ledger of the program `racer` in Rust"""

    def __init__(self, path):
        self.file = open(path, 'a+')
        self.file.seek(0)
        lines = [line.split() for line in self.file]
        self.tried = max((int(number) for kind, number in lines if kind == 't'), default=0)
        self.done = max((int(number) for kind, number in lines if kind == 'd'), default=0)

    def tries(self, value):
        self.tried = max(self.tried, value)
        self.write('t', value)

    def did(self, value):
        self.done = value
        self.write('d', value)

    def check(self, value):
        assert self.done <= value <= self.tried, \
            f'a counter is {value}; the last commit is {self.done}, the last attempt {self.tried}'

    def write(self, kind, value):
        self.file.write(f'{kind} {value}\n')
        self.file.flush()


if __name__ == '__main__':
    main()
