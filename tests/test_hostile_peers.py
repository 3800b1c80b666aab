"""Bad peers, one kind after the other, while a good client works on.

After each attack the good client must have committed and never have waited long, the memory of the server
must not have grown by much, and the locks of the attackers must be released.
"""
import contextlib
import json
import os
import random
import socket
import struct
import threading
import time

import pytest

import wire
from wire import MAXTID, Z64, Closed, Raw, Refused, p64

# Maximum time that the good client may wait for an answer, in seconds.
PATIENCE = 3
# Maximum growth of the server's memory by an attack, in bytes.
GROWTH = 256 << 20
ATTACKS = []


def attack(python=True):
    """Register an attack. ``python``: whether Python's server survives it."""
    def register(function):
        ATTACKS.append((function, python))
        return function
    return register


@pytest.mark.alone
def test_hostile_peers(server, codec, runtime):
    Attacks(server, codec).run()


class Attacks:

    def __init__(self, server, codec):
        self.server = server
        self.codec = codec

    def connect(self, hello=True, register=True, **options):
        raw = Raw(self.server.address, self.codec, hello, **options)
        if hello and register:
            raw.register()
        return raw

    def run(self):
        good = GoodClient(self)
        good.start()
        try:
            for function, python in ATTACKS:
                if self.server.is_python and not python:
                    continue
                self.attack(function, good)
        finally:
            good.stop()
        took = self.server.stop()
        assert took < 5, f'the server needed {took:.1f} s to stop'

    def attack(self, function, good):
        memory = self.server.memory()
        descriptors = self.server.descriptors()
        before = good.begin()
        started = time.monotonic()
        function(self)
        seconds = time.monotonic() - started
        waited = good.end(before)
        assert waited < PATIENCE, f'{function.__name__}: the good client waited {waited:.1f} s'
        growth = self.server.memory() - memory
        assert growth < GROWTH, f'{function.__name__}: the server grew by {growth >> 20} MB'
        self.wait_for(lambda: self.server.descriptors() <= descriptors + 2,
                      f'{function.__name__}: connections are not closed')
        print(f'{self.codec} {function.__name__}: {seconds:.1f} s, the good client waited '
              f'{waited * 1000:.0f} ms, {growth >> 20} MB', flush=True)

    @staticmethod
    def wait_for(condition, problem, seconds=5):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, problem
            time.sleep(.02)

    def expect_closed(self, raw, seconds=5):
        """The server ends this connection soon, whatever it sends before"""
        raw.socket.settimeout(seconds)
        try:
            while True:
                raw.frame()
        except (Closed, ConnectionError):
            pass
        except socket.timeout:
            raise AssertionError('the connection was not closed')
        finally:
            raw.close()


class GoodClient(threading.Thread):
    """Commits and reads what it committed, all the time"""

    def __init__(self, attacks):
        super().__init__(daemon=True)
        self.attacks = attacks
        self.stopping = False
        self.problem = None
        self.longest = 0
        self.rounds = 0

    def run(self):
        try:
            raw = self.attacks.connect(timeout=30)
            oid = raw.call('new_oids')[0]
            serial = Z64
            while not self.stopping:
                started = time.monotonic()
                data = wire.record(200, b'%d' % self.rounds)
                serial = raw.commit((oid, serial, data))
                got = raw.call('loadBefore', oid, MAXTID)
                assert got == (data, serial, None), 'the good client reads a wrong record'
                self.longest = max(self.longest, time.monotonic() - started)
                self.rounds += 1
                time.sleep(.002)
        except BaseException as error:
            self.problem = repr(error)

    def begin(self):
        self.longest = 0
        return self.rounds

    def end(self, before):
        deadline = time.monotonic() + 10
        while self.rounds < before + 2:
            assert self.problem is None, self.problem
            assert time.monotonic() < deadline, 'the good client does not commit'
            time.sleep(.01)
        return self.longest

    def stop(self):
        self.stopping = True
        self.join(10)
        assert self.problem is None, self.problem


def frame(payload):
    return struct.pack('>I', len(payload)) + payload


@attack()
def garbage(attacks):
    source = random.Random(1)
    for n in range(100):
        raw = attacks.connect(register=n % 2 == 0)
        raw.socket.sendall(frame(source.randbytes(source.randrange(1, 200))))
        attacks.expect_closed(raw)


@attack()
def strange_greetings(attacks):
    for greeting in b'Z4', b'Z6', b'hello', b'GET / HTTP/1.1', b'\0' * 8, b'Z5' * 100:
        raw = attacks.connect(hello=False)
        raw.frame()
        raw.send_frame(greeting)
        attacks.expect_closed(raw)


@attack(python=False)
def long_frames(attacks):
    for length in 0xffffffff, 0x80000000, 0x7fffffff:
        raw = attacks.connect()
        raw.socket.sendall(struct.pack('>I', length) + b'x' * 1000)
        attacks.expect_closed(raw)


@attack()
def announced_frames(attacks):
    """Long frames are announced, little is sent"""
    crowd = [attacks.connect() for _ in range(50)]
    for raw in crowd:
        raw.socket.sendall(struct.pack('>I', 1 << 29) + b'x' * 100_000)
    time.sleep(.5)
    for raw in crowd:
        raw.close()


@attack()
def half_frames(attacks):
    crowd = []
    for cut in range(1, 30):
        raw = attacks.connect()
        raw.socket.sendall(frame(raw.encode(1, False, 'lastTransaction', ()))[:cut])
        crowd.append(raw)
    time.sleep(.3)
    for raw in crowd:
        raw.close()


@attack()
def unknown_methods(attacks):
    for name in 'nosuch', '__init__', 'close', 'register', '', 'x' * 100_000:
        for one_way in False, True:
            raw = attacks.connect()
            raw.send_frame(raw.encode(1, one_way, name, ('1', False)))
            attacks.expect_closed(raw)
    raw = attacks.connect(register=False)
    raw.send('get_info')
    attacks.expect_closed(raw)


@attack()
def odd_messages(attacks):
    for message in (), (1,), (1, False, 'ping'), (1, False, 'ping', (), 5), (1, False, 7, ()):
        raw = attacks.connect()
        raw.send_frame(raw.encode(*message))
        attacks.expect_closed(raw)
    raw = attacks.connect()
    for args in None, 5, 'text':
        with contextlib.suppress(Refused, Closed):
            raw.send_frame(raw.encode(1, False, 'ping', args))
            raw.answer(1)
    raw.close()


PICKLES = {
    'deep tuples': b'\x80\x03' + b'(' * 200_000 + b't' * 200_000 + b'.',
    'deep lists': b'\x80\x03' + b']' * 100_000 + b'a' * 99_999 + b'.',
    'tuple of tuples': b'\x80\x03)' + b'\x85' * 500_000 + b'.',
    'marks': b'\x80\x03' + b'(' * 1_000_000 + b'.',
    'doubling': b'\x80\x03]' + b'q\x00h\x00h\x00\x86' * 60 + b'.',
    'long bytes': b'\x80\x03B\xff\xff\xff\x7fabc.',
    'long text': b'\x80\x03X\xff\xff\xff\x7fabc.',
    'long long': b'\x80\x03\x8b\xff\xff\xff\x7fabc.',
    'memo index': b'\x80\x03Nr\xff\xff\xff\x7f.',
    'empty stack': b'\x80\x03.',
    'popped': b'\x80\x030000.',
    'protocol 5': b'\x80\x05N.',
    'persistent id': b'\x80\x03Pabc\n.',
    'extension code': b'\x80\x03\x82\x01.',
    'recursive': b'\x80\x03]q\x00h\x00a.',
    'no stop': b'\x80\x03N',
    'empty': b'',
}


@attack(python=False)
def hostile_pickles(attacks):
    for pickle in PICKLES.values():
        raw = Raw(attacks.server.address, 'pickle')
        raw.register()
        raw.send_frame(pickle)
        attacks.expect_closed(raw)


@attack(python=False)
def pickles_that_do_something(attacks):
    """A name is only a name: nothing is called"""
    marker = attacks.server.path + '.called'
    command = f'touch {marker}'.encode()
    call = b'cos\nsystem\nX' + struct.pack('<I', len(command)) + command + b'\x85R'
    evaluate = b'cbuiltins\neval\nX\x04\0\0\x001+1\n\x85R'
    for thing in call, evaluate, b'cbuiltins\nexec\n', b'(ibuiltins\nlist\n':
        raw = Raw(attacks.server.address, 'pickle')
        raw.register()
        raw.send_frame(b'\x80\x03(K\x01\x89X\x04\0\0\0ping' + thing + b'\x85t.')
        raw.close()
        # The same where values are taken as they are.
        raw = Raw(attacks.server.address, 'pickle')
        raw.register()
        raw.send_frame(b'\x80\x03(K\x00\x88X\x09\0\0\0tpc_begin(K\x07C\x00C\x00}X\x01\0\0\0a'
                       + thing + b'sNX\x01\0\0\0 tt.')
        with contextlib.suppress(Refused, Closed):
            raw.call('vote', 7)
        raw.close()
    assert not os.path.exists(marker), 'a pickle was executed'


MSGPACKS = [
    b'\x91' * 500_000, b'\xdd\xff\xff\xff\xff', b'\xdf\xff\xff\xff\xff', b'\xc6\xff\xff\xff\xff',
    b'\xdb\xff\xff\xff\xffabc', b'\xc9\xff\xff\xff\xff\x01', b'\xc1', b'\x81\x90\x90', b'', b'\x94',
    b'\xa2\xff\xfe', b'\xdc\xff\xff' + b'\x90' * 100,
]


@attack()
def hostile_msgpack(attacks):
    for payload in MSGPACKS:
        raw = Raw(attacks.server.address, 'msgpack')
        raw.register()
        raw.send_frame(payload)
        attacks.expect_closed(raw)


METHODS = '''get_info lastTransaction getInvalidations new_oids pack loadBefore storea restorea
    checkCurrentSerialInTransaction storeBlobStart storeBlobChunk storeBlobEnd storeBlobShared
    deleteObject tpc_begin vote tpc_finish tpc_abort history record_iternext sendBlob getTid
    loadSerial new_oid undoa undoLog undoInfo iterator_start iterator_next iterator_record_start
    iterator_record_next iterator_gc server_status set_client_label ping'''.split()


@attack(python=False)
def wrong_arguments(attacks):
    """Every method with arguments of every wrong kind: an error, an end, never a hang"""
    source = random.Random(2)
    values = [None, True, 0, -1, 2 ** 63, 1.5, float('nan'), b'', b'x' * 8, b'x' * 9, 'text', (),
              (1, 2), [b'x' * 8], {}, {'a': 1}, Z64, MAXTID]
    raw = attacks.connect()
    answers = {'result': 0, 'error': 0, 'closed': 0}
    for name in METHODS * 6:
        args = [source.choice(values) for _ in range(source.randrange(6))]
        if name == 'undoLog' and len(args) == 2 and isinstance(args[1], int):
            args[1] = 5
        try:
            raw.call(name, *args)
            answers['result'] += 1
        except Refused:
            answers['error'] += 1
        except Closed:
            answers['closed'] += 1
            raw.close()
            raw = attacks.connect()
        with contextlib.suppress(Refused):
            raw.call('tpc_abort', args[0] if args else None)
    raw.close()
    assert answers['error'] > 50, answers


@attack()
def crowd(attacks):
    """Many connections that send nothing, or little"""
    crowd = []
    for n in range(300):
        raw = attacks.connect(hello=n % 3 > 0, register=n % 3 > 1)
        crowd.append(raw)
    for raw in crowd:
        raw.close()


@attack()
def resets(attacks):
    """Connections that end with a reset, at any moment"""
    linger = struct.pack('ii', 1, 0)
    for n in range(200):
        raw = attacks.connect(hello=n % 4 > 0, register=n % 4 > 1)
        if n % 4 > 2:
            raw.one_way('tpc_begin', 1, b'', b'', {}, None, ' ')
            raw.one_way('storea', p64(1000 + n), Z64, b'x' * 10_000, 1)
            raw.send('vote', 1)
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raw.close()


@attack()
def byte_by_byte(attacks):
    """A slow writer is served like any other client"""
    raw = attacks.connect()
    oid = raw.call('new_oids')[0]
    data = wire.record(200)
    messages = [(0, True, 'tpc_begin', (5, b'', b'', {}, None, ' ')),
                (0, True, 'storea', (oid, Z64, data, 5)), (77, False, 'vote', (5,)),
                (78, False, 'tpc_finish', (5,))]
    for message in messages:
        for byte in frame(raw.encode(*message)):
            raw.socket.sendall(bytes([byte]))
            time.sleep(.0005)
        if message[0]:
            answer = raw.answer(message[0])
    assert answer > Z64
    raw.close()


@attack()
def slow_reader(attacks):
    """Requests much and reads nothing; then reads all of it"""
    memory = attacks.server.memory()
    raw = attacks.connect(timeout=30)
    oid = raw.call('new_oids')[0]
    data = wire.record(100_000)
    tid = raw.commit((oid, Z64, data))
    count = 1500 if not attacks.server.is_python else 300
    requests = b''.join(frame(raw.encode(n, False, 'loadBefore', (oid, MAXTID)))
                        for n in range(1000, 1000 + count))
    sender = threading.Thread(target=raw.socket.sendall, args=(requests,))
    sender.start()
    time.sleep(1)
    growth = attacks.server.memory() - memory
    seen = 0
    while seen < count:
        number, flag, name, result = raw.decode(raw.frame())
        if name == '.reply':
            assert (number, result) == (1000 + seen, (data, tid, None)), 'a wrong answer'
            seen += 1
    sender.join()
    raw.close()
    if not attacks.server.is_python:
        assert growth < GROWTH, f'{growth >> 20} MB for a peer that does not read'


@attack(python=False)
def peers_that_never_read(attacks):
    """Peers that never read while others commit: the server closes them and its memory stays bounded"""
    crowd = [attacks.connect() for _ in range(20)]
    raw = attacks.connect()
    oids = [oid for _ in range(10) for oid in raw.call('new_oids')]
    serial = Z64
    data = wire.record(100)
    for _ in range(30):
        serial = raw.commit(*[(oid, serial, data) for oid in oids])
    raw.close()
    for raw in crowd:
        raw.close()


def stored(raw, oid, txn=9):
    raw.one_way('tpc_begin', txn, b'', b'', {}, None, ' ')
    raw.one_way('storea', oid, Z64, wire.record(100), txn)


@attack()
def vote_and_disconnect(attacks):
    """The locks of a vote are released as soon as its connection is closed"""
    oid = p64(777_000)
    for n in range(20):
        holder, waiter = attacks.connect(), attacks.connect()
        stored(holder, oid)
        holder.call('vote', 9)
        stored(waiter, oid)
        vote = waiter.send('vote', 9)
        holder.close()
        assert waiter.answer(vote) in ([], ())
        waiter.call('tpc_abort', 9)
        waiter.close()


@attack(python=False)
def vote_and_misbehave(attacks):
    """The same for a connection that the server ends"""
    oid = p64(777_001)
    for n in range(10):
        holder, waiter = attacks.connect(), attacks.connect()
        stored(holder, oid)
        holder.call('vote', 9)
        stored(waiter, oid)
        vote = waiter.send('vote', 9)
        holder.send('nosuch')
        attacks.expect_closed(holder)
        assert waiter.answer(vote) in ([], ())
        waiter.call('tpc_abort', 9)
        waiter.close()


@attack()
def queue_with_gaps(attacks):
    """Many votes for one object; every other voter disconnects while it waits"""
    oid = p64(777_002)
    holder = attacks.connect()
    stored(holder, oid)
    holder.call('vote', 9)
    crowd = [attacks.connect() for _ in range(30)]
    for raw in crowd:
        stored(raw, oid)
        raw.vote = raw.send('vote', 9)
        # Connections have no order among each other; a connection with this answer is in the queue.
        raw.call('lastTransaction')
    for raw in crowd[::2]:
        raw.close()
    holder.close()
    for raw in crowd[1::2]:
        assert raw.answer(raw.vote) in ([], ())
        raw.call('tpc_abort', 9)
        raw.close()


@attack()
def half_close(attacks):
    """Requests before the end are answered"""
    raw = attacks.connect()
    numbers = [raw.send('lastTransaction') for _ in range(10)]
    raw.socket.shutdown(socket.SHUT_WR)
    with contextlib.suppress(Closed):
        for number in numbers:
            raw.answer(number)
    attacks.expect_closed(raw)


@attack()
def monitors(attacks):
    for _ in range(100):
        raw = attacks.connect(hello=False)
        raw.frame()
        raw.send_frame(b'ruok')
        assert '1' in json.loads(raw.frame())
        attacks.expect_closed(raw)


@attack()
def big_transaction_aborted(attacks):
    raw = attacks.connect(timeout=30)
    raw.one_way('tpc_begin', 5, b'', b'', {}, None, ' ')
    for n in range(60):
        raw.one_way('storea', p64(900_000 + n), Z64, b'x' * 1_000_000, 5)
    assert raw.call('tpc_abort', 5) is None
    raw.close()
