"""A client's cache of blobs: rzeo's and Python's, beside each other and in one directory.

Python's ClientStorage fills caches from Python's server, by committing and by loading; rzeo fills
others with the same blobs. Names, modes and contents must be the same. Then each uses the other's
cache, respects the other's locks, resumes where the other was killed, and evicts what the other evicts.
"""
import os
import pathlib
import random
import shutil
import subprocess
import tempfile

import pytest

import servers
import zc.lockfile
from ZEO.ClientStorage import BlobCacheLayout, ClientStorage, _check_blob_cache_size
from ZODB.Connection import TransactionMetaData
from ZODB.utils import p64, u64, z64

BLOB = b'\x80\x03cZODB.blob\nBlob\nq\0.\x80\x03N.'
OIDS = [1, 2, 996, 997, 998, 2 * 997 + 1, 123456, (1 << 32) + 5, (1 << 63) - 1]
LARGE = 200_000
UMASKS = 0o022, 0o027, 0o077
SEEDS = 20


class Tool:
    """rzeo's cache in a process of its own"""

    def __init__(self, command, directory, *arguments):
        self.process = subprocess.Popen(
            [command, str(directory), *map(str, arguments)], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.greeting = self.process.stdout.readline().strip()

    def ask(self, *words):
        self.process.stdin.write(' '.join(map(str, words)) + '\n')
        return self.process.stdout.readline().strip()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        assert self.greeting == 'open', self.greeting
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait()


def files(cache):
    """-> {name: (mode, content)} of all but the locks' process ids and the temporary files"""
    found = {}
    for path in cache.rglob('*'):
        name = str(path.relative_to(cache))
        if path.is_file() and not name.startswith('tmp'):
            content = b'' if path.name.endswith('.lock') else path.read_bytes()
            found[name] = path.stat().st_mode & 0o7777, content
    return found


def commit(storage, oid, content):
    """Commit a blob. -> its tid"""
    meta = TransactionMetaData('test', 'blob')
    storage.tpc_begin(meta)
    handle, name = tempfile.mkstemp(dir=storage.temporaryDirectory())
    os.write(handle, content)
    os.close(handle)
    storage.storeBlob(p64(oid), z64, BLOB, name, '', meta)
    storage.tpc_vote(meta)
    return u64(storage.tpc_finish(meta))


def check_names(command, place):
    chance = random.Random(1)
    layout = BlobCacheLayout()
    cache = place / 'names'
    with Tool(command, cache) as tool:
        for bits in range(65):
            oid, tid = chance.getrandbits(bits), chance.getrandbits(64)
            expected = layout.getBlobFilePath(p64(oid), p64(tid))
            assert tool.ask('path', oid, tid) == str(cache / expected), (oid, tid)


def check_filling(command, place, address):
    """-> the caches that Python and rzeo have filled, and [(oid, tid)]"""
    chance = random.Random(2)
    contents = {oid: chance.randbytes(chance.choice([0, 1, 59_000, LARGE])) for oid in OIDS}
    caches = [place / name for name in ('python-up', 'python-down', 'rzeo-up', 'rzeo-down')]
    up = ClientStorage(address, blob_dir=str(caches[0]))
    revisions = [(oid, commit(up, oid, contents[oid])) for oid in OIDS]
    up.close()
    down = ClientStorage(address, blob_dir=str(caches[1]))
    for oid, tid in revisions:
        down.loadBlob(p64(oid), p64(tid))
    down.close()
    with Tool(command, caches[2]) as up, Tool(command, caches[3]) as down:
        for oid, tid in revisions:
            path = place / 'application'
            handle = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
            os.write(handle, contents[oid])
            os.close(handle)
            assert down.ask('download', oid, tid, path) == down.ask('path', oid, tid)
            assert up.ask('take', oid, 0, path) == 'taken'
            assert up.ask('commit', oid, tid) == 'done'
            assert not path.exists()
    for pythons, rzeos in zip(caches[:2], caches[2:]):
        assert files(pythons) == files(rzeos), (pythons, [
            (name, oct(mode)) for cache in (pythons, rzeos)
            for name, (mode, _) in sorted(files(cache).items())])
    return caches[1], caches[3], revisions


def check_sharing(command, address, pythons, rzeos, revisions):
    """Each finds what the other has, and sends no request for it."""
    with Tool(command, pythons) as tool:
        for oid, tid in revisions:
            assert tool.ask('lookup', oid, tid) == tool.ask('path', oid, tid)
    storage = ClientStorage(address, blob_dir=str(rzeos))
    storage._call = None
    for oid, tid in revisions:
        path = storage.loadBlob(p64(oid), p64(tid))
        assert path.startswith(str(rzeos)), path
    storage.close()


def check_locks(command, place, address, revisions):
    cache = place / 'locks'
    oid, tid = revisions[0]
    storage = ClientStorage(address, blob_dir=str(cache))
    lock = cache / str(oid % 997) / '.lock'
    tool = Tool(command, cache)
    assert tool.ask('begin', oid, tid) == 'begun'
    try:
        zc.lockfile.LockFile(str(lock))
    except zc.lockfile.LockError:
        pass
    else:
        raise AssertionError("Python's client has a lock that rzeo has")
    tool.kill()
    part = pathlib.Path(storage.fshelper.getBlobFilename(p64(oid), p64(tid)) + '.dl')
    assert part.exists()
    with Tool(command, cache) as tool:
        assert not part.exists()
        pythons = zc.lockfile.LockFile(str(lock))
        assert tool.ask('begin', oid, tid) == 'locked'
        pythons.close()
        path = storage.loadBlob(p64(oid), p64(tid))
        assert tool.ask('begin', oid, tid) == 'here'
        assert tool.ask('lookup', oid, tid) == path
        # The next opening removes uploads of processes that have ended, and keeps those of running ones.
        for owner in tool, Tool(command, cache):
            upload = place / 'upload'
            upload.write_bytes(b'x')
            assert owner.ask('take', oid, 0, upload) == 'taken'
        owner.kill()
        assert len(list((cache / 'tmp').iterdir())) == 2
        with Tool(command, cache):
            assert len(list((cache / 'tmp').iterdir())) == 2
        assert tool.ask('commit', oid, tid + 1) == 'done'
    assert not list((cache / 'tmp').iterdir())
    storage.close()


def check_sweeping(command, place, seed):
    chance = random.Random(seed)
    caches = [place / f'sweep-{name}-{seed}' for name in ('python', 'rzeo')]
    used = {}
    with Tool(command, caches[0]) as tool:
        for number in range(chance.randint(1, 40)):
            path = place / 'application'
            path.write_bytes(bytes(chance.randint(0, 999)))
            oid, tid = chance.randint(0, 5000), chance.getrandbits(62)
            name = os.path.relpath(tool.ask('download', oid, tid, path), caches[0])
            used[name] = 1_000_000 + number * 7919 % 41
    shutil.copytree(caches[0], caches[1])
    for cache in caches:
        for name, second in used.items():
            os.utime(cache / name, (second, second))
    size = chance.randint(0, 20_000)
    target = size - size * 10 // 100
    _check_blob_cache_size(str(caches[0]), target)
    with Tool(command, caches[1], size) as tool:
        # The other processes are asked to return, and their results are read in turn.
        lock = zc.lockfile.LockFile(str(caches[1] / 'check_size.lock'))
        assert tool.ask('sweep') == 'Busy'
        assert (caches[1] / 'check_size.attempt').exists()
        lock.close()
        answer = tool.ask('sweep')
    assert answer.startswith('Done'), answer
    left = [{name for name in files(cache) if name.endswith('.blob')} for cache in caches]
    assert left[0] == left[1], (seed, sorted(left[0] ^ left[1]))
    assert not (caches[1] / 'check_size.attempt').exists()
    return len(left[0])


def check_refusal(command, place, address):
    cache = place / 'bushy'
    cache.mkdir()
    (cache / '.layout').write_text('bushy')
    try:
        ClientStorage(address, blob_dir=str(cache), wait=False)
    except ValueError as error:
        assert 'bushy' in str(error)
    else:
        raise AssertionError("Python's client takes a server's directory for a cache")
    greeting = Tool(command, cache).greeting
    assert greeting.startswith('error') and 'bushy' in greeting, greeting


@pytest.fixture
def command(program):
    return program('examples/blob_cache')


@pytest.mark.parametrize('umask', UMASKS, ids=oct)
def test_shared_cache(directory, command, reference, umask):
    place = pathlib.Path(directory)
    before = os.umask(umask)
    try:
        with servers.Server(reference, str(place / 'Data.fs'), blob_dir=place / 'blobs') as server:
            pythons, rzeos, revisions = check_filling(command, place, server.address)
            check_sharing(command, server.address, pythons, rzeos, revisions)
            check_locks(command, place, server.address, revisions)
            check_refusal(command, place, server.address)
    finally:
        os.umask(before)


def test_names(directory, command):
    check_names(command, pathlib.Path(directory))


def test_sweeping(directory, command):
    left = [check_sweeping(command, pathlib.Path(directory), seed) for seed in range(SEEDS)]
    assert any(left), 'nothing was left in any cache'
