"""A proxy that cuts connections when a client cannot find out whether its transaction is committed."""
import collections
import random
import socket
import threading

#: The method that commits a transaction, in both codecs.
FINISH = b'tpc_finish'


class FinishProxy:
    """Passes on from ``address`` to ``target``, and cuts each connection whose client finishes a transaction.

    ``chance`` is the part of the finishes that are cut. Half of those reach the server, whose reply is lost.
    """

    def __init__(self, target, seed, chance=0):
        self.target = target
        self.random = random.Random(seed)
        self.chance = chance
        #: Number of finishes that were passed on, were lost, and lost their reply.
        self.counts = collections.Counter()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            for sock in client, server:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(self, client, server)
            threading.Thread(target=link.requests, daemon=True).start()
            threading.Thread(target=link.replies, daemon=True).start()

    def outcome(self):
        """Chooses the outcome of a finish."""
        outcome = 'passed'
        if self.random.random() < self.chance:
            outcome = self.random.choice(['request lost', 'reply lost'])
        self.counts[outcome] += 1
        return outcome

    def close(self):
        self.listener.close()


class Link:

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.drops_replies = False

    def requests(self):
        try:
            while data := self.client.recv(1 << 16):
                outcome = self.proxy.outcome() if FINISH in data else 'passed'
                if outcome == 'request lost':
                    break
                self.drops_replies = outcome == 'reply lost'
                self.server.sendall(data)
                if self.drops_replies:
                    # The server has it before the connection ends.
                    self.server.shutdown(socket.SHUT_WR)
                    while self.server.recv(1 << 16):
                        pass
                    break
        except OSError:
            pass
        self.close()

    def replies(self):
        try:
            while not self.drops_replies and (data := self.server.recv(1 << 16)):
                if self.drops_replies:
                    return
                self.client.sendall(data)
        except OSError:
            pass
        if not self.drops_replies:
            self.close()

    def close(self):
        for sock in self.client, self.server:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
