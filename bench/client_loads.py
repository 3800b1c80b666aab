"""Loads per second of Python's own ZEO client, for rzeo-bench.

    client_loads.py HOST PORT OBJECTS SECONDS

prints two figures: from its cache, one after the other, and past it, 64 asked for at once.
"""
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
    print(warm(address, oids, seconds), cold(address, oids, seconds))


def warm(address, oids, seconds):
    storage = ClientStorage(address, cache_size=100 << 20)
    for oid in oids:
        storage.loadBefore(oid, maxtid)
    rate = per_second(seconds, lambda oid: storage.loadBefore(oid, maxtid), oids)
    storage.close()
    return rate


def cold(address, oids, seconds):
    # Too small for any record, so that each is asked for.
    storage = ClientStorage(address, cache_size=1000)
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
