"""A Zope site whose view enqueues a job, and shows its progress and its result on later requests.

The site is that of tests/zope, in a virtual environment of its own (.venv-zope). It enqueues with the functions of
docs/tasks.md. rzeo executes the job in the server's process; of Python's server, a worker does.
"""
import contextlib
import json
import os
import shutil
import string
import subprocess
import urllib.error
import urllib.request

import pytest
import task_snippet
from servers import ROOT, Server, free_port
from tasks import SERVERS, until

BIN = os.path.join(ROOT, '.venv-zope', 'bin')
ACCEPT = 'mysite.jobs:*'

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def running(words, log, **more):
    """A program that is ended at the end of the block."""
    with open(log, 'ab') as output:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **more)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def serving(kind, rzeo, reference, directory, home):
    """A server with a worker that executes the site's jobs."""
    python, path = os.path.join(BIN, 'python'), f'{directory}/Data.fs'
    settings = ['transaction-timeout 30']
    if kind != 'python':
        options = ['--tasks', python, '--tasks-path', home, '--tasks-accept', ACCEPT]
        with Server(f'{rzeo} serve --runtime {kind}', path, settings=settings, options=options) as server:
            yield server
        return
    with Server(reference, path, settings=settings) as server:
        address = '%s:%d' % server.address
        subprocess.run([rzeo, 'tasks', 'init', address], check=True, timeout=60)
        words = [rzeo, 'tasks', 'worker', address, '--python', python, '--path', home, '--accept', ACCEPT]
        with running(words, f'{directory}/worker.log'):
            yield server


def copy_site(home):
    shutil.copytree(os.path.join(ROOT, 'tests', 'zope'), home)
    with open(f'{home}/mysite/tasks.py', 'w') as f:
        f.write(task_snippet.snippet)


def configure(home, **values):
    """Replaces names such as $SERVER in the files of the site."""
    for name in 'zope.conf', 'zope.ini':
        with open(f'{home}/{name}') as f:
            text = string.Template(f.read()).safe_substitute(values)
        with open(f'{home}/{name}', 'w') as f:
            f.write(text)


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def is_up(url):
    try:
        return get(url)
    except urllib.error.HTTPError:
        raise
    except OSError:
        return False


@pytest.mark.parametrize('kind', SERVERS)
def test_a_site_indexes_by_a_job(kind, rzeo, reference, directory):
    if not os.path.exists(f'{BIN}/runwsgi'):
        pytest.skip('Zope is not installed: ./test.sh full venv-zope')
    home, listen = f'{directory}/site', f'127.0.0.1:{free_port()}'
    copy_site(home)
    environment = {**os.environ, 'PYTHONPATH': home}
    with serving(kind, rzeo, reference, directory, home) as server:
        configure(home, INSTANCE=home, SERVER='%s:%d' % server.address, LISTEN=listen)
        subprocess.run([f'{BIN}/zconsole', 'run', f'{home}/zope.conf', f'{home}/fill.py'], check=True, timeout=120,
                       env=environment, stdout=subprocess.DEVNULL)
        news = f'http://{listen}/news/@@'
        with running([f'{BIN}/runwsgi', f'{home}/zope.ini'], f'{directory}/site.log', env=environment):
            assert until(lambda: is_up(f'{news}start-index')) == 'started'
            seen = []

            def is_done():
                seen.append(json.loads(get(f'{news}show-index')))
                return seen[-1][0] == 'done'
            until(is_done)
            assert seen[-1] == ['done', {'done': 50, 'total': 50}, 50, None]
            assert json.loads(get(f'{news}search?word=word3')) == sorted(f'd{n}' for n in range(3, 50, 5))
