"""A queue in plain Python, of the layout that rzeo's has: what an application without rzeo would write.

    python bench/job_queue.py enqueue HOST PORT CLIENTS BATCH SECONDS    prints jobs per second
    python bench/job_queue.py run HOST PORT JOBS BATCH                   prints jobs per second

``enqueue`` stores jobs from several processes, ``BATCH`` in a commit. ``run`` takes 64 jobs in a transaction and stores
``BATCH`` results in a commit, as many as there are of ``JOBS``; an empty function is called for each.
"""
import logging
import multiprocessing
import random
import sys
import time
import uuid

import transaction
import ZEO
from persistent.mapping import PersistentMapping
from ZODB.POSException import ConflictError

TAKE = 64


def connect(address):
    manager = transaction.TransactionManager()
    return ZEO.DB(address).open(manager), manager


def trees(connection, name):
    inbox = connection.root()['zasync']['queues']['default']['inbox']
    return [shard[name] for shard in inbox.values()]


def enqueue(address, number, batch, seconds, results):
    connection, manager = connect(address)
    random.seed(number)
    shard, stored, started = random.randrange(32), 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        ready = trees(connection, 'ready')[shard]
        for _ in range(batch):
            job = PersistentMapping(id=uuid.uuid4().hex, call='bench:nothing', args=(1,), kwargs={}, state='pending')
            while not ready.insert(4 << 60 | int(time.time() * 1000) << 18 | random.getrandbits(18), job):
                pass
        try:
            manager.commit()
            stored += batch
        except ConflictError:
            manager.abort()
            shard = random.randrange(32)
    results.put(stored / (time.perf_counter() - started))


def nothing(_):
    return None


def run(address, number, batch):
    connection, manager = connect(address)
    done, started = 0, time.perf_counter()
    while done < number:
        manager.begin()
        jobs = []
        for ready in trees(connection, 'ready'):
            for job in ready.values():
                if len(jobs) < TAKE and job['state'] == 'pending':
                    job.update(state='running', owner='python', attempt=1, started=time.time())
                    jobs.append(job)
        manager.commit()
        if not jobs:
            raise SystemExit(f'no more jobs after {done}')
        for begin in range(0, len(jobs), batch):
            for job in jobs[begin:begin + batch]:
                job.update(state='done', result=nothing(*job['args']), ended=time.time())
            manager.commit()
        done += len(jobs)
        # What has ended leaves the tree, so that the next look is short.
        for ready in trees(connection, 'ready'):
            for key, job in list(ready.items(max=None)):
                if job['state'] == 'done':
                    del ready[key]
        manager.commit()
    return done / (time.perf_counter() - started)


def main(what, host, port, *numbers):
    logging.disable(logging.CRITICAL)
    address = host, int(port)
    if what == 'run':
        print(run(address, *map(int, numbers)))
        return
    clients, batch, seconds = int(numbers[0]), int(numbers[1]), float(numbers[2])
    results = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=enqueue, args=(address, number, batch, seconds, results))
                 for number in range(clients)]
    for process in processes:
        process.start()
    print(sum(results.get() for _ in processes))
    for process in processes:
        process.join()


if __name__ == '__main__':
    main(*sys.argv[1:])
