"""What the admin listener serves, while clients work.

Several clients do things whose number is known; meanwhile /metrics is read again and again with the
parser of Prometheus' own client library, and no counter may go back. In the end every figure must
agree with what the clients did. The test reads the HTML page, too: it needs no script, shows names
and labels as text whatever is in them, and is drawn by a real browser if there is one.
"""
import collections
import contextlib
import html.parser
import http.client
import json
import multiprocessing
import os
import re
import shutil
import socket
import struct
import subprocess
import time
import traceback

from prometheus_client.parser import text_string_to_metric_families
from ZEO.ClientStorage import ClientStorage
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import ConflictError

import servers
import wire
from wire import MAXTID, Z64

BROWSER = '/usr/bin/chromium'
FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--hide-scrollbars']
SIZES = {'wide': (1280, 1600), 'narrow': (420, 1600)}
PATIENCE = 60
# Names and labels are text, also if they look like HTML.
STORAGES = '1', 'q"<i>&\\n'
LABEL = '<script>alert("{}")</script>'
QUEUE = 50


def test_status_page(directory, arguments, runtime):
    args = arguments(codec='msgpack', clients=4, rounds=40)
    observer = Observer(args, runtime, args.server, directory)
    observer.run()
    if args.keep:
        keep(directory, os.path.join(args.keep, runtime))
    print(f'{observer.scrapes} scrapes while {args.clients} clients worked: every figure is right')


def keep(directory, target):
    os.makedirs(target, exist_ok=True)
    for name in os.listdir(directory):
        if name.endswith(('.png', '.html', '.txt')):
            shutil.copy(os.path.join(directory, name), target)


class Observer:
    """Reads the status of one server"""

    def __init__(self, args, name, command, directory):
        self.args = args
        self.name = name
        self.command = command
        self.directory = directory
        self.scrapes = 0
        self.highest = collections.defaultdict(float)

    def run(self):
        path = os.path.join(self.directory, 'Data.fs')
        storages = '\n'.join([f'<filestorage>\npath {path}\n</filestorage>',
                              f'<mappingstorage {STORAGES[1]}/>', ''])
        with servers.Server(self.command, path, self.args.codec, storages=storages,
                          settings=[f'invalidation-queue-size {QUEUE}'],
                          options=['--admin', '127.0.0.1:0']) as self.server:
            found = re.search(r'status page on \S*?([\d.]+):(\d+)', self.server.log_text())
            assert found, f'the log does not have the address of the page:\n{self.server.tail()}'
            self.admin = found[1], int(found[2])
            self.expect_alive()
            self.strange_requests()
            self.work()
            self.expect_alive()
            self.pictures()

    # HTTP

    def get(self, path, method='GET', status=200):
        connection = http.client.HTTPConnection(*self.admin, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read().decode()
            assert response.status == status, f'{method} {path}: {response.status} {body[:200]}'
            self.headers = response.headers
            return body

    def expect_alive(self):
        for path in '/live', '/ready':
            assert self.get(path).strip()

    def strange_requests(self):
        """Wrong, slow and endless requests do not keep other clients from the page"""
        slow = [socket.create_connection(self.admin) for _ in range(30)]
        for n, s in enumerate(slow):
            s.sendall(b'GET /metrics HTTP/1.1\r\nHost: here\r\n'[:n])
        self.get('/nosuch', status=404)
        self.get('/metrics', 'POST', status=405)
        self.get('/', 'DELETE', status=405)
        assert self.get('/metrics', 'HEAD') == ''
        for request in b'\0' * 100, b'GET / HTTP/1.1\r\nx: ' + b'y' * (1 << 20), b'no\r\n\r\n':
            with socket.create_connection(self.admin, timeout=PATIENCE) as s:
                # It may be refused before all of it was sent.
                with contextlib.suppress(OSError):
                    s.sendall(request)
                    s.shutdown(socket.SHUT_WR)
                    answer = s.recv(1 << 16)
                    assert not answer.startswith(b'HTTP/1.1 2'), answer[:100]
        for s in slow:
            s.close()

    # Metrics

    def scrape(self):
        """-> {(name, ((label, value), ...)): value}; all counters are seen not to go back"""
        text = self.get('/metrics')
        self.scrapes += 1
        values = {}
        for family in text_string_to_metric_families(text):
            assert family.documentation, f'{family.name} is not explained'
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                assert key not in values, f'{key} is there twice'
                values[key] = sample.value
                if family.type in ('counter', 'histogram'):
                    assert sample.value >= self.highest[key], f'{key} went back'
                    self.highest[key] = sample.value
        self.text = text
        return values

    def work(self):
        context = multiprocessing.get_context('fork')
        results = context.Queue()
        done = context.Event()
        clients = [context.Process(target=client, args=(self, n, results, done), daemon=True)
                   for n in range(self.args.clients)]
        before = self.scrape()
        for process in clients:
            process.start()
        total = collections.Counter()
        pending = len(clients)
        deadline = time.monotonic() + PATIENCE
        while pending:
            assert time.monotonic() < deadline, 'the clients do not end'
            self.scrape()
            json.loads(self.get('/status.json'))
            while not results.empty():
                counts = results.get()
                assert not isinstance(counts, str), counts
                total.update(counts)
                pending -= 1
        self.compare(before, total)
        self.waiting_votes()
        self.look(total)
        self.pack()
        done.set()
        for process in clients:
            process.join(PATIENCE)
        self.wait_for('rzeo_connections', 0)

    def value(self, values, name, storage='1', **labels):
        key = name, tuple(sorted({'storage': storage, **labels}.items()))
        assert key in values, f'{key} is not among the metrics'
        return values[key]

    def compare(self, before, total):
        values = self.scrape()
        for name, expected in total.items():
            for storage, count in ('1', expected), (STORAGES[1], 0):
                found = self.value(values, f'rzeo_{name}_total', storage) - \
                    self.value(before, f'rzeo_{name}_total', storage)
                if name.endswith('_bytes'):
                    # Messages have more bytes than their records.
                    assert count <= found <= count * 2 + 100_000, f'{name}: {found} for {count}'
                else:
                    assert found == count, f'{name} of {storage}: {found}, clients did {count}'
        commits = total['commits']
        for name in 'commit', 'sync':
            self.histogram(values, f'rzeo_{name}_duration_seconds')
        count = self.value(values, 'rzeo_commit_duration_seconds_count')
        assert count == commits, f'{count} commits measured of {commits}'
        syncs = self.value(values, 'rzeo_sync_duration_seconds_count')
        assert 0 < syncs <= commits, f'{syncs} syncs for {commits} commits'
        assert self.value(values, 'rzeo_commit_group_size_sum') == commits
        queue = self.value(values, 'rzeo_invalidation_queue_length')
        assert queue == min(QUEUE, commits), f'{queue} commits in the queue'
        assert self.value(values, 'rzeo_connections') == self.args.clients
        assert self.value(values, 'rzeo_connections', STORAGES[1]) == 0
        assert self.value(values, 'rzeo_backlog_bytes') == 0
        assert values['rzeo_ready', ()] == 1
        memory = values['process_resident_memory_bytes', ()]
        assert abs(memory - self.server.memory()) < 16 << 20, memory
        summary = ', '.join(f'{count} {name}' for name, count in sorted(total.items()))
        print(f'{self.name}: {summary} are right', flush=True)

    @staticmethod
    def histogram(values, name):
        buckets = sorted((float(dict(labels)['le']), value)
                         for (found, labels), value in values.items()
                         if found == name + '_bucket' and dict(labels)['storage'] == '1')
        counts = [value for _, value in buckets]
        assert counts == sorted(counts) and len(counts) > 5, f'{name}: {buckets}'
        assert buckets[-1] == (float('inf'), values[name + '_count', (('storage', '1'),)]), name
        assert values[name + '_sum', (('storage', '1'),)] > 0, name

    def wait_for(self, name, expected):
        deadline = time.monotonic() + PATIENCE
        while (found := self.value(self.scrape(), name)) != expected:
            assert time.monotonic() < deadline, f'{name} is {found} instead of {expected}'

    def waiting_votes(self):
        """One transaction holds an object, two wait for it"""
        raws = [wire.Raw(self.server.address, self.args.codec) for _ in range(3)]
        for raw in raws:
            raw.register()
            raw.one_way('tpc_begin', 1, b'', b'', {}, None, ' ')
            raw.one_way('storea', wire.p64(777_777), Z64, wire.record(100), 1)
        raws[0].call('vote', 1)
        for raw in raws[1:]:
            raw.send('vote', 1)
        self.wait_for('rzeo_votes_waiting', 2)
        self.wait_for('rzeo_active_transactions', 3)
        held = [self.value(self.scrape(), 'rzeo_lock_held_seconds') for _ in range(2)]
        assert 0 < held[0] < held[1] < PATIENCE, held
        for raw in raws:
            raw.close()
        self.wait_for('rzeo_votes_waiting', 0)
        self.wait_for('rzeo_active_transactions', 0)
        self.wait_for('rzeo_connections', self.args.clients)

    def pack(self):
        raw = wire.Raw(self.server.address, self.args.codec, timeout=PATIENCE)
        raw.register()
        # Without a root there is nothing that a pack could start from.
        raw.commit((Z64, Z64, wire.record(100)))
        raw.call('pack', time.time(), True)
        values = self.scrape()
        assert self.value(values, 'rzeo_packs_total', result='done') == 1
        assert self.value(values, 'rzeo_packs_total', result='failed') == 0
        assert self.value(values, 'rzeo_pack_running') == 0
        raw.close()

    # The page

    def look(self, total):
        page = self.get('/')
        assert self.headers.get_content_type() == 'text/html', self.headers
        with open(os.path.join(self.directory, 'page.html'), 'w') as f:
            f.write(page)
        with open(os.path.join(self.directory, 'metrics.txt'), 'w') as f:
            f.write(self.text)
        reader = Reader()
        reader.feed(page)
        reader.close()
        assert 'script' not in reader.tags, 'a script on the page'
        assert not reader.elsewhere, f'the page needs {reader.elsewhere}'
        text = ' '.join(reader.text)
        for wanted in (*STORAGES, *(LABEL.format(n) for n in range(self.args.clients))):
            assert wanted in text, f'{wanted!r} is not on the page'
        digits = re.sub(r'(?<=\d)[\s,.\u00a0\u2009\u202f](?=\d)', '', text)
        for name in 'commits', 'loads':
            assert str(total[name]) in digits, f'{total[name]} {name} are not on the page'
        report = json.loads(self.get('/status.json'))
        assert [s['name'] for s in report['storages']] == list(STORAGES)
        assert report['storages'][0]['commits'] == total['commits']
        assert len(report['storages'][0]['clients']) == self.args.clients

    def pictures(self):
        """Taken while clients work again"""
        if not os.path.exists(BROWSER):
            return print(f'{self.name}: there is no {BROWSER}, so no picture')
        context = multiprocessing.get_context('fork')
        results, done = context.Queue(), context.Event()
        clients = [context.Process(target=client, args=(self, n, results, done, True), daemon=True)
                   for n in range(self.args.clients)]
        for process in clients:
            process.start()
        self.wait_for('rzeo_connections', self.args.clients)
        for name, size in SIZES.items():
            self.picture(name, size)
        done.set()
        for process in clients:
            process.join(PATIENCE)

    def picture(self, name, size):
        path = os.path.join(self.directory, f'{name}.png')
        profile = os.path.join(self.directory, 'profile')
        done = subprocess.run(
            [BROWSER, *FLAGS, f'--user-data-dir={profile}', f'--screenshot={path}',
             '--window-size=%d,%d' % size, 'http://%s:%d/' % self.admin],
            capture_output=True, text=True, timeout=PATIENCE * 2)
        assert os.path.exists(path), f'no picture: {done.stderr[-1000:]}'
        with open(path, 'rb') as f:
            data = f.read()
        found = struct.unpack('>II', data[16:24])
        assert data.startswith(b'\x89PNG') and found == size, f'{name}: {found}'
        # An empty page is a few kilobytes, however large.
        assert len(data) > 20_000, f'{name}: the picture has {len(data)} bytes only'
        print(f'{self.name}: {name}.png, {len(data)} bytes', flush=True)


class Reader(html.parser.HTMLParser):
    """Text and tags of a page, and the addresses that it would fetch"""

    def __init__(self):
        super().__init__()
        self.tags = set()
        self.text = []
        self.elsewhere = []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            if name in ('src', 'srcset', 'data') and not (value or '').startswith('data:'):
                self.elsewhere.append(value)
            if tag == 'link' and name == 'href' and not (value or '').startswith('data:'):
                self.elsewhere.append(value)
            assert not name.startswith('on'), f'a handler: {name}={value}'

    def handle_data(self, data):
        self.text.append(data)


def client(observer, number, results, done, again=False):
    """A client in a process of its own, which counts its operations"""
    try:
        storage = ClientStorage(observer.server.address, wait_timeout=30,
                                client_label=LABEL.format(number))
        counts = collections.Counter()
        while True:
            work(storage, observer.args.rounds, counts)
            results.put(dict(counts))
            if not again or done.is_set():
                break
        done.wait(PATIENCE)
        storage.close()
    except BaseException:
        results.put(traceback.format_exc())


def work(storage, rounds, counts):
    oid, other = storage.new_oid(), storage.new_oid()
    serial = Z64
    for n in range(rounds):
        data = wire.record(2000 + n)
        serial = commit(storage, [(oid, serial, data), (storage.new_oid(), Z64, data)], counts)
        counts['received_bytes'] += 2 * len(data)
        for _ in range(3):
            assert storage._call('loadBefore', oid, MAXTID)[0] == data
            counts['loads'] += 1
            counts['sent_bytes'] += len(data)
        if n % 4 == 0:
            conflict(storage, oid, counts)
        if n % 5 == 0:
            abort(storage, other, counts)


def begin(storage, stores, counts):
    txn = TransactionMetaData('user', 'text')
    storage.tpc_begin(txn)
    for oid, serial, data in stores:
        storage.store(oid, serial, data, '', txn)
        counts['stores'] += 1
    return txn


def commit(storage, stores, counts):
    txn = begin(storage, stores, counts)
    storage.tpc_vote(txn)
    tid = storage.tpc_finish(txn)
    counts['commits'] += 1
    return tid


def conflict(storage, oid, counts):
    txn = begin(storage, [(oid, wire.p64(1), wire.record(100))], counts)
    try:
        storage.tpc_vote(txn)
    except ConflictError:
        counts['conflicts'] += 1
    else:
        raise AssertionError('a conflict was not noticed')
    # The server has aborted it already, and counts it as a conflict only.
    storage.tpc_abort(txn)


def abort(storage, oid, counts):
    txn = begin(storage, [(oid, Z64, wire.record(100))], counts)
    storage.tpc_vote(txn)
    storage.tpc_abort(txn)
    counts['aborts'] += 1
