"""``rzeo serve --tasks``: the server executes jobs itself, and ends them before it ends."""
import os
import signal
import subprocess
import sys

import pytest
from servers import HERE, Server
from tasks import Tasks, lines, until
from ZODB.FileStorage import FileStorage


def options(*more, accept='task_functions:*'):
    return ['--tasks', sys.executable, '--tasks-accept', accept, '--tasks-path', HERE, *more]


@pytest.fixture
def tasks(serve, runtime, directory, rzeo):
    path = f'{directory}/Data.fs'
    own = ['stop-timeout 2']
    with Server(serve, path, settings=['transaction-timeout 30'], own=own, options=options()) as server:
        tasks = Tasks(rzeo, server, directory)
        yield tasks
        tasks.close()


def test_a_server_executes_jobs(tasks):
    done, failed = tasks.wait(tasks.enqueue('count', 'counter', 5), tasks.enqueue('fail_after', 'counter'))
    assert (done['state'], failed['failure']['kind'], tasks.count()) == ('done', 'ValueError', 5)


def test_a_server_that_ends_gives_its_jobs_back(tasks, directory):
    called = f'{directory}/called'
    oid = tasks.enqueue('ignores', called)
    until(lambda: lines(called))
    tasks.db.close()
    tasks.server.stop()
    assert 'worker left' in tasks.server.log_text()
    storage = FileStorage(f'{directory}/Data.fs', read_only=True)
    data = storage.load(oid.to_bytes(8, 'big'))[0]
    storage.close()
    assert b'pending' in data and b'running' not in data


def test_a_second_signal_ends_jobs_at_once(serve, runtime, directory, rzeo):
    path, called = f'{directory}/Data.fs', f'{directory}/called'
    own = ['stop-timeout 3600']
    with Server(serve, path, settings=['transaction-timeout 30'], own=own, options=options()) as server:
        tasks = Tasks(rzeo, server, directory)
        tasks.enqueue('ignores', called)
        until(lambda: lines(called))
        tasks.db.close()
        server.process.send_signal(signal.SIGTERM)
        until(lambda: 'SIGTERM' in server.log_text())
        server.stop()


@pytest.mark.parametrize('more, message', [
    ([], "--tasks: the server is read-only"),
    (['--tasks-storage', 'x'], "--tasks-storage: there is no storage 'x'; there are '1'"),
    (['--tasks', '/nowhere/python'], '--tasks: '),
])
def test_mistakes_end_the_server(rzeo, directory, more, message):
    settings = '' if more else 'read-only true'
    with open(f'{directory}/conf', 'w') as f:
        f.write(f'<zeo>\naddress 127.0.0.1:0\n{settings}\n</zeo>\n<mappingstorage 1>\n</mappingstorage>\n')
    words = options(*more) if '--tasks' not in more else [*more, '--tasks-accept', 'a:*']
    done = subprocess.run([rzeo, 'serve', '-C', f'{directory}/conf', *words],
                          capture_output=True, text=True, timeout=30, cwd=directory)
    assert done.returncode == (1 if '--tasks' in more else 2), done.stderr
    assert f'error: {message}' in done.stderr
    assert os.listdir(directory) == ['conf']
