"""`rzeo top` in a terminal, beside a server of either kind that works, is killed, and is started again.

The terminal is a pseudo one: what the program draws there is read back, keys are pressed and signals
sent, and at the end the terminal must be as it was. What it shows is compared with what the server
answers to another program.
"""
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

import servers
import wire

ENTER, LEAVE = b'\x1b[?1049h', b'\x1b[?1049l'


@pytest.mark.parametrize('kind', ['rzeo', 'python'])
def test_top(directory, arguments, kind):
    args = arguments()
    command = args.server if kind == 'rzeo' else args.reference
    server = servers.Server(command, os.path.join(directory, 'Data.fs'))
    try:
        snapshots(args.rzeo, server)
        server = watching(args.rzeo, command, server)
    finally:
        server.kill()


def test_no_server(rzeo):
    without_a_server(rzeo)


def snapshots(rzeo, server):
    """Without a terminal, and with --once in one"""
    with Worker(server.address):
        for words in ['-i', '.5'], ['--once', '--interval=.5']:
            done = subprocess.run([rzeo, 'top', *words, target(server)], capture_output=True, text=True,
                                  timeout=60, stdin=subprocess.DEVNULL)
            assert (done.returncode, done.stderr) == (0, ''), done
            assert '\x1b' not in done.stdout, done
            check(done.stdout, server)
            assert rate(done.stdout, 'commits') > 0, done
            assert rate(done.stdout, 'loads') > 0, done
    with Screen([rzeo, 'top', '--once', '-i.1', target(server)]) as screen:
        screen.end()
        assert ENTER not in screen.raw and b'storage 1' in screen.raw, screen.raw


def watching(rzeo, command, server):
    """A terminal while the server is killed and started again"""
    words = [rzeo, 'top', '-i', '.2', target(server)]
    with Screen(words) as screen:
        screen.wait('storage 1')
        text = screen.wait(r'commits +0/s')
        with Worker(server.address):
            text = screen.wait(r'commits +[1-9].*[▂-█]')
            screen.wait('connections 1 ')
        screen.wait('connections 0 ')
        screen.wait(r'commits +0/s')
        check(screen.text(), server)
        with Voter(server.address):
            text = screen.wait(r'lock held for ([1-9])\.')
            assert 'open 1 ' in text, text
        screen.wait('no lock held')

        screen.resize(5, 20)
        screen.wait('there is more')
        assert all(len(line) <= 20 for line in screen.text().splitlines()), screen.text()
        screen.resize(40, 100)
        screen.wait('last commit')

        server.kill()
        screen.wait(r'no answer for \d+ s: .*refused')
        assert 'storage 1' in screen.text(), 'the last figures are not shown any more'
        server = servers.Server(command, server.path, options=['-a', target(server)])
        text = screen.wait('was restarted')
        assert 'no answer' not in text, text
        check(screen.text(), server)

        screen.press(b'x')
        assert screen.process.poll() is None
        screen.press(b'q')
        screen.end()
    for leave in ('Ctrl-C', lambda screen: screen.press(b'\3')), (
            'SIGTERM', lambda screen: screen.process.send_signal(signal.SIGTERM)):
        with Screen(words) as screen:
            screen.wait('storage 1')
            leave[1](screen)
            screen.end()
    return server


def without_a_server(rzeo):
    done = subprocess.run([rzeo, 'top', '127.0.0.1:1'], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and not done.stdout, done
    assert done.stderr.startswith('error: cannot ask') and 'refused' in done.stderr, done
    for bad in '0', '-1', 'x', 'nan', '1e9':
        done = subprocess.run([rzeo, 'top', '--interval=' + bad], capture_output=True, text=True)
        assert done.returncode == 2, done
    with Screen([rzeo, 'top', '127.0.0.1:1']) as screen:
        screen.wait(r'no answer for \d+ s: .*refused')
        screen.press(b'q')
        screen.end()


# --- clients --------------------------------------------------------------------------------------


def target(server):
    return '{}:{}'.format(*server.address)


class Worker:
    """A client that loads and commits until it is stopped"""

    def __init__(self, address):
        self.client = wire.Raw(address)
        self.client.register()
        self.stopped = False
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()

    def run(self):
        # An object of its own, so that there is no conflict with another worker's.
        oid = self.client.call('new_oids')[0]
        serial = wire.Z64
        while not self.stopped:
            serial = self.client.commit((oid, serial, wire.record(200)))
            self.client.call('loadBefore', oid, wire.MAXTID)
            time.sleep(.005)

    def __exit__(self, *_error):
        self.stopped = True
        self.thread.join()
        self.client.close()


@contextlib.contextmanager
def Voter(address):
    """A client that holds a lock"""
    client = wire.Raw(address)
    client.register()
    client.one_way('tpc_begin', 7, b'', b'', {}, None, ' ')
    client.one_way('storea', client.call('new_oids')[0], wire.Z64, wire.record(200), 7)
    client.call('vote', 7)
    yield
    client.call('tpc_abort', 7)
    client.close()


# --- what is shown --------------------------------------------------------------------------------


def rate(text, title):
    return float(re.search(rf'{title} +([\d.]+)/s', text)[1])


def total(text, title):
    return int(re.search(rf'{title} .*/s +(\d+)', text)[1])


def check(text, server):
    """What is shown is not more than the server's figures now, and the same for an idle server"""
    client = wire.Raw(server.address)
    client.register()
    status = client.call('server_status')
    client.close()
    assert f"started {status['start']}" in text, (text, status)
    for title in 'loads', 'stores', 'commits', 'aborts', 'conflicts':
        assert total(text, title) <= status[title], (title, text, status)
    if 'connections 0' in text:
        for title in 'loads', 'stores', 'commits':
            assert total(text, title) == status[title], (title, text, status)
        assert 'tid ' + status['last-transaction'] in text or 'never' in text, (text, status)


class Screen:
    """A program in a terminal of its own"""

    def __init__(self, words, rows=30, columns=100):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.raw = b''
        self.process = subprocess.Popen(
            words, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def resize(self, rows, columns):
        """As a window's edge: the kernel notifies the program"""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def press(self, key):
        os.write(self.master, key)

    def read(self, patience):
        if select.select([self.master], [], [], patience)[0]:
            self.raw += os.read(self.master, 1 << 16)

    def text(self):
        """The latest whole picture"""
        pictures = self.raw.split(b'\x1b[H')
        whole = [it for it in pictures[1:] if b'\x1b[J' in it]
        picture = whole[-1].split(b'\x1b[J')[0].decode() if whole else ''
        return re.sub('\x1b\\[[0-9;]*[a-zA-Z]', '', picture).replace('\r\n', '\n')

    def wait(self, pattern):
        """Read until the picture has this. -> the picture"""
        deadline = time.monotonic() + 30
        while not re.search(pattern, self.text()):
            assert time.monotonic() < deadline, (pattern, self.text())
            assert self.process.poll() is None, (pattern, self.raw[-2000:])
            self.read(.1)
        return self.text()

    def end(self):
        """The program ends by itself, and leaves the terminal as it was"""
        deadline = time.monotonic() + 30
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text()
            self.read(.1)
        self.read(0)
        assert self.process.returncode == 0, (self.process.returncode, self.raw[-2000:])
        assert termios.tcgetattr(self.slave) == self.before, 'the terminal is not as it was'
        assert self.raw.count(ENTER) == self.raw.count(LEAVE), self.raw[-2000:]
        if ENTER in self.raw:
            assert self.raw.rstrip().endswith(LEAVE) and b'\x1b[?25h' in self.raw, self.raw[-2000:]
