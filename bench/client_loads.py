"""Loads per second of Python's ZEO client, for rzeo-bench.

    client_loads.py HOST PORT OBJECTS SECONDS

prints three figures: loads from the client's cache, one at a time; loads from the server by 64 threads, one
at a time each; and loads from the server by prefetch of 64 at once, which only fills the cache.
"""
import concurrent.futures
import itertools
import sys
import time

from ZEO.ClientStorage import ClientStorage
from ZODB.utils import maxtid, p64

IN_FLIGHT = 64


def main():
    host, port, objects, seconds = sys.argv[1:]
    address, seconds = (host, int(port)), float(seconds)
    oids = [p64(oid) for oid in range(int(objects))]
    print(*(measure(address, oids, seconds) for measure in (warm, cold, prefetched)))


def warm(address, oids, seconds):
    storage = ClientStorage(address, cache_size=100 << 20)
    for oid in oids:
        storage.loadBefore(oid, maxtid)
    rate = per_second(seconds, lambda oid: storage.loadBefore(oid, maxtid), oids)
    storage.close()
    return rate


# The cache is too small for any record, so that the client requests each one.
TINY = 1000


def cold(address, oids, seconds):
    storage = ClientStorage(address, cache_size=TINY)
    with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as threads:
        rates = threads.map(
            lambda n: per_second(seconds, lambda oid: storage.loadBefore(oid, maxtid),
                                 oids[n:] + oids[:n]), range(IN_FLIGHT))
        rate = sum(rates)
    storage.close()
    return rate


def prefetched(address, oids, seconds):
    storage = ClientStorage(address, cache_size=TINY)
    batches = [oids[at:at + IN_FLIGHT] for at in range(0, len(oids) - IN_FLIGHT + 1, IN_FLIGHT)]
    rate = per_second(
        seconds, lambda batch: storage._server.prefetch(batch, maxtid).result(), batches)
    storage.close()
    return rate * IN_FLIGHT


def per_second(seconds, do, items):
    done, started = 0, time.perf_counter()
    for item in itertools.cycle(items):
        do(item)
        done += 1
        passed = time.perf_counter() - started
        if passed >= seconds:
            return done / passed


if __name__ == '__main__':
    main()
