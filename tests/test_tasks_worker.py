"""``rzeo tasks worker`` beside a Python application that uses only ZODB: results, times, cancelling, progress.

Every test runs with rzeo on both runtimes and with Python's server.
"""
import datetime
import threading
import time

import pytest
import ZODB
from task_snippet import cancel
from tasks import SERVERS, lines, serving, until
from ZEO.ClientStorage import ClientStorage
from ZODB.FileStorage import FileStorage
from ZODB.serialize import referencesf
from ZODB.utils import p64

ARGUMENTS = [(), (1, 2.5, 'text', b'bytes', None, True), (datetime.date(2026, 12, 1), {'a': [1, (2,)]}),
             (2 ** 70, frozenset([1]))]


@pytest.fixture(params=SERVERS)
def tasks(request, rzeo, reference, directory):
    with serving(request.param, rzeo, reference, directory, 30) as tasks:
        yield tasks


def test_an_application_enqueues_and_reads(tasks, size, directory):
    jobs = [tasks.enqueue('same', 'counter', *ARGUMENTS[number % len(ARGUMENTS)], kwargs={'keyword': number})
            for number in range(size('jobs', 20, 100))]
    worker = tasks.worker()
    for number, job in enumerate(tasks.wait(*jobs)):
        assert (job['state'], job['attempt']) == ('done', 1), job
        counter, *values = job['result'][0]
        assert tuple(values) == ARGUMENTS[number % len(ARGUMENTS)]
        assert job['result'][1] == {'keyword': number}
    assert tasks.change(lambda root: root._p_jar.get(p64(jobs[0]))['result'][0][0] is root['counter'])
    # Sooner than by the audit of jobs that were forgotten.
    until(lambda: all(tasks.job(job)['side'].get('settled') for job in jobs), 20)
    worker.stop()
    tasks.server.stop()
    # Python's ZODB opens and packs what is left.
    storage = FileStorage(f'{directory}/Data.fs')
    storage.pack(time.time() + 1, referencesf)
    db = ZODB.DB(storage)
    with db.transaction() as connection:
        assert all(connection.get(p64(job))['state'] == 'done' for job in jobs)
    db.close()


def test_a_failure_is_tried_again_and_has_its_trace(tasks):
    tasks.worker()
    once = tasks.enqueue('fail_after', 'counter', retry={'max': 1})
    twice = tasks.enqueue('fail_after', 'counter', retry={'max': 2, 'base': 0})
    first, second = tasks.wait(once, twice)
    for job, attempt in (first, 1), (second, 2):
        assert (job['state'], job['attempt'], job['failure']['kind']) == ('failed', attempt, 'ValueError')
        assert 'in fail_after' in job['failure']['trace']
    assert second['errors'][0]['attempt'] == 1
    assert tasks.count() == 0


def test_what_a_function_prints_is_in_the_log_with_the_job(tasks):
    worker = tasks.worker()
    job, = tasks.wait(tasks.enqueue('prints', 'from the function'))
    line = until(lambda: [line for line in worker.log().splitlines() if 'from the function' in line])[0]
    assert job['id'] in line


def test_a_delayed_job_is_never_early(tasks, size):
    delay = size('delay', 2, 10)
    tasks.worker().stop()
    # By the clock of the storage: the commit of the job is its present.
    due = time.time() + delay
    soon = tasks.enqueue('add', 1, begin_after=due)
    tomorrow = tasks.enqueue('add', 2, begin_after=due + 86400)
    tasks.worker()
    job, = tasks.wait(soon)
    assert job['state'] == 'done' and job['started'] >= due
    assert tasks.job(tomorrow)['state'] == 'pending'


def test_a_snoozing_job_goes_on_later(tasks):
    tasks.worker()
    oid = tasks.enqueue('snooze', 'counter')
    until(lambda: tasks.job(oid).get('begin_after'))
    job = tasks.job(oid)
    assert (job['state'], job['attempt'], tasks.count()) == ('pending', 0, 0)


def test_expired_jobs_are_never_called(tasks, size, directory):
    path = f'{directory}/failures'
    called = f'{directory}/called'
    follow_up = {'id': 'f', 'state': 'waiting', 'err': {
        'call': 'task_functions:append_outcome', 'args': (path,), 'kwargs': {}}}
    number = size('jobs', 10, 100)
    jobs = [tasks.enqueue('append', called, begin_by=time.time() - 1, then={**follow_up, 'id': f'f{number}'})
            for number in range(number)]
    # A worker that executes none of them.
    tasks.worker(accept='other:*')
    assert all(job['state'] == 'expired' for job in tasks.wait(*jobs))
    tasks.worker()
    until(lambda: len(lines(path)) >= number)
    # Another job comes after all that is left to be called.
    tasks.wait(tasks.enqueue('add', 1, priority=7))
    assert lines(path) == ['expired'] * number
    assert lines(called) == []


def test_a_pending_job_is_cancelled(tasks, directory):
    called = f'{directory}/called'
    oid = tasks.enqueue('append', called)
    tasks.change(lambda root: cancel(root._p_jar.get(p64(oid))))
    tasks.worker()
    tasks.wait(tasks.enqueue('add', 1, priority=7))
    assert (tasks.job(oid)['state'], lines(called)) == ('cancelled', [])


def test_a_running_job_is_cancelled(tasks):
    tasks.worker()
    oid = tasks.enqueue('until_stopped', 'counter')
    until(lambda: tasks.job(oid)['side'].get('notes'))
    tasks.change(lambda root: cancel(root._p_jar.get(p64(oid))))
    job, = tasks.wait(oid)
    assert (job['state'], tasks.count()) == ('cancelled', 0)


def test_a_function_that_ignores_it_is_abandoned(tasks, directory):
    called = f'{directory}/called'
    tasks.worker(slots=1, grace=1)
    oid = tasks.enqueue('ignores', called)
    until(lambda: lines(called))
    tasks.change(lambda root: cancel(root._p_jar.get(p64(oid))))
    job, other = tasks.wait(oid, tasks.enqueue('add', 1))
    assert (job['state'], other['state'], lines(called)) == ('cancelled', 'done', ['called'])


def test_an_attempt_has_a_maximum_time(tasks, directory):
    called = f'{directory}/called'
    tasks.worker(slots=1, grace=1)
    job, = tasks.wait(tasks.enqueue('ignores', called, timeout=1, retry={'max': 1}))
    assert (job['state'], job['failure']['kind'], lines(called)) == ('failed', 'timeout', ['called'])


def test_of_a_result_and_a_cancellation_one_is_first(tasks, size):
    """Cancelled without changes, or done with them; and the application's commit decides which."""
    tasks.worker()
    number = size('cancellations', 20, 300)
    done = 0
    for _ in range(number):
        oid = tasks.enqueue('count', 'counter')
        try:
            tasks.change(lambda root: cancel(root._p_jar.get(p64(oid))))
        except ValueError:
            pass
        job, = tasks.wait(oid)
        done += job['state'] == 'done'
        assert job['state'] in ('done', 'cancelled')
        assert ('result' in job) == (job['state'] == 'done')
        assert tasks.count() == done


def test_progress_is_seen_while_the_transaction_is_open(tasks, size, directory):
    number, go = size('notes', 100, 1000), f'{directory}/go'
    worker = tasks.worker()
    oid = tasks.enqueue('notes', number, 'counter', go)
    seen, failures = [[] for _ in range(3)], []

    def read(values):
        db = ZODB.DB(ClientStorage(tasks.server.address, wait_timeout=60))
        try:
            while not values or values[-1] < number:
                job = tasks.job(oid, db)
                if progress := job['side'].get('notes', {}).get('progress'):
                    assert job['state'] == 'running'
                    values.append(progress['done'])
        except Exception as error:
            failures.append(error)
        db.close()
    readers = [threading.Thread(target=read, args=(values,)) for values in seen]
    for reader in readers:
        reader.start()
    until(lambda: tasks.job(oid)['side'].get('notes'))
    for remark in range(5):
        tasks.change(lambda root: root._p_jar.get(p64(oid))['side'].update(remark=remark))
    for reader in readers:
        reader.join()
    assert not failures
    assert all(values == sorted(values) and values[-1] == number for values in seen)
    assert (tasks.job(oid)['state'], tasks.count()) == ('running', 0)
    open(go, 'w').close()
    job, = tasks.wait(oid)
    assert (job['state'], job['attempt'], job['side']['remark'], tasks.count()) == ('done', 1, 4, 1)
    assert job['side']['notes']['progress'] == {'done': number, 'total': number}
    assert 'onflict' not in worker.log()


def test_a_draining_worker_gives_its_jobs_back(tasks, directory):
    path, go = f'{directory}/calls', f'{directory}/go'
    worker = tasks.worker(slots=1, grace=1)
    oid = tasks.enqueue('append_and_wait', path, go)
    until(lambda: lines(path))
    worker.stop()
    job = tasks.job(oid)
    assert (job['state'], job['attempt'], job['interruptions']) == ('pending', 0, 1)
    open(go, 'w').close()
    tasks.worker()
    job, = tasks.wait(oid)
    assert (job['state'], job['attempt']) == ('done', 1)
