"""Workers of ``rzeo tasks`` that are killed, stopped, and cut off from either server: no job is lost or done twice."""
import os
import random
import signal
import subprocess
import threading
import time

import pytest
import ZODB
from finish_proxy import FinishProxy
from servers import Server
from tasks import FINAL, SERVERS, lines, serving, until
from ZEO.ClientStorage import ClientStorage

#: Options of workers that consider others dead after a short time.
IMPATIENT = '--beat', '0.5', '--dead-after', '3'


@pytest.fixture(params=SERVERS)
def tasks(request, rzeo, reference, directory):
    with serving(request.param, rzeo, reference, directory, 10) as tasks:
        yield tasks


def test_killed_workers_lose_nothing_and_repeat_nothing(tasks, size):
    number = size('jobs', 40, 500)
    chance = random.Random(1)
    jobs = [tasks.enqueue('slow_count', 'counter', .1) for _ in range(number)]
    workers = [tasks.worker(*IMPATIENT) for _ in range(3)]
    while not FINAL.issuperset(tasks.states(jobs)):
        time.sleep(size('seconds-between-kills', 3, 5))
        if len(tasks.workers) < number:
            killed = workers.pop(chance.randrange(len(workers)))
            killed.kill()
            workers.append(tasks.worker(*IMPATIENT))
    ended = tasks.wait(*jobs)
    assert {job['state'] for job in ended} == {'done'}
    assert tasks.count() == number
    assert sum(job.get('interruptions', 0) for job in ended) > 0


def test_effects_outside_happen_again_if_the_worker_dies(tasks, directory):
    path, go = f'{directory}/calls', f'{directory}/go'
    first = tasks.worker(*IMPATIENT)
    oid = tasks.enqueue('append_and_wait', path, go)
    once = tasks.enqueue('append_and_wait', path + '.once', go, retry='never', then={
        'id': 'f', 'state': 'waiting',
        'err': {'call': 'task_functions:append_outcome', 'args': (path + '.err',), 'kwargs': {}}})
    until(lambda: lines(path) and lines(path + '.once'))
    first.kill()
    open(go, 'w').close()
    tasks.worker(*IMPATIENT)
    again, never = tasks.wait(oid, once)
    assert again['state'] == 'done' and len(lines(path)) == 2
    assert len({line.split()[0] for line in lines(path)}) == 1
    assert (never['state'], never['failure']['kind']) == ('failed', 'interrupted')
    assert len(lines(path + '.once')) == 1
    until(lambda: lines(path + '.err'))
    assert lines(path + '.err') == ['interrupted']


def test_a_job_that_kills_its_process_is_poison(tasks):
    tasks.worker()
    others = [tasks.enqueue('slow_count', 'counter', .05) for _ in range(20)]
    poison = tasks.enqueue('die')
    job, *ended = tasks.wait(poison, *others)
    assert (job['state'], job['failure']['kind']) == ('failed', 'poison')
    assert {job['state'] for job in ended} == {'done'}
    assert tasks.count() == 20


def test_a_stopped_worker_that_goes_on_cannot_commit(tasks, directory):
    go = f'{directory}/go'
    stopped = tasks.worker(*IMPATIENT)
    oid = tasks.enqueue('wait_for', go, 'counter')
    until(lambda: tasks.job(oid)['state'] == 'running')
    os.kill(stopped.process.pid, signal.SIGSTOP)
    tasks.worker(*IMPATIENT)
    until(lambda: tasks.job(oid).get('interruptions'))
    open(go, 'w').close()
    job, = tasks.wait(oid)
    assert (job['state'], tasks.count()) == ('done', 1)
    os.kill(stopped.process.pid, signal.SIGCONT)
    until(lambda: 'taken for dead' in stopped.log() or 'lost to another' in stopped.log())
    assert tasks.count() == 1
    # It takes jobs again.
    until(lambda: tasks.wait(tasks.enqueue('process_id'))[0]['owner'] != job['owner'])


def test_lost_replies_lose_nothing_and_repeat_nothing(tasks, size):
    number = size('jobs', 30, 200)
    proxy = FinishProxy(tasks.server.address, seed=1)
    tasks.worker(*IMPATIENT, address='%s:%d' % proxy.address)
    tasks.wait(tasks.enqueue('add', 1))
    proxy.chance = .2
    jobs = [tasks.enqueue('count', 'counter') for _ in range(number)]
    # Every cut costs its client a second.
    ended = tasks.wait(*jobs, patience=size('patience', 90, 600))
    assert {job['state'] for job in ended} == {'done'}
    assert tasks.count() == number
    assert proxy.counts['request lost'] and proxy.counts['reply lost']
    proxy.chance = 0
    proxy.close()


def test_an_enqueuer_that_loses_replies_stores_each_job_once(tasks, size):
    proxy = FinishProxy(tasks.server.address, seed=2, chance=.5)
    tasks.worker()
    jobs = []
    for _ in range(size('enqueued', 8, 100)):
        done = subprocess.run([tasks.rzeo, 'tasks', 'enqueue', '%s:%d' % proxy.address, 'task_functions:count_in_root'],
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        jobs.append(int(done.stdout, 16))
    assert proxy.counts['request lost'] and proxy.counts['reply lost']
    proxy.close()
    assert {job['state'] for job in tasks.wait(*jobs, patience=120)} == {'done'}
    assert tasks.count() == len(set(jobs)) == len(jobs)


def test_the_server_stops_for_a_while(tasks, size):
    tasks.worker()
    jobs = [tasks.enqueue('slow_count', 'counter', .1) for _ in range(20)]
    until(lambda: tasks.count() >= 3)
    server = tasks.server
    server.stop()
    time.sleep(size('seconds', 1, 30))
    with Server(server.command, server.path, settings=['transaction-timeout 10'],
                address='%s:%d' % server.address):
        assert {job['state'] for job in tasks.wait(*jobs)} == {'done'}
        assert tasks.count() == 20
        tasks.close()


def test_many_enqueue_at_once(tasks, size):
    clients, number = size('clients', 4, 16), size('jobs', 15, 100)
    for _ in range(size('workers', 2, 8)):
        tasks.worker()
    jobs, failures = [], []

    def enqueue():
        try:
            db = ZODB.DB(ClientStorage(tasks.server.address, wait_timeout=60))
            for n in range(number):
                jobs.append(tasks.enqueue('add', n, db=db))
            db.close()
        except Exception as error:
            failures.append(error)
    threads = [threading.Thread(target=enqueue) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(set(jobs)) == clients * number
    print(f'{len(tasks.conflicts)} of {len(jobs)} enqueues were repeated')
    ended = tasks.wait(*jobs, patience=size('patience', 120, 1800))
    assert {(job['state'], job['attempt']) for job in ended} == {('done', 1)}
    assert all(job['result'] == job['args'][0] for job in ended)
    # No worker writes what another one's result depends on.
    assert 'changes conflicted' not in tasks.log()
