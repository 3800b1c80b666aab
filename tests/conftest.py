"""What all tests of the binary share: options, sizes, servers, certificates, directories.

A test takes what it needs by the names of its arguments:

* ``rzeo``: path of the binary; ``serve``: the command that serves with it, on ``runtime`` if the test
  takes that as well; ``reference``: the command of Python's server.
* ``codec`` and ``runtime``: the test runs for each. A test that takes both runs for two pairs, which have
  every codec and runtime once, and with ``--size full`` for all four.
* ``server``: a running server on an empty file storage, in ``codec`` and on ``runtime`` where given.
* ``directory``: an empty directory with a short path, kept only if the test fails.
* ``certificates``: an authority, a server's and a client's certificate.
* ``arguments(**values)``: a namespace with the values, ``rzeo``, ``server`` and ``reference`` commands, and ``seed``.
* ``size(name, short, full)``: how long or how much, for ``--size``, unless the option ``--name`` sets it.
* ``program(name)``: path of a program in Rust that ``cargo build --bins --examples`` made.
"""
import faulthandler
import logging
import os
import shlex
import shutil
import tempfile
import types

import pytest
import servers
from certificates import Certificates

ROOT = servers.ROOT
#: Options that override a test's sizes: name, type, help.
SIZES = (
    ('seconds', float, 'how long tests with load work'),
    ('cycles', int, 'how many times test_kills.py kills the server'),
    ('cuts', int, 'how many power cuts test_power_cuts.py makes'),
    ('idle', int, 'idle connections of test_crowd.py'),
    ('blob-mb', int, 'size of the blob of test_big_blobs.py in MB'),
    ('random', int, 'random certificates of test_tls_*.py'),
    ('seeds', int, 'damaged copies of each sample in test_check_dump_repair.py'),
    ('operations', int, 'operations on the trees of each class in test_objects_btrees.py'),
)


def pytest_addoption(parser):
    group = parser.getgroup('rzeo')
    group.addoption('--rzeo', default='target/release/rzeo', metavar='PATH',
                    help='the binary to test [default: target/release/rzeo]')
    group.addoption('--programs', default='target/debug', metavar='DIR',
                    help='where cargo put the other programs and examples [default: target/debug]')
    group.addoption('--size', choices=('short', 'full'), default='short',
                    help='sizes of all tests; short leaves out the tests marked slow [default: short]')
    group.addoption('--seed', type=int, default=1, help='seed of all random choices [default: 1]')
    group.addoption('--compare', action='store_true',
                    help="run the measurements on Python's server as well, and print the ratios")
    group.addoption('--keep', metavar='DIR', help='copy pages, pictures and recordings to this directory')
    group.addoption('--captures', metavar='DIR',
                    help='only record new captures there (tests/test_record_replay.py)')
    for name, kind, text in SIZES:
        group.addoption(f'--{name}', type=kind, metavar='N', help=f'{text} [default: by --size]')


def pytest_configure(config):
    logging.disable(logging.CRITICAL)
    faulthandler.enable()


def pytest_collection_modifyitems(config, items):
    if config.getoption('size') == 'full' or config.getoption('markexpr') or config.getoption('keyword'):
        return
    slow = [item for item in items if 'slow' in item.keywords]
    named = [word.split('[')[0] for word in config.args if '::' in word]
    if slow and not named:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if 'slow' not in item.keywords]


def pytest_generate_tests(metafunc):
    takes = [name for name in ('runtime', 'codec') if name in metafunc.fixturenames]
    if takes == ['runtime', 'codec']:
        pairs = [(runtime, codec) for runtime in servers.RUNTIMES for codec in servers.CODECS]
        if metafunc.config.getoption('size') == 'short':
            pairs = list(zip(servers.RUNTIMES, servers.CODECS))
        metafunc.parametrize(takes, pairs)
    elif takes:
        metafunc.parametrize(takes[0], servers.RUNTIMES if takes == ['runtime'] else servers.CODECS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.has_failed = True
    return report


def absolute(path):
    return os.path.join(ROOT, path)


@pytest.fixture(scope='session')
def rzeo(request):
    path = absolute(request.config.getoption('rzeo'))
    if not os.path.exists(path):
        pytest.exit(f'{path} does not exist; build it with cargo, or name another with --rzeo', 2)
    return path


@pytest.fixture
def serve(rzeo, request):
    command = f'{shlex.quote(rzeo)} serve'
    if 'runtime' in request.fixturenames:
        command += f" --runtime {request.getfixturevalue('runtime')}"
    return command


@pytest.fixture(scope='session')
def reference():
    return servers.PYTHON_SERVER


@pytest.fixture
def program(request):
    def path(name):
        found = os.path.join(absolute(request.config.getoption('programs')), name)
        if not os.path.exists(found):
            pytest.fail(f'{found} does not exist; run cargo build --profile test --workspace --bins --examples')
        return found
    return path


@pytest.fixture
def size(request):
    def choose(name, short, full):
        given = request.config.getoption(f'--{name}', default=None)
        if given is not None:
            return given
        return full if request.config.getoption('size') == 'full' else short
    return choose


@pytest.fixture
def arguments(request, rzeo, serve, reference):
    def make(**values):
        option = request.config.getoption
        if option('keep'):
            os.makedirs(option('keep'), exist_ok=True)
        return types.SimpleNamespace(**{
            'rzeo': rzeo, 'server': serve, 'reference': reference, 'seed': option('seed'),
            'compare': option('compare'), 'keep': option('keep'), **values})
    return make


@pytest.fixture
def directory(request):
    path = tempfile.mkdtemp(prefix='rzeo-test-')
    yield path
    if getattr(request.node, 'has_failed', False):
        print('files are left in', path)
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def certificates(directory):
    return Certificates(os.path.join(directory, 'certificates'))


@pytest.fixture
def server(request, serve, directory):
    codec = request.getfixturevalue('codec') if 'codec' in request.fixturenames else 'pickle'
    with servers.Server(serve, os.path.join(directory, 'Data.fs'), codec) as server:
        yield server
