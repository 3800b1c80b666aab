"""The figures of /metrics, read by Prometheus' own parser while Python's clients are at work.

Each answer must be readable, each counter may only grow, each histogram must add up; and at the end
the figures must agree with what the clients did.
"""
import contextlib
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request

import transaction
from prometheus_client import parser as prometheus
from ZEO.ClientStorage import ClientStorage
from ZODB.DB import DB
from ZODB.POSException import ConflictError
from BTrees.OOBTree import OOBTree

import servers

LABEL = 'web "1" \\ <script>alert(1)</script>\u00fc'
WRITERS = 3


def test_metrics(directory, serve, size, codec):
    port = servers.free_port()
    path = os.path.join(directory, 'Data.fs')
    with servers.Server(f'{serve} --admin 127.0.0.1:{port}', path, codec) as server:
        scrapes = Watch(server, port).run(size('seconds', 3, 6))
    print(f'{scrapes} answers were read under load, all add up')


class Watch:

    def __init__(self, server, port):
        self.server = server
        self.url = f'http://127.0.0.1:{port}/'
        self.last = {}
        self.stop = threading.Event()
        self.commits = []
        self.failures = []

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.headers['Content-Type'], answer.read().decode()

    def scrape(self):
        """-> {(name, labels): value}"""
        kind, text = self.get('metrics')
        assert kind == 'text/plain; version=0.0.4; charset=utf-8', kind
        samples = {}
        for family in prometheus.text_string_to_metric_families(text):
            assert family.type in ('counter', 'gauge', 'histogram'), family
            assert family.documentation, family
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                assert key not in samples, key
                samples[key] = sample.value
                if family.type != 'gauge':
                    before = self.last.get(key, 0)
                    assert sample.value >= before, f'{key} fell from {before} to {sample.value}'
            if family.type == 'histogram':
                self.check_histogram(family)
        self.last = samples
        return samples

    @staticmethod
    def check_histogram(family):
        buckets = [(float(s.labels['le']), s.value) for s in family.samples
                   if s.name.endswith('_bucket')]
        assert buckets == sorted(buckets) and buckets[-1][0] == float('inf'), buckets
        assert [v for _, v in buckets] == sorted(v for _, v in buckets), buckets
        [count] = [s.value for s in family.samples if s.name.endswith('_count')]
        assert count == buckets[-1][1], family

    def value(self, name, **labels):
        return self.last[name, tuple(sorted({'storage': '1', **labels}.items()))]

    def client(self, label):
        storage = ClientStorage(self.server.address, client_label=label, cache_size=1 << 20)
        return contextlib.closing(DB(storage))

    def work(self, number):
        try:
            rng = random.Random(number)
            done = 0
            with self.client(LABEL) as db:
                while not self.stop.is_set():
                    manager = transaction.TransactionManager()
                    connection = db.open(manager)
                    connection.root()['tree'][f'{number}.{rng.randrange(100)}'] = 'x' * 500
                    try:
                        manager.commit()
                        done += 1
                    except ConflictError:
                        manager.abort()
                    connection.close()
            self.commits.append(done)
        except Exception as error:
            self.failures.append(error)
            raise

    def run(self, seconds):
        with self.client('setup') as db, db.transaction() as connection:
            connection.root()['tree'] = OOBTree()
        self.scrape()
        before = self.value('rzeo_commits_total')
        threads = [threading.Thread(target=self.work, args=(n,)) for n in range(WRITERS)]
        for thread in threads:
            thread.start()
        scrapes = 1
        end = time.monotonic() + seconds
        labels = set()
        while time.monotonic() < end:
            self.scrape()
            scrapes += 1
            [storage] = json.loads(self.get('status.json')[1])['storages']
            labels |= {client['label'] for client in storage['clients']}
            page = self.get('')[1]
            assert '<script' not in page
            assert self.get('ready')[1] == 'ready\n'
            time.sleep(.05)
        self.stop.set()
        for thread in threads:
            thread.join()
        assert not self.failures, self.failures
        # The server notices closed connections a moment later.
        while self.scrape()['rzeo_connections', (('storage', '1'),)]:
            time.sleep(.01)
        commits = sum(self.commits)
        assert commits > 10, commits
        assert self.value('rzeo_commits_total') - before == commits
        assert self.value('rzeo_commit_duration_seconds_count') == commits + before
        groups = self.value('rzeo_commit_group_size_count')
        assert self.value('rzeo_sync_duration_seconds_count') == groups
        assert self.value('rzeo_commit_group_size_sum') == commits + before
        assert self.value('rzeo_storage_bytes') == os.path.getsize(self.server.path)
        assert self.value('rzeo_received_bytes_total') > 500 * commits
        assert self.value('rzeo_active_transactions') == 0
        assert labels >= {LABEL}, labels
        self.refuses()
        return scrapes

    def refuses(self):
        for method, path, status in ('POST', 'metrics', 405), ('GET', 'nothing', 404):
            request = urllib.request.Request(self.url + path, method=method)
            try:
                urllib.request.urlopen(request, timeout=10)
            except urllib.error.HTTPError as error:
                assert error.code == status, error
            else:
                raise AssertionError(f'{method} {path} was answered')
