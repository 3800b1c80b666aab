"""Many clients, in Rust and in Python, on the same objects, while connections are cut and processes are killed.

Racers move money between accounts through a proxy that cuts their connections (support/cutting_proxy.py). In every
snapshot that a racer reads, the accounts must have their sum, and `ticks` must be the sum of the counters; an
acknowledged commit must never be lost. The test kills racers and starts them again with their cache files, some
of them so late that the server's invalidation queue no longer covers the missed commits. It also stops or kills the
server and starts it again, at random with or without client conflict resolution.

After each round all racers pause, and their current revisions must be the server's.

The test counts events, and fails if one in MUST never happened. Python's clients and Python's server have faults
of their own: inconsistent snapshots of a racer in Python, and of any racer on Python's server, are counted and
allowed.
"""
import collections
import hashlib
import json
import os
import queue
import random
import subprocess
import sys
import threading
import time

import pytest
import transaction
import ZODB
from BTrees.Length import Length
from persistent.mapping import PersistentMapping
from ZODB.FileStorage import FileStorage
from ZODB.scripts import fstest
from ZODB.utils import p64, u64

import cutting_proxy
import servers
import wire

ACCOUNTS = 12
BALANCE = 1000
#: Size of the server's invalidation queue.
KNOWN_COMMITS = 40
#: Seconds after which a racer that writes nothing counts as hanging.
PATIENCE = 90
#: Maximum factor by which the test runs longer until all events in MUST have happened.
EXTRA_TIME = 6
#: Seconds that a connection lives on average.
LIFE = 2

#: Events that must happen at least once.
MUST = ('commits', 'commits by Python', 'conflicts', 'resolved commits', 'snapshots',
        'snapshots again', 'aborts', 'cuts', 'kills', 'server stops', 'server kills',
        'disconnections', 'quick verifications', 'caches dropped', 'caches kept', 'calls lost',
        'cached records compared', 'clients resolve', 'server resolves')


@pytest.mark.slow
@pytest.mark.parametrize('kind, encoding, seconds', [
    ('tokio', 'pickle', 180), ('smol', 'msgpack', 60), ('python', 'pickle', 60)])
def test_races(directory, arguments, serve, program, size, kind, encoding, seconds):
    is_python = kind == 'python'
    args = arguments(server=serve if is_python else f'{serve} --runtime {kind}', codec=encoding,
                     seconds=size('seconds', 15, seconds), round=3, racer=program('racer'), python=is_python,
                     without_cuts=False)
    race = Race(args, directory)
    try:
        race.run()
    finally:
        race.end()
        report(race.counts)
    race.check_file()
    print(f"{race.rounds} rounds: {race.counts['commits']} commits in Rust, "
          f"{race.counts['commits by Python']} in Python, {race.counts['cuts']} cuts, "
          f"{race.counts['kills']} kills, {race.counts['cached records compared']} cached records")


def report(counts):
    print(', '.join(f'{n} {what}' for what, n in sorted(counts.items())), flush=True)


class Race:

    def __init__(self, args, directory):
        self.args = args
        self.directory = directory
        self.random = random.Random(args.seed)
        self.counts = collections.Counter()
        self.path = os.path.join(directory, 'Data.fs')
        self.server = None
        self.rounds = 0
        self.racers = []
        plans = [Plan(self, n, *kind) for n, kind in enumerate((
            ('tokio', 20 << 20, 3), ('smol', 20 << 20, 3), ('tokio', 6000, 2), ('smol', 2500, 2),
            ('python', 20 << 20, 2), ('python', 1 << 20, 2)))]
        self.prepare(sum(plan.tasks for plan in plans))
        self.proxy = cutting_proxy.Proxy(args.seed, LIFE)
        self.start_server()
        self.racers = [Racer(plan) for plan in plans]

    def prepare(self, counters):
        """The database, made by Python"""
        db = ZODB.DB(FileStorage(self.path))
        with db.transaction() as conn:
            accounts = [PersistentMapping(balance=BALANCE) for _ in range(ACCOUNTS)]
            counters = [PersistentMapping(balance=0) for _ in range(counters)]
            ticks = Length()
            conn.root.everything = [*accounts, *counters, ticks]
        number = [str(u64(it._p_oid)) for it in (*accounts, *counters, ticks)]
        self.world = ['--accounts', ','.join(number[:ACCOUNTS]),
                      '--counters', ','.join(number[ACCOUNTS:-1]),
                      '--ticks', number[-1], '--total', str(ACCOUNTS * BALANCE)]
        db.close()

    def start_server(self):
        command = self.args.reference if self.args.python else self.args.server
        leaves = self.random.random() < .5
        self.counts['clients resolve' if leaves else 'server resolves'] += 1
        settings = [f'invalidation-queue-size {KNOWN_COMMITS}',
                    f'client-conflict-resolution {str(leaves).lower()}']
        self.server = servers.Server(command, self.path, self.args.codec, settings=settings)
        self.proxy.target = self.server.address

    def restart_server(self):
        if self.random.random() < .5:
            self.server.kill()
            self.counts['server kills'] += 1
        else:
            self.server.stop()
            self.counts['server stops'] += 1
        self.start_server()

    def run(self):
        began = time.monotonic()
        while not self.is_over(time.monotonic() - began):
            self.rounds += 1
            self.round()
            self.pause()

    def is_over(self, seconds):
        self.counts['cuts'] = self.proxy.counts['cuts']
        if seconds < self.args.seconds:
            return False
        missing = [what for what in MUST if not self.counts[what]]
        if self.args.without_cuts:
            missing = [what for what in missing if what != 'cuts']
        if missing and seconds > EXTRA_TIME * self.args.seconds:
            raise AssertionError(f"never happened: {', '.join(missing)}")
        return not missing

    def round(self):
        for racer in self.racers:
            racer.send('run')
        self.proxy.is_cutting = not self.args.without_cuts
        ends = time.monotonic() + self.args.round
        while time.monotonic() < ends:
            time.sleep(self.random.random() * self.args.round / 3)
            choice = self.random.random()
            if choice < .3:
                self.restart_server()
            elif choice < .8:
                self.kill(self.random.choice(self.racers))
            for racer in self.racers:
                racer.read_lines()
        self.proxy.is_cutting = False

    def kill(self, racer):
        """Kills a racer, and starts it again, at once or when the invalidation queue no longer covers its cache"""
        racer.kill()
        self.counts['kills'] += 1
        if self.random.random() < .4:
            others = [it for it in self.racers if it is not racer]
            wanted = KNOWN_COMMITS + sum(it.done() for it in others)
            ends = time.monotonic() + 10 * self.args.round
            while sum(it.done() for it in others) < wanted and time.monotonic() < ends:
                time.sleep(.05)
        racer.start()
        racer.send('run')

    def pause(self):
        """Stops all tasks, and compares the revisions of all racers with the server's"""
        for command, result in ('pause', 'paused'), ('report', 'reported'):
            for racer in self.racers:
                racer.send(command)
            reports = [(racer, racer.wait_for(result)) for racer in self.racers]
        raw = wire.Raw(self.server.address, self.args.codec)
        raw.register()
        newest = raw.call('lastTransaction')
        for racer, found in reports:
            self.count(racer, found['counts'])
            self.compare(raw, racer, found, u64(newest))
        raw.close()

    def count(self, racer, counts):
        for what, number in counts.items():
            assert 'unexpected' not in what, what
            if what in ('inconsistent snapshots', 'events out of order'):
                assert racer.plan.is_python or self.args.python, f'{racer}: {number} {what}'
            if what == 'refusals of a closed file':
                assert self.args.python, f'{racer}: {number} {what}'
            by = ' by Python' * racer.plan.is_python
            self.counts[what + by] += number

    def compare(self, raw, racer, found, newest):
        tid = int(found['tid'], 16)
        problems = []
        if tid < newest:
            problems.append(f'its newest commit is {tid:#018x}, not {newest:#018x}')
        for oid, serial, end, digest, was_cached in found['records']:
            data, start, until = raw.call('loadBefore', p64(int(oid, 16)), p64(tid + 1))
            theirs = (f'{u64(start):#018x}', until and f'{u64(until):#018x}',
                      hashlib.sha256(data).hexdigest())
            # A revision that has ended by now may still have been current as of that tid.
            if (serial, digest) != (theirs[0], theirs[2]) or end and end != theirs[1]:
                problems.append(f'{oid} as of {tid:#018x} is {serial} to {end}, {digest[:8]}, '
                                f'not {theirs} ({"cached" if was_cached else "loaded"})')
            if was_cached:
                self.counts['cached records compared' + ' by Python' * racer.plan.is_python] += 1
        if problems:
            assert racer.plan.is_python or self.args.python, f'{racer}: ' + '\n'.join(problems)
            self.counts['stale caches' + ' by Python' * racer.plan.is_python] += 1

    def end(self):
        for racer in self.racers:
            racer.end()
        if self.server:
            self.server.kill() if sys.exc_info()[0] else self.server.stop()

    def check_file(self):
        """Checks the file with Python"""
        fstest.check(self.path)
        db = ZODB.DB(FileStorage(self.path, read_only=True))
        self.check_sums(db.open(transaction.TransactionManager()))
        db.close()

    def check_sums(self, conn):
        """Checks the sums, and that no acknowledged commit is lost"""
        *things, ticks = conn.root.everything
        money = [it['balance'] for it in things[:ACCOUNTS]]
        counted = [it['balance'] for it in things[ACCOUNTS:]]
        assert sum(money) == ACCOUNTS * BALANCE, money
        assert sum(counted) == ticks(), (counted, ticks())
        ledgers = [path for racer in self.racers for path in racer.plan.ledgers]
        for value, ledger in zip(counted, ledgers, strict=True):
            done, tried = read_ledger(ledger)
            assert done <= value <= tried, \
                f'a counter is {value}; the last commit is {done}, the last attempt {tried}'


def read_ledger(path):
    last = dict(t=0, d=0)
    if os.path.exists(path):
        with open(path) as f:
            for line in f:
                kind, number = line.split()
                last[kind] = max(last[kind], int(number))
    return last['d'], last['t']


class Plan:
    """The settings of a racer, which outlive its process"""

    def __init__(self, race, number, kind, cache_bytes, tasks):
        self.race = race
        self.kind = kind
        self.number = number
        self.is_python = kind == 'python'
        self.cache_bytes = cache_bytes
        self.tasks = tasks
        self.cache = os.path.join(race.directory, f'{number}.cache')
        self.ledgers = [os.path.join(race.directory, f'{number}-{n}.ledger') for n in range(tasks)]
        race.first_counter = getattr(race, 'first_counter', 0)
        self.first_counter = race.first_counter
        race.first_counter += tasks

    def command(self):
        args = self.race.args
        words = [sys.executable, os.path.join(servers.HERE, 'racer.py')] if self.is_python else [
            args.racer, '--runtime', self.kind]
        for ledger in self.ledgers:
            words += ['--ledger', ledger]
        host, port = self.race.proxy.address
        return [*words, '--address', f'{host}:{port}', '--cache', self.cache,
                '--cache-bytes', str(self.cache_bytes), '--first-counter', str(self.first_counter),
                '--seed', str(self.race.random.getrandbits(30)), *self.race.world]


class Racer:
    """A process"""

    def __init__(self, plan):
        self.plan = plan
        self.start()

    def __str__(self):
        return f'racer {self.plan.number} ({self.plan.kind}, {self.plan.cache_bytes} bytes)'

    def start(self):
        self.process = subprocess.Popen(
            self.plan.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        reader = threading.Thread(
            target=self.read, args=(self.process.stdout, self.lines), daemon=True)
        reader.start()
        self.wait_for('ready')

    @staticmethod
    def read(stdout, lines):
        for line in stdout:
            lines.put(line)
        lines.put(None)

    def send(self, command):
        try:
            self.process.stdin.write(command + '\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            # The process has ended; its last lines have the reason.
            pass

    def read_lines(self):
        """Handles the lines that the process has written"""
        while not self.lines.empty():
            self.handle(self.lines.get())

    def wait_for(self, result):
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                line = self.lines.get(timeout=max(0, ends - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f'{self} did not write {result!r} within {PATIENCE} s') from None
            kind, rest = self.handle(line)
            if kind == result:
                return json.loads(rest)

    def handle(self, line):
        assert line is not None, f'{self} has ended with status {self.process.wait()}'
        kind, _, rest = line.partition(' ')
        assert kind != 'unexpected', f'{self}: {rest}'
        if kind == 'inconsistent':
            print(f'{self}: {line}', end='', flush=True)
        return kind, rest

    def done(self):
        """Number of commits in the ledgers"""
        return sum(read_ledger(path)[0] for path in self.plan.ledgers)

    def kill(self):
        self.process.kill()
        self.process.wait()
        # The lines that it wrote before count.
        while (line := self.lines.get(timeout=PATIENCE)) is not None:
            self.handle(line)

    def end(self):
        if self.process.poll() is None and not sys.exc_info()[0]:
            self.send('stop')
            try:
                self.process.wait(PATIENCE)
                return
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise AssertionError(f'{self} does not stop') from None
        self.process.kill()
        self.process.wait()
