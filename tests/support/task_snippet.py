"""What a Python application needs to enqueue and to cancel jobs of rzeo-zasync: ZODB, and these functions."""
import random
import time
import uuid

from persistent.mapping import PersistentMapping


def enqueue(connection, call, *args, **kwargs):
    """Adds a job to the transaction; the application keeps what is returned, to read the outcome."""
    queue = connection.root()['zasync']['queues']['default']
    job = PersistentMapping(id=uuid.uuid4().hex, call=call, args=args, kwargs=kwargs, state='pending')
    ready = queue['inbox'][random.randrange(32)]['ready']
    due = max(0, min(int(time.time() * 1000), 2 ** 42 - 1))
    while not ready.insert(4 << 60 | due << 18 | random.getrandbits(18), job):
        pass
    return job


def cancel(job):
    """Cancels a job, or asks its worker to stop. After a ConflictError: begin again, and call it again."""
    if job['state'] in ('held', 'waiting', 'pending'):
        job['state'] = 'cancelled'
    elif job['state'] == 'running':
        job['cancel'] = True
    else:
        raise ValueError(f"the job is {job['state']} already")
