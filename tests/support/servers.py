"""Servers as processes.

A server is any command that keeps the contract of conformance/README.md: it takes
``-C CONFFILE --address-file FILE`` and ends with status 0 at SIGTERM.
"""
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PYTHON_SERVER = shlex.join([sys.executable, os.path.join(ROOT, 'conformance', 'pyserver.py')])
CODECS = 'pickle', 'msgpack'
RUNTIMES = 'tokio', 'smol'
#: Seconds that a server may take to listen.
START_SECONDS = 30


class ServerFailed(AssertionError):
    """The server does not start; the message has the end of its log."""


def free_port():
    """A TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Server:
    """A server process, stopped (after a failure: killed) at the end of a ``with`` block.

    ``address`` and ``settings`` are lines of its <zeo> section, ``own`` those of <rzeo>, which Python's
    server does not get. ``storages`` replaces the section of a file storage on ``path``, and ``conf``, the
    path of a configuration file, replaces all of these. ``tls`` are certificates (certificates.py).
    """

    def __init__(self, command, path, codec='pickle', settings=(), own=(), storages='', conf=None,
                 tls=None, blob_dir=None, options=(), address='127.0.0.1:0'):
        self.command = command
        self.path = path
        self.log = path + '.server.log'
        self.conf = conf or path + '.conf'
        self.address_file = path + '.address'
        self.tls = tls
        words = [os.path.abspath(w) if os.path.exists(w) else w for w in shlex.split(command)]
        self.is_python = any(os.path.basename(w) == 'pyserver.py' for w in words)
        if not conf:
            lines = ['<zeo>', f'address {address}', *settings]
            if codec == 'msgpack':
                lines.append('msgpack true')
            if tls:
                lines += tls.section
            lines.append('</zeo>')
            if own and not self.is_python:
                lines += ['<rzeo>', *own, '</rzeo>']
            blobs = [f'blob-dir {blob_dir}'] if blob_dir else []
            lines += [storages] if storages else [
                '<filestorage>', f'path {path}', *blobs, '</filestorage>', '']
            with open(self.conf, 'w') as f:
                f.write('\n'.join(lines))
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                [*words, '-C', self.conf, '--address-file', self.address_file, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.address = self._wait_for_address()

    def _wait_for_address(self):
        deadline = time.monotonic() + START_SECONDS
        while not os.path.exists(self.address_file):
            if self.process.poll() is not None:
                raise ServerFailed(f'the server ended at once:\n{self.tail()}')
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f'the server does not start within {START_SECONDS} seconds:\n{self.tail()}')
            time.sleep(.01)
        with open(self.address_file) as f:
            text = f.read().strip()
        os.remove(self.address_file)
        if '/' in text:
            return text
        host, _, port = text.rpartition(':')
        return host, int(port)

    def stop(self, patience=15):
        """Ends the server with SIGTERM. Returns the seconds that this took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        while self.process.poll() is None:
            if time.monotonic() > started + patience:
                self.kill()
                raise AssertionError(f'the server does not stop:\n{self.tail()}')
            time.sleep(.01)
            if time.monotonic() - started > 1 and self.is_python:
                # Python's server sometimes misses the first signal.
                self.process.send_signal(signal.SIGTERM)
        status = self.process.returncode
        # The second signal sometimes kills Python's server.
        assert status == 0 or self.is_python, \
            f'the server ended with status {status}:\n{self.tail()}'
        return time.monotonic() - started

    def kill(self):
        self.process.kill()
        self.process.wait()

    def tail(self):
        return self.log_text()[-4000:]

    def log_text(self):
        """The whole log so far."""
        with open(self.log, errors='replace') as f:
            return f.read()

    def memory(self):
        """Resident set in bytes."""
        with open(f'/proc/{self.process.pid}/statm') as f:
            return int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def watch_memory(self):
        """Starts to measure the largest resident set. Returns the current one."""
        with open(f'/proc/{self.process.pid}/clear_refs', 'w') as f:
            f.write('5')
        return self.memory()

    def most_memory(self):
        """The largest resident set since ``watch_memory``, in bytes."""
        with open(f'/proc/{self.process.pid}/status') as f:
            line = next(line for line in f if line.startswith('VmHWM:'))
        return int(line.split()[1]) << 10

    def seconds(self):
        """Processor time used so far."""
        with open(f'/proc/{self.process.pid}/stat') as f:
            words = f.read().rpartition(')')[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf('SC_CLK_TCK')

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.kill() if error[0] else self.stop()
