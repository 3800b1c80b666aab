"""Transactions of rzeo-objects on the records of a Python storage, and the same transactions in Python.

``Recorder`` is a storage in memory that keeps what transactions store. ``Script`` runs a program like
``examples/object_script``, which requests the records that it needs and returns what it would commit.
"""
import json
import subprocess

import transaction
import ZODB
from ZODB.MappingStorage import MappingStorage
from ZODB.utils import p64, u64


class Recorder(MappingStorage):
    """A storage that keeps the stores and checks of the last commit, in their order."""

    stores = checks = ()

    def tpc_begin(self, transaction, *args, **kwargs):
        super().tpc_begin(transaction, *args, **kwargs)
        self.stores, self.checks = [], []

    def store(self, oid, serial, data, version, transaction):
        self.stores.append((u64(oid), u64(serial), data))
        return super().store(oid, serial, data, version, transaction)

    def checkCurrentSerialInTransaction(self, oid, serial, transaction):
        self.checks.append((u64(oid), u64(serial)))
        return super().checkCurrentSerialInTransaction(oid, serial, transaction)

    def next_oid(self):
        """The oid that ``new_oid`` will return next."""
        return self._oid + 1


def in_python(storage, change):
    """Runs ``change(root)`` as a transaction of a new connection; returns what it returns."""
    db = ZODB.DB(storage)
    connection = db.open(transaction.TransactionManager())
    try:
        result = change(connection)
        connection.transaction_manager.commit()
        return result
    finally:
        connection.transaction_manager.abort()
        connection.close()


class Failed(Exception):
    """The program reports that the transaction failed."""


class Script:
    """A running program that transforms records by its operations."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.receive() == 'ready'

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)

    def receive(self):
        line = self.process.stdout.readline()
        assert line, f'the program ended with status {self.process.wait(10)}'
        return json.loads(line)

    def send(self, message):
        self.process.stdin.write(json.dumps(message) + '\n')
        self.process.stdin.flush()

    def run(self, storage, operations, next_oid, commit=None, retries=0):
        """Runs a transaction on the current records of a storage, which is not changed.

        Returns the result, the stores and the checks. ``commit`` gets each attempt's stores and checks
        and returns the answer to it.
        """
        stores = checks = ()
        tid = u64(storage.lastTransaction())
        message = {'tid': tid, 'retries': retries, 'operations': operations}
        while True:
            self.send(message)
            request = self.receive()
            if 'load' in request:
                message = {'records': [[oid, *current(storage, oid)] for oid in request['load']]}
            elif 'oids' in request:
                message = {'oids': list(range(next_oid, next_oid + request['oids']))}
            elif 'commit' in request:
                stores = [(oid, serial, bytes.fromhex(record)) for oid, serial, record in request['commit']['stores']]
                checks = [tuple(check) for check in request['commit']['checks']]
                message = commit(stores, checks) if commit else {'tid': tid + 1}
            elif 'failed' in request:
                raise Failed(request['failed'])
            else:
                return request['result'], stores, checks


def current(storage, oid):
    """Serial and record of an object as the program reads them."""
    try:
        record, serial = storage.load(p64(oid), '')
    except KeyError:
        return None, None
    return u64(serial), record.hex()
