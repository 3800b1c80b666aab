"""A deployment as plone.recipe.zeoserver makes it, served by runzeo and by rzeo in turns.

One unchanged configuration file: several storages with blobs, TLS, a pid file, logs that are
rotated, a section for zdaemon. Each server gets it on the command line as an operator would do it,
continues with the data that the other left, and must support the rest of the deployment: clients with
the configuration of a Zope instance, shared blob directories, SIGUSR2, SIGTERM, and the commands
zeopack and zeo-nagios of Python's distribution, with the same answers.
"""
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
import transaction
import ZODB.config
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob

import servers
import wire
from certificates import SERVER_NAME, Certificates

PYTHON_COMMAND = shlex.join([sys.executable, '-m', 'ZEO.runzeo'])
PATIENCE = 30
TURNS = 4
STORAGES = '1', 'catalog', 'archive', 'scratch'
# Storages that a server keeps only while it runs.
VOLATILE = {'scratch'}
LOG_SIZE = 20 << 10
OLD_FILES = 3

CONFIGURATION = '''\
%define INSTANCE {instance}
%define VAR $INSTANCE/var

<zeo>
  address {address}
  read-only false
  invalidation-queue-size 500
  pid-filename $VAR/zeoserver.pid
  transaction-timeout 300
  {ssl}

</zeo>

<filestorage 1>
  path $VAR/filestorage/Data.fs
  blob-dir $VAR/blobstorage
  pack-gc false

</filestorage>

<eventlog>
  level info
  <logfile>
      path $VAR/log/zeoserver.log
      format %(asctime)s %(message)s
      max-size {log_size}
      old-files {old_files}
    </logfile>
</eventlog>

<runner>
  program $INSTANCE/bin/runzeo
  socket-name $VAR/zeo.zdsock
  daemon true
  forever false
  backoff-limit 10
  exit-codes 0, 2
  directory $INSTANCE
  default-to-interactive true
  user zope

  # This logfile should match the one in the zeo.conf file.
  # It is used by zdctl's logtail command, zdrun/zdctl doesn't write it.
  logfile $VAR/log/zeoserver.log
</runner>

%include additional.conf
'''

# The text of zeo-conf-additional, here in an included file.
ADDITIONAL = '''\
<blobstorage Catalog>
  blob-dir $var/blobstorage-catalog
  <filestorage>
    path $VAR/filestorage/Catalog.fs
    quota 1GB
  </filestorage>
</blobstorage>

<filestorage archive>
  path ${VAR}/filestorage/Archive.fs
  blob-dir ${VAR}/blobstorage-archive
  pack-keep-old false
</filestorage>

<mappingstorage scratch>
  name temporary data of $(USER_OF_THE_INSTANCE)
</mappingstorage>
'''

SSL = '''<ssl>
    certificate $INSTANCE/etc/server.pem
    key $INSTANCE/etc/server.key
    authenticate $INSTANCE/etc/authority.pem
  </ssl>'''

# A second log, for warnings and errors, in a file that logrotate would rename.
EVENTLOG = '''<logfile>
      path $VAR/log/problems.log
      level warning
      dateformat %Y/%m/%d
      format %(asctime)s %(levelname)-8s [%(name)s] %(message)s
    </logfile>
</eventlog>'''

CLIENT = '''\
%import ZEO
<zodb>
  <clientstorage>
    server {server}
    storage {storage}
    name {storage}
    blob-dir {blob_dir}
    shared-blob-dir {shared}
    wait-timeout 20
    client-label {label}
    {ssl}
  </clientstorage>
</zodb>
'''


@pytest.fixture
def deployment(directory, monkeypatch):
    monkeypatch.setenv('USER_OF_THE_INSTANCE', 'zope')
    return Deployment(directory)


def test_deployment(deployment, serve, runtime):
    """Both servers run with one configuration file, on the same data, in turns."""
    for turn in range(TURNS):
        name = ('reference', 'server')[turn % 2]
        deployment.turn(turn, name, (PYTHON_COMMAND, serve)[turn % 2])
    deployment.without_tls(PYTHON_COMMAND, serve)


class Deployment:
    """The directory of an instance"""

    def __init__(self, directory):
        self.instance = os.path.join(directory, 'parts', 'zeoserver')
        for name in 'etc', 'bin', 'var/filestorage', 'var/log', 'clients':
            os.makedirs(self.path(name))
        self.certificates = Certificates(self.path('etc'))
        self.port = servers.free_port()
        self.expected = {name: {} for name in STORAGES}
        self.modes = {}
        self.conf = self.write_configuration('zeo.conf', f'127.0.0.1:{self.port}', SSL)
        with open(self.conf, 'rb') as f:
            self.text = f.read()

    def path(self, *names):
        return os.path.join(self.instance, *names)

    def write_configuration(self, name, address, ssl):
        text = CONFIGURATION.format(instance=self.instance, address=address, ssl=ssl,
                                    log_size=f'{LOG_SIZE >> 10}KB', old_files=OLD_FILES)
        path = self.path('etc', name)
        with open(path, 'w') as f:
            f.write(text.replace('</eventlog>', EVENTLOG, 1))
        with open(self.path('etc', 'additional.conf'), 'w') as f:
            f.write(ADDITIONAL)
        return path

    def turn(self, number, name, command):
        server = Runs(self, name, command, self.conf, ('127.0.0.1', self.port))
        with server:
            for storage in STORAGES:
                with Client(self, storage, f'turn-{number}', number % 2) as client:
                    client.check()
                    client.write(number)
                    client.check()
            server.log_is_rotated_by_size()
            server.logs_are_reopened()
            server.stop()
        with open(self.conf, 'rb') as f:
            assert f.read() == self.text, 'the configuration was changed'
        self.compare_modes(name)
        for storage in VOLATILE:
            self.expected[storage].clear()
        print(f'turn {number}: {name} served {", ".join(STORAGES)}', flush=True)

    def compare_modes(self, name):
        """Files and directories that either server makes can be used by the other's user alone"""
        for where, directories, files in os.walk(self.path('var')):
            for entry in directories + files:
                path = os.path.join(where, entry)
                kind = re.sub(r'0x[0-9a-f]+|\d+', 'N', os.path.relpath(path, self.instance))
                mode = stat.S_IMODE(os.lstat(path).st_mode)
                first, known = self.modes.setdefault(kind, (name, mode))
                assert known == mode, \
                    f'{kind} has mode {mode:o} by {name} and {known:o} by {first}'

    # Python's commands, which do not support TLS

    def without_tls(self, reference, server):
        found = {}
        for name, command in ('reference', reference), ('server', server):
            sock = self.path('var', 'zeo.sock')
            conf = self.write_configuration('unix.conf', sock, '')
            with Runs(self, name, command, conf, sock) as running:
                found[name] = self.commands(sock, ['-U', sock])
                running.stop()
            assert not os.path.exists(sock), f'{name} has left its socket'
            conf = self.write_configuration('tcp.conf', f'127.0.0.1:{self.port}', '')
            with Runs(self, name, command, conf, ('127.0.0.1', self.port)) as running:
                address = f'127.0.0.1:{self.port}'
                found[name] += self.commands(address, ['-h', '127.0.0.1', '-p', str(self.port)])
                running.stop()
            self.is_packed(name)
        for theirs, ours in zip(found['reference'], found['server'], strict=True):
            assert theirs == ours, f'Python: {theirs}\nrzeo: {ours}'
        print(f"{len(found['server'])} calls of zeopack and zeo-nagios with the same answers",
              flush=True)

    def commands(self, address, pack):
        """-> [(command, status, output)]"""
        state = self.path('var', 'nagios.json')
        if os.path.exists(state):
            os.remove(state)
        calls = [['nagios', address], ['nagios', '-m', address], ['nagios', '-m', '-s', state, address]]
        calls += [['scripts.zeopack', *pack, '-S', storage] for storage in STORAGES]
        calls += [['scripts.zeopack', *pack, '-d', '1', '-S', '1'],
                  ['nagios', '-m', '-s', state, address]]
        results = []
        for module, *words in calls:
            entry = module.rpartition('.')[2]
            code = f'import sys; from ZEO.{module} import main; sys.exit(main())'
            done = subprocess.run([sys.executable, '-c', code, *words], capture_output=True,
                                  text=True, timeout=PATIENCE * 4)
            printed = done.stdout + done.stderr
            # Rates differ from run to run.
            printed = re.sub(r'\d+\.\d+(e-?\d+)?', 'RATE', printed)
            results.append((shlex.join([entry, *words]), done.returncode, printed))
        return results

    def is_packed(self, name):
        """Packing has taken the old revisions with their files, and nothing else"""
        for storage, directory in ('1', 'blobstorage'), ('catalog', 'blobstorage-catalog'):
            files = [f for _, _, files in os.walk(self.path('var', directory)) for f in files
                     if f.endswith('.blob')]
            assert len(files) == len(self.expected[storage]), \
                f'{name}: {len(files)} files for {len(self.expected[storage])} blobs of {storage}'


class Client:
    """A database as a Zope instance would configure it"""

    def __init__(self, deployment, storage, name, shared):
        self.expected = deployment.expected[storage]
        self.storage = storage
        etc = deployment.path('etc')
        ssl = '\n'.join(['<ssl>', f'certificate {etc}/client.pem', f'key {etc}/client.key',
                         f'authenticate {etc}/authority.pem', f'server-hostname {SERVER_NAME}',
                         '</ssl>'])
        suffix = '' if storage == '1' else '-' + storage
        # A mapping storage has no blobs, and its client no directory for them.
        has_blobs = storage not in VOLATILE
        shared = shared and has_blobs
        blob_dir = deployment.path('var', 'blobstorage' + suffix) if shared else \
            deployment.path('clients', f'{name}-{storage}')
        text = CLIENT.format(server=f'127.0.0.1:{deployment.port}', storage=storage, ssl=ssl,
                             blob_dir=blob_dir, shared=shared and 'on' or 'off', label=name)
        self.has_blobs = has_blobs
        self.db = ZODB.config.databaseFromString(text)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.db.close()

    def write(self, turn):
        """Objects, blobs, a second revision of each, a conflict that is resolved"""
        for n in range(10):
            key = f'{turn}.{n}'
            value = os.urandom(10 ** (n % 5 + 1))
            self.commit(key, b'first' + value)
            self.commit(key, value)
            self.expected[key] = value

    def commit(self, key, value):
        with transaction.manager as txn:
            txn.note(f'{self.storage} {key}')
            conn = self.db.open()
            root = conn.root()
            thing = root.get(key)
            if thing is None:
                thing = root[key] = PersistentMapping()
                if self.has_blobs:
                    thing['blob'] = Blob()
            thing['value'] = value
            if self.has_blobs:
                with thing['blob'].open('w') as f:
                    f.write(value * 3)
        conn.close()

    def check(self):
        conn = self.db.open()
        root = conn.root()
        assert set(root) == set(self.expected), \
            f'{self.storage}: {sorted(set(root) ^ set(self.expected))}'
        for key, value in self.expected.items():
            assert root[key]['value'] == value, f'{self.storage}: {key} differs'
            if self.has_blobs:
                with root[key]['blob'].open() as f:
                    assert f.read() == value * 3, f'{self.storage}: the blob of {key} differs'
        transaction.abort()
        conn.close()


class Runs:
    """A server on the command line: nothing but -C and the file"""

    def __init__(self, deployment, name, command, conf, address):
        self.deployment = deployment
        self.name = name
        self.address = address
        self.log = deployment.path('var', 'log', 'zeoserver.log')
        self.problems = deployment.path('var', 'log', 'problems.log')
        self.output = deployment.path('output')
        words = [os.path.abspath(w) if os.path.exists(w) else w for w in shlex.split(command)]
        with open(self.output, 'wb') as f:
            self.process = subprocess.Popen([*words, '-C', conf], cwd='/', stdout=f, stderr=f,
                                            stdin=subprocess.DEVNULL)
        self.wait_for(self.answers, 'does not listen')
        with open(self.pid_file) as f:
            pid = f.read()
        assert int(pid) == self.process.pid, f'{self.name}: {pid!r} in the pid file'

    @property
    def pid_file(self):
        return self.deployment.path('var', 'zeoserver.pid')

    def answers(self):
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        with socket.socket(family) as s:
            return s.connect_ex(self.address) == 0

    def wait_for(self, condition, problem):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None and time.monotonic() < deadline, \
                f'{self.name} {problem}: {self.log_text()}'
            time.sleep(.02)

    def log_text(self):
        texts = []
        for path in self.output, self.log, self.problems:
            if os.path.exists(path):
                with open(path, errors='replace') as f:
                    texts.append(f'{path}:\n{f.read()[-2000:]}')
        return '\n'.join(texts)

    def cause_event(self):
        """An event that is logged"""
        for _ in range(20):
            raw = wire.Raw(self.address, tls=self.deployment.certificates)
            raw.register()
            raw.close()

    def log_is_rotated_by_size(self):
        oldest = f'{self.log}.{OLD_FILES}'
        if os.path.exists(oldest):
            os.remove(oldest)

        def rotated():
            self.cause_event()
            return os.path.exists(oldest)
        self.wait_for(rotated, 'does not rotate its log')
        logs = [name for name in os.listdir(os.path.dirname(self.log))
                if name.startswith('zeoserver.log')]
        assert len(logs) == OLD_FILES + 1, f'{self.name}: {logs}'
        for name in logs:
            size = os.path.getsize(os.path.join(os.path.dirname(self.log), name))
            assert size <= LOG_SIZE, f'{self.name}: {name} has {size} bytes'

    def logs_are_reopened(self):
        """SIGUSR2: the rotated log begins anew, the other is opened at its configured path"""
        os.rename(self.problems, self.problems + '.old')
        first = os.stat(self.log).st_ino
        self.process.send_signal(signal.SIGUSR2)
        self.wait_for(lambda: os.path.exists(self.problems), 'does not reopen its log')
        self.wait_for(lambda: os.path.exists(self.log) and os.stat(self.log).st_ino != first,
                      'does not rotate its log at SIGUSR2')
        self.wait_for(lambda: 'Log files reopened successfully' in self.read(self.log),
                      'does not log that it has reopened its log')
        assert 'reopened' not in self.read(self.problems), 'an information among the problems'
        os.remove(self.problems + '.old')

    @staticmethod
    def read(path):
        with open(path, errors='replace') as f:
            return f.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        assert status == 0, f'{self.name} ended with status {status}: {self.log_text()}'
        assert not os.path.exists(self.pid_file), f'{self.name} has left its pid file'
        with open(self.output) as f:
            printed = f.read()
        assert not printed or self.name == 'reference', f'{self.name} has printed beside its log: {printed}'

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
