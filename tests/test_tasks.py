"""rzeo-zasync beside ZODB: Python enqueues, reads and cancels the jobs that Rust executes, in one FileStorage.

Python uses only ZODB and the functions of ``task_snippet``. Transactions in Rust are those of
``examples/task_script``, on the records of the storage.
"""
import datetime
import json
import time

import BTrees.check
import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from rust_objects import Failed, Script, in_python
from task_snippet import cancel, enqueue
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError
from ZODB.serialize import referencesf
from ZODB.utils import p64, u64
from zodbpickle import pickle

#: Number of jobs that Python enqueues at once.
JOBS = 100
SHARD_TREES = 'ready', 'later', 'parked', 'done', 'failed'


@pytest.fixture
def tasks(program, directory):
    with Script(program('examples/task_script')) as script:
        storage = FileStorage(f'{directory}/Data.fs')
        in_python(storage, lambda connection: None)
        tasks = Tasks(script, storage)
        tasks.rust('create')
        yield tasks
        tasks.check()
        storage.close()


class Tasks:
    """A storage that both languages use."""

    def __init__(self, script, storage):
        self.script = script
        self.storage = storage

    def rust(self, name, *arguments, now=None):
        """Commits one operation in Rust, and returns its result."""
        operation = [name, time.time() if now is None else now, *arguments]
        next_oid = u64(self.storage.new_oid())
        result, _, _ = self.script.run(self.storage, [operation], next_oid, self.commit)
        return json.loads(result[0])

    def commit(self, stores, checks):
        metadata = TransactionMetaData()
        self.storage.tpc_begin(metadata)
        try:
            for oid, serial, record in stores:
                self.storage.store(p64(oid), p64(serial), record, '', metadata)
            for oid, serial in checks:
                self.storage.checkCurrentSerialInTransaction(p64(oid), p64(serial), metadata)
            self.storage.tpc_vote(metadata)
        except ConflictError:
            self.storage.tpc_abort(metadata)
            return {'conflict': u64(self.storage.lastTransaction()), 'invalidated': []}
        return {'tid': u64(self.storage.tpc_finish(metadata))}

    def python(self, change):
        return in_python(self.storage, change)

    def enqueue(self, *args, **kwargs):
        """Enqueues a job in Python, keeps it as ``root['job']``, and returns its oid."""
        def change(connection):
            connection.root()['job'] = job = enqueue(connection, 'app:go', *args, **kwargs)
            transaction_of(connection).savepoint()
            return u64(job._p_oid)
        return self.python(change)

    def record(self, oid):
        """The items of a job as Python reads them."""
        return self.python(lambda connection: dict(connection.get(p64(oid))))

    def check(self):
        """Checks every tree and every reference, before and after a pack."""
        self.python(check_trees)
        self.storage.pack(time.time() + 1, referencesf)
        self.python(check_trees)


def transaction_of(connection):
    return connection.transaction_manager.get()


def check_trees(connection):
    queue = connection.root()['zasync']['queues']['default']
    trees = [queue['inbox'], queue['workers'], queue['unique']]
    trees += [worker['active'] for worker in queue['workers'].values()]
    for shard in queue['inbox'].values():
        assert set(shard) == set(SHARD_TREES)
        trees += shard.values()
    for tree in trees:
        tree._check()
        BTrees.check.check(tree)
        for value in tree.values():
            assert dict(value) is not None


def entries(connection, tree):
    inbox = connection.root()['zasync']['queues']['default']['inbox']
    return [job for shard in inbox.values() for job in shard[tree].values()]


def test_python_enqueues_rust_executes_python_reads(tasks):
    arguments = [(), (1, 2.5, 'text', b'bytes', None, True), (datetime.date(2026, 12, 1), {'a': [1, (2,)]}),
                 (2 ** 70, frozenset([1]))]

    def change(connection):
        root = connection.root()
        root['document'] = document = PersistentMapping(title='a')
        root['jobs'] = PersistentMapping()
        for number in range(JOBS):
            args = (number, document, *arguments[number % len(arguments)])
            root['jobs'][number] = enqueue(connection, 'app:index', *args, keyword=number)
    tasks.python(change)
    tasks.rust('register')
    choice = tasks.rust('choose')
    assert choice['malformed'] == []
    assert len(choice['take']) == JOBS
    for oid in choice['take']:
        assert tasks.rust('claim', oid)['call'] == 'app:index'
        tasks.rust('echo', oid)
        tasks.rust('close', oid)
    assert tasks.rust('file') == len(choice['take'])

    def read(connection):
        root = connection.root()
        for number, job in root['jobs'].items():
            assert job['state'] == 'done'
            assert job['result'] == (number, root['document'], *arguments[number % len(arguments)])
            assert job['kwargs'] == {'keyword': number}
            assert job['side']['settled'] is True
        assert len(entries(connection, 'done')) == len(root['jobs'])
        assert entries(connection, 'ready') == []
        assert len(root['zasync']['queues']['default']['workers']['w']['active']) == 0
    tasks.python(read)


def test_rust_enqueues_python_reads(tasks):
    value = ('text', datetime.datetime(2026, 12, 1), {'a': None})
    tasks.rust('enqueue', 'job', pickle.dumps(value, 3).hex())

    def read(connection):
        job = connection.root()['job']
        assert type(job) is PersistentMapping
        assert entries(connection, 'ready') == [job]
        return {key: job[key] for key in ('id', 'call', 'args', 'kwargs', 'state')}
    assert tasks.python(read) == dict(id='job', call='app:go', args=value, kwargs={}, state='pending')


def test_a_pending_job_that_python_cancels_is_not_executed(tasks):
    oid = tasks.enqueue()
    tasks.rust('register')
    tasks.python(lambda connection: cancel(connection.root()['job']))
    assert tasks.rust('choose')['take'] == []
    with pytest.raises(Failed, match='the job is cancelled, not pending'):
        tasks.rust('claim', oid)
    tasks.rust('settle', oid)
    assert tasks.rust('file') == 1
    assert tasks.record(oid)['settled'] is True


def test_a_running_job_is_asked_to_stop(tasks):
    oid = tasks.enqueue()
    tasks.rust('register')
    tasks.rust('claim', oid)
    tasks.python(lambda connection: cancel(connection.root()['job']))
    with pytest.raises(Failed, match='cancelling the job was requested'):
        tasks.rust('echo', oid)
    tasks.rust('stop', oid)
    assert tasks.record(oid)['state'] == 'cancelled'
    with pytest.raises(ValueError, match='cancelled already'):
        tasks.python(lambda connection: cancel(connection.root()['job']))


def test_of_a_claim_in_rust_and_a_cancellation_in_python_one_conflicts(tasks):
    oid = tasks.enqueue()
    tasks.rust('register')
    manager = transaction.TransactionManager()
    connection = ZODB.DB(tasks.storage).open(manager)
    job = connection.root()['job']
    assert job['state'] == 'pending'
    tasks.rust('claim', oid)
    cancel(job)
    with pytest.raises(ConflictError):
        manager.commit()
    manager.abort()
    connection.close()
    assert tasks.record(oid)['state'] == 'running'


def test_failures_and_what_applications_write_are_kept(tasks):
    def change(connection):
        connection.root()['job'] = job = enqueue(connection, 'app:go')
        job['retry'], job['tags'], job.note = {'max': 2, 'base': 0}, ['nightly'], 'an attribute'
        transaction_of(connection).savepoint()
        return u64(job._p_oid)
    oid = tasks.python(change)
    tasks.rust('register')
    tasks.rust('claim', oid)
    assert tasks.rust('fail', oid, 'first').startswith('Retry(')
    tasks.rust('close', oid)
    tasks.rust('claim', oid)
    assert tasks.rust('fail', oid, 'second') == 'Failed'
    job = tasks.record(oid)
    assert (job['state'], job['tags'], job['attempt']) == ('failed', ['nightly'], 2)
    assert job['errors'][0]['message'] == 'first'
    assert (job['failure']['kind'], job['failure']['message']) == ('ValueError', 'second')
    assert tasks.python(lambda connection: connection.root()['job'].note) == 'an attribute'


def test_a_follow_up_gets_the_result(tasks):
    oid = tasks.enqueue('a', 1)
    tasks.rust('then', oid, 'follow-up')
    tasks.rust('register')
    assert tasks.rust('choose')['take'] == [oid]
    tasks.rust('claim', oid)
    tasks.rust('echo', oid)
    tasks.rust('close', oid)
    follow_up, = tasks.rust('choose')['take']
    job = tasks.record(follow_up)
    assert (job['id'], job['call'], job['args'], job['state']) == ('follow-up', 'a:b', (('a', 1),), 'pending')


def test_entries_that_are_no_jobs_are_named(tasks):
    def change(connection):
        ready = connection.root()['zasync']['queues']['default']['inbox'][3]['ready']
        ready[1] = 'x'
        ready[2] = PersistentMapping(id='1', call='app:go', state='pending', retry='sometimes')
    tasks.python(change)
    choice = tasks.rust('choose')
    assert choice['take'] == []
    expected = "queues/default/inbox[3]/ready[2]/retry is \"sometimes\", not 'never' or a dict"
    assert choice['malformed'] == ['the record has no id or no call, so it is not a job', expected]
    tasks.python(lambda connection: connection.root()['zasync']['queues']['default']['inbox'][3]['ready'].clear())
