"""A database with a queue, and workers that execute its jobs (``rzeo tasks``)."""
import contextlib
import os
import signal
import subprocess
import sys
import time

import ZODB
from persistent.mapping import PersistentMapping
from servers import HERE, RUNTIMES, Server
from task_snippet import enqueue
from ZEO.ClientStorage import ClientStorage
from ZODB.POSException import ConflictError
from ZODB.utils import p64, u64

SERVERS = *RUNTIMES, 'python'
FINAL = {'done', 'failed', 'cancelled', 'expired'}
#: Maximum seconds until jobs have ended.
PATIENCE = 90


def until(condition, patience=PATIENCE):
    """Waits until ``condition()`` is true, and returns its value."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f'the condition is not true within {patience} seconds'
        time.sleep(.02)
    return value


def lines(path):
    """The lines of a file, none if there is no file."""
    try:
        with open(path) as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def serving(kind, rzeo, reference, directory, timeout):
    """A queue whose server is rzeo on a runtime, or Python's server: one of ``SERVERS``."""
    command = reference if kind == 'python' else f'{rzeo} serve --runtime {kind}'
    with Server(command, f'{directory}/Data.fs', settings=[f'transaction-timeout {timeout}']) as server:
        tasks = Tasks(rzeo, server, directory)
        yield tasks
        tasks.close()


class Tasks:
    """A queue of a running server, in Python: only ZODB is used. Workers end with it."""

    def __init__(self, rzeo, server, directory):
        self.rzeo, self.server, self.directory = rzeo, server, directory
        self.workers = []
        #: One item for each transaction of this process that was repeated.
        self.conflicts = []
        done = subprocess.run([rzeo, 'tasks', 'init', self.address()], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.db = ZODB.DB(ClientStorage(server.address, wait_timeout=60))
        self.change(lambda root: root.update(counter=PersistentMapping(value=0), jobs=PersistentMapping()))

    def address(self):
        return '%s:%d' % self.server.address

    def change(self, change, db=None):
        """Runs ``change(root)`` as a transaction, again after a conflict, and returns what it returns."""
        while True:
            with contextlib.suppress(ConflictError), (db or self.db).transaction() as connection:
                result = change(connection.root())
                connection.transaction_manager.commit()
                return result
            self.conflicts.append(change)

    def enqueue(self, call, *args, db=None, then=None, kwargs=(), **options):
        """Enqueues a job in a transaction of its own, and returns its oid. ``counter`` stands for the object."""
        def change(root):
            values = [root['counter'] if arg == 'counter' else arg for arg in args]
            job = enqueue(root._p_jar, f'task_functions:{call}', *values, **dict(kwargs))
            job.update(options)
            if then is not None:
                job['side'] = PersistentMapping(then=(PersistentMapping(then),))
            root._p_jar.transaction_manager.get().savepoint()
            return u64(job._p_oid)
        return self.change(change, db)

    def job(self, oid, db=None):
        """The record as a dict; the side record, too."""
        def read(root):
            job = dict(root._p_jar.get(p64(oid)))
            return {**job, 'side': dict(job.get('side') or {})}
        return self.change(read, db)

    def states(self, oids):
        return self.change(lambda root: [root._p_jar.get(p64(oid))['state'] for oid in oids])

    def wait(self, *oids, patience=PATIENCE):
        """Waits until jobs have ended, and returns their records."""
        until(lambda: FINAL.issuperset(self.states(oids)), patience)
        return [self.job(oid) for oid in oids]

    def count(self):
        return self.change(lambda root: root['counter'].get('value', 0))

    def worker(self, *options, **settings):
        worker = Worker(self, len(self.workers), *options, **settings)
        self.workers.append(worker)
        return worker

    def log(self):
        return ''.join(worker.log() for worker in self.workers)

    def close(self):
        for worker in self.workers:
            worker.kill()
        self.db.close()


class Worker:
    """A process of ``rzeo tasks worker``."""

    def __init__(self, tasks, number, *options, accept='task_functions:*', slots=2, grace=5, address=None):
        self.log_path = f'{tasks.directory}/worker{number}.log'
        command = [tasks.rzeo, 'tasks', 'worker', address or tasks.address(), '--python', sys.executable,
                   '--path', HERE, '--accept', accept, '--slots', str(slots), '--grace', str(grace), *options]
        with open(self.log_path, 'wb') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self):
        with open(self.log_path, errors='replace') as f:
            return f.read()

    def stop(self, patience=30):
        """Ends the worker with SIGTERM, once it has begun; it must end with status 0."""
        until(lambda: 'worker registered' in self.log())
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(patience) == 0, self.log()

    def kill(self):
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
