"""The worker's side of a process that executes jobs (tasks/src/python/child.py), for tests without a worker."""
import json
import os
import subprocess
import sys

from servers import HERE, ROOT

SCRIPT = os.path.join(ROOT, 'tasks', 'src', 'python', 'child.py')
#: As in tasks/src/python/process.rs.
START = "import sys; exec(compile(sys.stdin.buffer.read(int(sys.argv[1])), 'rzeo-job-process', 'exec'))"


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
