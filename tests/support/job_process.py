"""The worker's side of a process that executes jobs (tasks/src/python/child.py), for tests without a worker."""
import json
import os
import random
import subprocess
import sys

import ZODB
from persistent.mapping import PersistentMapping
from servers import HERE, ROOT
from tasks import until
from ZEO.ClientStorage import ClientStorage
from ZODB.utils import u64

SCRIPT = os.path.join(ROOT, 'tasks', 'src', 'python', 'child.py')
#: As in tasks/src/python/process.rs.
START = "import sys; exec(compile(sys.stdin.buffer.read(int(sys.argv[1])), 'rzeo-job-process', 'exec'))"
#: Seconds that a process may take to end.
PATIENCE = 20


class JobProcess:
    """A process that executes jobs. ``output`` is a file for what functions print."""

    def __init__(self, address, output, script=SCRIPT, **settings):
        with open(script, 'rb') as f:
            source = f.read()
        self.output = output
        #: The last commit of the process.
        self.tid = 0
        with open(output, 'wb') as stderr:
            self.process = subprocess.Popen(
                [sys.executable, '-c', START, str(len(source))], start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        self.process.stdin.write(source)
        self.process.stdin.flush()
        self.hello = self.receive()
        server = list(address) if isinstance(address, tuple) else address
        self.send('open', **{
            'version': 1, 'servers': [server], 'storage': '1', 'tls': None, 'blob_dir': None,
            'shared_blob_dir': False, 'wait_timeout': 10, 'memory': None, 'label': 'tests',
            'paths': [HERE], 'allow': ['task_functions:*'], **settings})
        self.opened = self.receive()

    def send(self, kind, /, **items):
        data = json.dumps({'type': kind, **items}).encode()
        self.process.stdin.write(len(data).to_bytes(4, 'big') + data)
        self.process.stdin.flush()

    def receive(self):
        """The next message; None if the process has ended."""
        size = self.process.stdout.read(4)
        if len(size) < 4:
            return None
        return json.loads(self.process.stdout.read(int.from_bytes(size, 'big')))

    def start(self, job, /, **items):
        """Has a job executed: a dict of oid, lease, claimed tid, id and call."""
        self.send('execute', **{**job, **items})
        assert self.receive() == {'type': 'started', 'lease': job['lease']}

    def end(self):
        """How the job has ended; None if the process has."""
        message = self.receive()
        if message is not None:
            assert message.pop('type') == 'ended'
            del message['lease']
            self.tid = message.get('tid', self.tid)
        return message

    def execute(self, job, /, **items):
        self.start(job, **items)
        return self.end()

    def printed(self):
        with open(self.output) as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)


class Jobs:
    """A database with jobs, and the process that executes them."""

    def __init__(self, server, directory):
        self.server, self.directory = server, directory
        self.db = ZODB.DB(ClientStorage(server.address, wait_timeout=30))
        self.processes = []
        #: The last commit that reads have to see.
        self.last = 0
        self.change(lambda root: root.update(counter=PersistentMapping(value=0)))

    def change(self, change):
        """Runs ``change(root)`` as a transaction and returns what it returns."""
        with self.db.transaction() as connection:
            result = change(connection.root())
        return result

    def claim(self, call, *args, **kwargs):
        """Stores a job that a worker has just claimed: what the process gets. ``counter`` stands for the object."""
        def change(root):
            values = tuple(root['counter'] if arg == 'counter' else arg for arg in args)
            root['job'] = job = PersistentMapping(
                id='j1', call=f'task_functions:{call}', args=values, kwargs=kwargs, state='running', owner='w',
                lease=random.getrandbits(64) - 2 ** 63, attempt=1, side=PersistentMapping())
            transaction_of(root).savepoint()
            return job._p_oid, job['lease'], job['call']
        oid, lease, call = self.change(change)
        serial = self.db.storage.load(oid)[1]
        return {'job': u64(oid), 'lease': lease, 'claimed': u64(serial), 'id': 'j1', 'call': call, 'attempt': 1}

    def process(self, **settings):
        process = JobProcess(self.server.address, f'{self.directory}/output', **settings)
        assert (process.hello['type'], process.hello['version']) == ('hello', 1)
        self.processes.append(process)
        return process

    def execute(self, call, *args, **kwargs):
        return self.process().execute(self.claim(call, *args, **kwargs))

    def read(self, read):
        """Reads a state that has all commits of the processes."""
        last = max([self.last, *(process.tid for process in self.processes)])
        until(lambda: u64(self.db.storage.lastTransaction()) >= last)
        return self.change(read)

    def job(self):
        """The job record, with its side record as a dict."""
        return self.read(lambda root: {**root['job'], 'side': dict(root['job']['side'])})

    def count(self):
        return self.read(lambda root: root['counter']['value'])

    def close(self):
        for process in self.processes:
            process.process.kill()
            process.__exit__()
        self.db.close()


def transaction_of(root):
    return root._p_jar.transaction_manager.get()


def is_alive(pid):
    try:
        with open(f'/proc/{pid}/stat') as f:
            return f.read().rpartition(')')[2].split()[0] not in 'ZX'
    except FileNotFoundError:
        return False
