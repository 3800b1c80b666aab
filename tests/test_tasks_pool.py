"""The pool of Python processes of the crate rzeo-tasks: which jobs they get, what becomes of those that die.

``examples/python_pool`` executes jobs that these tests have claimed; ``test_tasks_process.py`` tests a process alone.
"""
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from job_process import Jobs, is_alive
from servers import HERE
from tasks import until


@pytest.fixture
def jobs(server, directory):
    jobs = Jobs(server, directory)
    yield jobs
    jobs.close()


@pytest.fixture
def pool(jobs, program):
    pools = []

    def start(**settings):
        pools.append(Pool(program('examples/python_pool'), jobs, **settings))
        return pools[-1]
    yield start
    for pool in pools:
        pool.close()


class Pool:
    """A running pool."""

    def __init__(self, program, claimed, python=sys.executable, **settings):
        self.jobs = claimed
        self.log = []
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.send(address='%s:%d' % claimed.server.address, python=python, path=HERE,
                  **{'allow': ['task_functions:*'], **settings})
        self.started = self.receive()

    def send(self, **message):
        self.process.stdin.write(json.dumps(message) + '\n')
        self.process.stdin.flush()

    def receive(self):
        """The next message that is not of the log."""
        while line := self.process.stdout.readline():
            message = json.loads(line)
            if 'log' not in message:
                return message
            self.log.append((message.get('job'), message['log']))
        raise AssertionError(f'the program ended with status {self.process.wait(10)}')

    def start(self, call, *args):
        job = self.jobs.claim(call, *args)
        self.send(execute=job)
        return job['lease']

    def end(self, lease=None):
        """How a job has ended, as Rust shows it."""
        message = self.receive()
        assert lease in (None, message['lease'])
        self.jobs.last = message.get('tid', self.jobs.last)
        return message['ended']

    def execute(self, call, *args):
        return self.end(self.start(call, *args))

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)


def processes(pool):
    """Numbers of the pool's processes."""
    with open(f'/proc/{pool.process.pid}/task/{pool.process.pid}/children') as f:
        main = f.read().split()
    found = set(map(int, main))
    for task in os.listdir(f'/proc/{pool.process.pid}/task'):
        with open(f'/proc/{pool.process.pid}/task/{task}/children') as f:
            found.update(map(int, f.read().split()))
    return {pid for pid in found if is_alive(pid)}


def test_jobs_are_executed_one_after_the_other(pool, jobs):
    pool = pool(processes=1)
    assert pool.started == {'ready': True}
    leases = [pool.start('count', 'counter') for _ in range(5)]
    for lease in leases:
        assert pool.end(lease) == 'Committed'
    assert jobs.count() == 5
    assert len(processes(pool)) == 1


def test_as_many_processes_as_jobs_up_to_the_maximum(pool, jobs):
    pool, go = pool(processes=2), f'{jobs.directory}/go'
    assert len(processes(pool)) == 1
    leases = [pool.start('wait_for', go) for _ in range(3)]
    until(lambda: len(processes(pool)) == 2)
    open(go, 'w').close()
    assert {pool.receive()['lease'] for _ in leases} == set(leases)
    assert len(processes(pool)) == 2


def test_a_process_that_dies_is_replaced(pool, jobs):
    pool = pool(processes=1)
    assert pool.execute('die') == (
        'Died { message: "the Python process has ended with exit status 7, executing task_functions:die" }')
    assert pool.execute('count', 'counter') == 'Committed'
    lease = pool.start('until_stopped', 'counter')
    until(lambda: jobs.job()['side'].get('notes'))
    pid, = processes(pool)
    os.kill(pid, signal.SIGKILL)
    assert 'was killed by signal 9' in pool.end(lease)
    assert jobs.count() == 1


def test_a_process_that_dies_between_jobs_costs_no_job(pool):
    pool = pool(processes=1)
    assert pool.execute('add', 1) == 'Committed'
    pid, = processes(pool)
    os.kill(pid, signal.SIGKILL)
    assert pool.execute('add', 1) == 'Committed'


def test_processes_that_a_function_has_forked_end_with_its_process(pool, jobs):
    pool, path = pool(processes=1), f'{jobs.directory}/pid'
    assert 'has ended with exit status 7' in pool.execute('fork_and_die', path)
    with open(path) as f:
        pid = int(f.read())
    until(lambda: not is_alive(pid))


def test_a_function_that_does_not_stop_is_killed(pool, jobs):
    pool = pool(processes=1)
    lease = pool.start('wait_for', f'{jobs.directory}/never')
    pool.send(stop=lease)
    pool.send(abandon=lease)
    assert 'was killed by signal 9' in pool.end(lease)
    assert pool.execute('add', 1) == 'Committed'


def test_functions_and_jobs_that_wait_are_stopped(pool):
    pool = pool(processes=1)
    running = pool.start('until_stopped', 'counter')
    waiting = pool.start('add', 1)
    pool.send(stop=waiting)
    assert pool.end(waiting) == 'Stopped'
    pool.send(stop=running)
    assert pool.end(running) == 'Stopped'


def test_what_functions_print_is_logged_with_the_job(pool):
    pool = pool(processes=1)
    assert pool.execute('prints', 'a text') == 'Committed'
    assert pool.execute('add', 1) == 'Committed'
    until(lambda: ('j1', 'no end') in pool.log or pool.execute('add', 1) is None)
    assert ('j1', 'a text') in pool.log
    assert ('j1', 'by another process') in pool.log


def test_a_process_is_replaced_after_its_number_of_jobs(pool, jobs):
    pool = pool(processes=1, jobs=2)
    pids = []
    for _ in range(4):
        assert pool.execute('process_id') == 'Committed'
        pids.append(jobs.job()['result'])
    assert pids[0] == pids[1] != pids[2] == pids[3]


@pytest.mark.parametrize('settings, expected', [
    (dict(allow=[]), 'no Python function is allowed'),
    (dict(python='/nowhere/python'), '/nowhere/python cannot be executed'),
    (dict(python='/bin/false'), '/bin/false has ended with exit status 1 before it was ready'),
    (dict(python='/bin/echo'), 'the Python process has sent a message that is not understood'),
], ids=['allow', 'absent', 'ends', 'another'])
def test_a_pool_that_cannot_start_has_the_reason(pool, settings, expected):
    assert expected in pool(**settings).started['error']


def test_a_python_without_zeo_is_named(pool, directory):
    python = f'{directory}/python'
    with open(python, 'w') as f:
        f.write(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    os.chmod(python, 0o755)
    assert re.search("No module named '.*'; install the package ZEO there", pool(python=python).started['error'])


def test_processes_end_with_the_worker(pool, jobs):
    pool = pool(processes=1)
    pool.start('wait_for', f'{jobs.directory}/never')
    pid, = processes(pool)
    pool.process.kill()
    pool.process.wait()
    until(lambda: not is_alive(pid))
