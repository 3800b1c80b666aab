"""A process that executes jobs whose functions are written in Python.

A worker of rzeo starts it and sends it jobs, one after the other; docs/job-process.md describes the
messages. The process has its own connection to the database. It needs Python 3.8, ZODB and ZEO.

The function's changes, its result and the final state of the job are one transaction. It conflicts if the
job does not belong to this claim any more: every program that takes a job away writes its record. The worker
writes everything else, such as failures, and decides whether a job is executed again.
"""
import faulthandler
import importlib
import json
import logging
import os
import pickle
import queue
import random
import re
import signal
import ssl
import sys
import threading
import time
import traceback
import types

#: Version of the messages.
VERSION = 1
#: Maximum bytes of a message.
MESSAGE_BYTES_MAX = 1 << 20
#: Maximum characters of what is said about a failure. The worker shortens them further.
KIND_MAX, TEXT_MAX, TRACE_MAX = 200, 4096, 32768
#: Maximum bytes of the notes of a job, pickled.
NOTES_BYTES_MAX = 64 << 10
#: How often a note is tried again that conflicts with what others write beside the job.
NOTE_TRIES = 50
#: Maximum seconds before it is tried again.
NOTE_PAUSE = .1
#: Seconds between two looks whether the storage has a commit.
POLL_SECONDS = .002


class Channel:
    """Messages from and to the worker: objects in JSON, each after its length in four bytes."""

    def __init__(self, source, sink):
        self.source = source
        self.sink = sink
        self.lock = threading.Lock()

    def receive(self):
        size = int.from_bytes(self._read(4), 'big')
        if size > MESSAGE_BYTES_MAX:
            raise ValueError(f'a message has {size} bytes, more than {MESSAGE_BYTES_MAX}')
        return json.loads(self._read(size))

    def _read(self, size):
        data = self.source.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def send(self, message, /, **items):
        data = json.dumps({'type': message, **items}).encode()
        with self.lock:
            self.sink.write(len(data).to_bytes(4, 'big') + data)
            self.sink.flush()


def shortened(value, length, keep_end=False):
    """The text of a value, without what is not Unicode; its start or its end if it is too long."""
    try:
        text = str(value)
    except Exception as error:
        text = f'<no text: {type(error).__name__}>'
    text = text[-length:] if keep_end else text[:length]
    return text.encode('utf-8', 'backslashreplace').decode()


# What functions can use: the module zasync, which exists in these processes only.

class Stopped(BaseException):
    """The function stops because it was asked to."""


class Snoozed(BaseException):
    """The function ends now, and is called again later."""

    def __init__(self, seconds):
        super().__init__(seconds)
        self.seconds = float(seconds)
        if not 0 <= self.seconds < float('inf'):
            raise ValueError(f'a function sleeps for {seconds} seconds, not a finite number from 0')


class CommitGuard:
    """Has only this program commit the transaction of a job, and records how far that has come.

    It is the first of the transaction's data managers in each phase.
    """

    def __init__(self, manager):
        self.transaction_manager = manager
        self.is_open = False
        self.phase = None

    def sortKey(self):
        return ''

    def tpc_begin(self, _transaction):
        if not self.is_open:
            raise TransactionEnded('a function must not commit: its changes are committed with its result')
        self.phase = 'begin'

    def tpc_vote(self, _transaction):
        self.phase = 'vote'

    def tpc_finish(self, _transaction):
        self.phase = 'finish'

    def savepoint(self):
        return self

    def nothing(self, _transaction=None):
        pass

    abort = commit = tpc_abort = rollback = nothing


class TransactionEnded(Exception):
    """The function has committed, aborted or begun a transaction."""


class NotAllowed(Exception):
    """The name of the function is not one of those that this process may call."""


class Refused(Exception):
    """The job does not belong to this claim. Its state is the first argument."""


class Attempt:
    """The execution of a job."""

    def __init__(self, process, message):
        self.process = process
        self.id = message['id']
        self.call = message['call']
        self.number = message['attempt']
        self.lease = message['lease']
        self.oid = p64(message['job'])
        self.claimed = p64(message['claimed'])
        self.received = time.monotonic()
        self.connection = None
        self.stop_reason = None

    def now(self):
        """Seconds since 1970 by the clock of the storage: the time of the claim, and what has passed since."""
        return TimeStamp(self.claimed).timeTime() + time.monotonic() - self.received

    def check(self):
        if self.stop_reason:
            raise Stopped(self.stop_reason)

    def wait_for_claim(self):
        """Waits until this process has seen the commit of the claim: a new transaction reads it then."""
        deadline = time.monotonic() + self.process.wait_timeout
        while (self.process.storage.lastTransaction() or z64) < self.claimed:
            self.check()
            if time.monotonic() > deadline:
                raise ClientDisconnected(f'the commit of the claim is not seen in {self.process.wait_timeout} seconds')
            time.sleep(POLL_SECONDS)

    def job(self, connection):
        """The job record, if the job belongs to this claim."""
        try:
            job = connection.get(self.oid)
            state, lease = job.get('state'), job.get('lease')
        except POSKeyError:
            raise Refused('absent') from None
        if state != 'running' or lease != self.lease:
            raise Refused(state)
        return job

    def execute(self):
        """Calls the function and commits. Returns the outcome: the message for the worker."""
        guard = CommitGuard(manager)
        try:
            self.wait_for_claim()
            own = manager.begin()
            own.join(guard)
            self.connection = self.process.db.open()
            job = self.job(self.connection)
            if is_flag(job.get('cancel')):
                return {'how': 'refused', 'state': 'cancel'}
            function = self.process.find(self.call)
            result = function(*(job.get('args') or ()), **(job.get('kwargs') or {}))
            if manager.get() is not own:
                raise TransactionEnded('the function has ended its transaction: its changes are not committed')
            guard.is_open = True
            own.note(f'job {self.id}: {self.call}')
            job['state'] = 'done'
            job['ended'] = self.now()
            job['result'] = result
            manager.commit()
            return {'how': 'committed', 'tid': u64(job._p_serial)}
        except BaseException as error:
            return outcome(error, guard)
        finally:
            manager.abort()
            if self.connection is not None:
                self.connection.close()

    def note(self, key, value):
        """Commits a note in a transaction of its own, in the record beside the job's."""
        if not isinstance(key, str):
            raise TypeError(f'the key of a note is a str, not {type(key).__name__}')
        own = TransactionManager()
        for attempt in range(NOTE_TRIES):
            own.begin()
            connection = self.process.db.open(own)
            try:
                side = self.job(connection)['side']
                notes = {**(side.get('notes') or {}), key: value}
                size = len(pickle.dumps(notes))
                if size > NOTES_BYTES_MAX:
                    raise ValueError(f'the notes of the job have {size} bytes, more than {NOTES_BYTES_MAX}')
                side['notes'] = notes
                own.commit()
                return
            except Refused:
                raise Stopped('fenced') from None
            except ConflictError:
                time.sleep(random.random() * min(NOTE_PAUSE, POLL_SECONDS * 2 ** attempt))
            finally:
                own.abort()
                connection.close()
        raise ConflictError(f'the note {key!r} conflicted {NOTE_TRIES} times')


def is_flag(value):
    """Whether the worker takes an item of a job for set."""
    return value is not None and value is not False


def outcome(error, guard):
    """The message for the worker about a job that has no result."""
    if isinstance(error, Stopped):
        return {'how': 'stopped'}
    if isinstance(error, Snoozed):
        return {'how': 'snoozed', 'seconds': error.seconds}
    if isinstance(error, Refused):
        return {'how': 'refused', 'state': shortened(error.args[0], KIND_MAX)}
    if guard.phase == 'finish':
        return {'how': 'unknown'}
    if isinstance(error, ClientDisconnected):
        return {'how': 'lost'}
    if isinstance(error, TransientError):
        return {'how': 'conflict'}
    if guard.phase == 'vote' or guard.phase == 'begin' and isinstance(error, StorageError):
        return {'how': 'denied', 'message': shortened(f'{type(error).__name__}: {error}', TEXT_MAX)}
    text = shortened(error, TEXT_MAX)
    if guard.phase == 'begin':
        text = shortened(f'the result or the changes cannot be stored: {text}', TEXT_MAX)
    if isinstance(error, (TransactionEnded, TransactionFailedError)):
        kind, is_final = 'transaction', True
    elif isinstance(error, NotAllowed):
        kind, is_final = 'not-allowed', True
    else:
        kind, is_final = name_of(type(error)), False
    return {'how': 'failed', 'kind': shortened(kind, KIND_MAX), 'message': text,
            'trace': shortened(trace(error), TRACE_MAX, keep_end=True), 'is_final': is_final}


def name_of(kind):
    return kind.__qualname__ if kind.__module__ == 'builtins' else f'{kind.__module__}.{kind.__qualname__}'


def trace(error):
    """The trace of an exception, from the function on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == main.__code__.co_filename:
        frames = frames.tb_next
    return ''.join(traceback.format_exception(type(error), error, frames))


class Process:
    """This process: it receives messages in one thread and executes jobs in another, the main thread."""

    def __init__(self, channel):
        self.channel = channel
        self.attempts = queue.SimpleQueue()
        self.attempt = None

    def receive(self):
        """Receives messages until the worker is gone. Then nothing of this process may go on."""
        try:
            while True:
                message = self.channel.receive()
                if message['type'] == 'execute':
                    self.attempt = Attempt(self, message)
                    self.attempts.put(self.attempt)
                elif message['type'] == 'stop':
                    attempt = self.attempt
                    if attempt is not None and attempt.lease == message['lease']:
                        attempt.stop_reason = message['reason']
        except EOFError:
            pass
        except BaseException:
            traceback.print_exc()
        finally:
            end_all()

    def open(self, settings):
        """Connects to the database, with the settings of the worker."""
        self.allowed = [pattern(text) for text in settings['allow']]
        self.wait_timeout = settings['wait_timeout']
        # An empty entry is the current directory, which a function can change.
        own = [os.path.abspath(path) for path in [*settings['paths'], '']]
        sys.path[:] = own + [path for path in sys.path if path]
        limit = settings['memory']
        if limit:
            import resource
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        servers = [tuple(server) if isinstance(server, list) else server for server in settings['servers']]
        options = {}
        if settings['blob_dir']:
            options.update(blob_dir=settings['blob_dir'], shared_blob_dir=settings['shared_blob_dir'])
        tls = settings['tls']
        if tls:
            options.update(ssl=tls_context(tls), ssl_server_hostname=tls['server_hostname'])
        self.storage = ClientStorage(
            servers, storage=settings['storage'], wait=True, wait_timeout=self.wait_timeout,
            client_label=settings['label'], **options)
        self.db = DB(self.storage)

    def find(self, call):
        """The function of a name."""
        if not any(allowed.fullmatch(call) for allowed in self.allowed):
            raise NotAllowed(f'the function {call!r} is not one of those that the worker allows')
        module, _, path = call.partition(':')
        if not path:
            raise TypeError(f'{call!r} does not name a function: it is not like module.path:name')
        found = importlib.import_module(module)
        for name in path.split('.'):
            found = getattr(found, name)
            if isinstance(found, types.ModuleType):
                raise NotAllowed(f'{call!r} goes through the module {found.__name__!r}, which it does not name')
        if not callable(found):
            raise TypeError(f'{call!r} is {type(found).__name__}, not a function')
        return found

    def run(self):
        """Executes jobs, one after the other."""
        while True:
            attempt = self.attempts.get()
            os.write(2, f'\0{attempt.lease}\n'.encode())
            self.channel.send('started', lease=attempt.lease)
            try:
                ended = attempt.execute()
            finally:
                for stream in sys.stdout, sys.stderr:
                    stream.flush()
                os.write(2, b'\0\n')
            if ended['how'] == 'snoozed':
                ended['until'] = attempt.now() + ended.pop('seconds')
            self.attempt = None
            self.channel.send('ended', lease=attempt.lease, **ended)

    def current(self):
        if self.attempt is None:
            raise RuntimeError('no job is executed now')
        return self.attempt

    def module(self):
        """The module that functions can import."""
        module = types.ModuleType('zasync', MODULE_DOC)
        module.Stopped = Stopped

        def export(function):
            setattr(module, function.__name__, function)
            return function

        @export
        def job():
            """The job: it has the attributes id, call and number, the number of the attempt."""
            return self.current()

        @export
        def connection():
            """The connection of the transaction that is committed with the result."""
            return self.current().connection

        @export
        def root():
            """The root object of the database."""
            return self.current().connection.root()

        @export
        def note(key, value):
            """Stores a value under job['side']['notes'][key], at once: other programs can read it when this returns."""
            self.current().note(key, value)

        @export
        def progress(done, total=None):
            """Stores how much of the work is done, as the note 'progress'."""
            self.current().note('progress', {'done': done, 'total': total})

        @export
        def is_stopped():
            """Whether the function is asked to stop: the job is cancelled or out of time, or the worker ends."""
            return self.current().stop_reason is not None

        @export
        def check():
            """Ends the function if it is asked to stop."""
            self.current().check()

        @export
        def snooze(seconds):
            """Ends the function. It is called again after this time; its changes are dropped."""
            self.current()
            raise Snoozed(seconds)

        return module


MODULE_DOC = """The job that is executed, for its function. Functions need none of this."""


def end_all():
    """Ends this process and those that functions have started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def pattern(text):
    """A pattern of names, in which * stands for any characters and ? for one."""
    parts = {'*': '.*', '?': '.'}
    return re.compile(''.join(parts.get(char) or re.escape(char) for char in text), re.DOTALL)


def tls_context(tls):
    trusted = tls['authenticate']
    is_directory = trusted and os.path.isdir(trusted)
    context = ssl.create_default_context(
        cafile=None if is_directory else trusted, capath=trusted if is_directory else None)
    context.check_hostname = tls['check_hostname']
    if tls['certificate']:
        context.load_cert_chain(tls['certificate'], tls['key'], tls['password'])
    return context


def open_channel():
    """Takes standard input and output for messages. What functions print goes to standard error."""
    source, sink = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    # Processes that a function forks must not keep the connection to the worker open.
    os.register_at_fork(after_in_child=lambda: (os.close(source), os.close(sink)))
    return Channel(open(source, 'rb'), open(sink, 'wb'))


def main():
    channel = open_channel()
    sys.stdout.reconfigure(line_buffering=True)
    sys.stderr.reconfigure(line_buffering=True)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format='%(levelname)s %(name)s: %(message)s', stream=sys.stderr)
    logging.getLogger('ZEO').setLevel(logging.WARNING)
    for number in signal.SIGINT, signal.SIGTERM:
        # The worker ends its processes, after their jobs.
        signal.signal(number, lambda *_: None)
    channel.send('hello', version=VERSION, python=sys.version.split()[0], pid=os.getpid())
    if import_error:
        channel.send('unusable', message=f'{sys.executable}: {import_error}; install the package ZEO there')
        return
    process = Process(channel)
    try:
        settings = channel.receive()
        threading.Thread(target=process.receive, daemon=True).start()
        process.open(settings)
    except EOFError:
        return
    except Exception as error:
        channel.send('unusable', message=shortened(f'{type(error).__name__}: {error}', TEXT_MAX))
        return
    sys.modules['zasync'] = process.module()
    channel.send('ready')
    process.run()


import_error = None
try:
    from persistent.TimeStamp import TimeStamp
    from transaction import TransactionManager, manager
    from transaction.interfaces import TransactionFailedError, TransientError
    from ZEO.ClientStorage import ClientStorage
    from ZEO.Exceptions import ClientDisconnected
    from ZODB import DB
    from ZODB.POSException import ConflictError, POSKeyError, StorageError
    from ZODB.utils import p64, u64, z64
except ImportError as error:
    import_error = error
main()
