"""A client that sends raw bytes, for messages that the real client would never send."""
import io
import socket
import struct

import msgpack
import zodbpickle.pickle
from persistent.mapping import PersistentMapping
from zodbpickle.pickle import Pickler


class Closed(Exception):
    """The server closed the connection."""


class Raw:
    """A connection to a server."""

    def __init__(self, address, codec='pickle', hello=True, timeout=10, tls=None):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap(self.socket)
        self.codec = codec
        self.buffer = b''
        self.count = 0
        self.notices = []
        if hello:
            self.announced = self.frame()
            self.send_frame(b'M5' if codec == 'msgpack' else b'Z5')

    def encode(self, *message):
        if self.codec == 'msgpack':
            return msgpack.packb(message, use_bin_type=True)
        out = io.BytesIO()
        pickler = Pickler(out, 3)
        pickler.fast = 1
        pickler.dump(message)
        return out.getvalue()

    def decode(self, frame):
        if self.codec == 'msgpack':
            return msgpack.unpackb(frame, raw=False, use_list=False, strict_map_key=False)
        # The tests trust the servers that they start.
        return zodbpickle.pickle.loads(frame)

    def send_frame(self, payload):
        self.socket.sendall(struct.pack('>I', len(payload)) + payload)

    def frame(self):
        while True:
            if len(self.buffer) >= 4:
                end = 4 + int.from_bytes(self.buffer[:4], 'big')
                if len(self.buffer) >= end:
                    payload, self.buffer = self.buffer[4:end], self.buffer[end:]
                    return payload
            try:
                data = self.socket.recv(1 << 18)
            except ConnectionResetError:
                data = b''
            if not data:
                raise Closed
            self.buffer += data

    def one_way(self, name, *args):
        self.send_frame(self.encode(0, True, name, args))

    def send(self, name, *args):
        self.count += 1
        self.send_frame(self.encode(self.count, False, name, args))
        return self.count

    def answer(self, number):
        """The result of call ``number``. Raises Refused for an error reply."""
        while True:
            got, flag, name, result = self.decode(self.frame())
            if name == '.reply' and got == number:
                if flag:
                    raise Refused(*result)
                return result
            self.notices.append((name, result))

    def call(self, name, *args):
        return self.answer(self.send(name, *args))

    def register(self, storage='1', read_only=False):
        return self.call('register', storage, read_only)

    def commit(self, *stores, user=b'', extension=None):
        """Commits (oid, serial, data)... Returns the tid."""
        txn = 1000 + self.count
        self.one_way('tpc_begin', txn, user, b'', extension or {}, None, ' ')
        for oid, serial, data in stores:
            self.one_way('storea', oid, serial, data, txn)
        self.call('vote', txn)
        return self.call('tpc_finish', txn)

    def close(self):
        self.socket.close()


class Refused(Exception):
    """An error reply; its arguments are the class and the payload."""


def p64(number):
    return number.to_bytes(8, 'big')


Z64 = p64(0)
MAXTID = p64((1 << 63) - 1)


def record(size, fill=b'x'):
    """A data record of about ``size`` bytes that Python can load."""
    body = {'data': {'fill': fill * max(1, size - 100)}}
    return zodbpickle.pickle.dumps(PersistentMapping, 3) + zodbpickle.pickle.dumps(body, 3)
