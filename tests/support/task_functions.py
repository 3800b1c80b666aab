"""Functions of an application that jobs call."""
import logging
import os
import subprocess
import sys
import time

import transaction

#: A name of another module, which jobs must not reach through this one.
system = os


def add(*numbers, **keywords):
    return sum(numbers) + sum(keywords.values())


def count(counter, step=1):
    """Changes a stored object."""
    counter['value'] = counter.get('value', 0) + step
    return counter['value']


def count_in_root(step=1):
    import zasync
    return count(zasync.root()['counter'], step)


def count_with_savepoint(counter):
    counter['value'] = 1
    transaction.savepoint()
    counter['value'] = 2
    savepoint = transaction.savepoint()
    counter['value'] = 3
    savepoint.rollback()
    return counter['value']


def same(*args, **kwargs):
    """Returns what it gets."""
    return args, kwargs


def described():
    import zasync
    job = zasync.job()
    return job.id, job.call, job.number


def fail(message='wrong'):
    raise ValueError(message)


def fail_after(counter):
    count(counter)
    fail()


def fail_oddly():
    class Odd(Exception):
        def __str__(self):
            raise ValueError
    raise Odd


def fail_with(text):
    raise ValueError(text * 100000)


def leave():
    sys.exit(3)


def die(status=7):
    os._exit(status)


def commit(counter):
    count(counter)
    transaction.commit()


def commit_and_go_on(counter):
    try:
        commit(counter)
    except Exception:
        pass
    return 'done'


def abort(counter):
    count(counter)
    transaction.abort()
    count(counter)


def begin(counter):
    count(counter)
    transaction.begin()


def unpicklable(counter):
    count(counter)
    return lambda: None


def wait_for(path, counter=None):
    """Goes on when a file exists."""
    if counter is not None:
        count(counter)
    while not os.path.exists(path):
        time.sleep(.01)
    return 'went on'


def until_stopped(counter):
    import zasync
    count(counter)
    zasync.note('is', 'running')
    while not zasync.is_stopped():
        time.sleep(.01)
    zasync.check()


def check_after(path):
    import zasync
    wait_for(path)
    zasync.check()


def snooze(counter):
    import zasync
    count(counter)
    zasync.snooze(60)


def notes(number, counter, path=None):
    """Changes an object, then shows its progress, in one transaction."""
    import zasync
    count(counter)
    for done in range(number):
        zasync.progress(done + 1, number)
    zasync.note('ends', True)
    if path:
        wait_for(path)
    return number


def notes_for_ever(counter):
    import zasync
    count(counter)
    while True:
        zasync.progress(1)


def large_note():
    import zasync
    zasync.note('a', 'x' * 100000)


def prints(text):
    print(text)
    logging.getLogger('app').info('logged')
    os.write(1, b'by descriptor\n')
    subprocess.run(['echo', 'by another process'], check=True)
    sys.stdout.write('no end')


def fork_and_die(path):
    """Ends while a process that it has forked goes on."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    with open(path, 'w') as f:
        f.write(str(pid))
    die()


def allocate(size):
    return len(bytearray(size))


def process_id():
    return os.getpid()


class Klass:
    @staticmethod
    def method():
        return 'of a class'


def append(path, seconds=0):
    """Has an effect outside of the database."""
    import zasync
    with open(path, 'a') as f:
        f.write(f'{zasync.job().id} {zasync.job().number}\n')
    time.sleep(seconds)


def append_and_wait(path, go):
    append(path)
    return wait_for(go)


def append_outcome(outcome, path):
    """A follow-up: it gets the result or the failure."""
    with open(path, 'a') as f:
        f.write(f'{outcome["kind"] if isinstance(outcome, dict) else outcome}\n')


def ignores(path):
    """Does not stop when it is asked to."""
    with open(path, 'a') as f:
        f.write('called\n')
    time.sleep(3600)


def slow_count(counter, seconds):
    count(counter)
    time.sleep(seconds)
