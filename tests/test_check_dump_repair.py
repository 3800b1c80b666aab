"""Compares rzeo check, dump and repair with Python's fstest, iterator and fsrecover.

Both read every sample database, and copies of some samples with damage of several kinds. Allowed
differences:

* check (with --structure) must find what fstest finds; it may find more. The remains of an
  interrupted write at the end are no error for rzeo, since every opening cuts them off.
* dump must list the transactions and records that Python's iterator gives, for files that fstest accepts.
* repair (with -p) must restore every record that fsrecover restores, into a file that Python opens and fstest
  accepts. It may restore more. fsrecover itself may fail, hang, or restore bytes that were damaged: a
  record counts only if the undamaged file had it.
"""

import collections
import contextlib
import io
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile

import pytest
import servers
from ZODB.FileStorage import FileIterator, FileStorage
from ZODB import fsrecover
from ZODB.scripts import fstest
from ZODB.utils import get_pickle_metadata

SAMPLES = pathlib.Path(servers.ROOT) / "fixtures" / "samples"
DAMAGED = ["many", "undo", "metadata", "refs", "blobs-objects", "packed-gc", "large", "deleted"]
# For files of some hundred kilobytes.
RECOVERY_SECONDS = 20


class TooLong(BaseException):
    """fsrecover takes too long. It catches every Exception."""


def too_long(_signal, _frame):
    raise TooLong


class Comparison:
    def __init__(self, rzeo):
        self.rzeo = rzeo
        self.counts = collections.Counter()
        self.differences = 0

    def differ(self, name, text):
        self.differences += 1
        print(f"{name}: {text}", flush=True)

    def run(self, *arguments):
        done = subprocess.run([self.rzeo, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode not in (0, 1) or "panicked" in done.stderr:
            self.differ(arguments, f"status {done.returncode}: {done.stderr[-300:]}")
        return done

    def check(self, name, path):
        """Whether fstest accepts the file; compares rzeo check with it."""
        self.counts["checks"] += 1
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                fstest.check(str(path))
            fault = None
        except Exception as error:  # fstest does not catch struct.error and others
            fault = f"{type(error).__name__}: {error}"
        done = self.run("check", "--structure", "--json", path)
        if done.returncode == 0 and fault:
            if json.loads(done.stdout)["unfinished"]:
                self.counts["unfinished writes"] += 1
            else:
                self.differ(name, f"only fstest finds: {fault}")
        if done.returncode == 1 and not fault:
            self.counts["found by rzeo check only"] += 1
        plain = self.run("check", "-q", path)
        if plain.returncode < done.returncode:
            self.differ(name, "check --structure finds what check does not")
        return fault is None

    def dump(self, name, path):
        """Compares the dump with Python's iterator."""
        try:
            expected = list(transactions(path))
        except Exception:
            self.counts["files that Python's iterator refuses"] += 1
            return
        self.counts["dumps"] += 1
        done = self.run("dump", "--json", path)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        ours = [dumped(line) for line in lines if "tid" in line and line["status"] != "u"]
        if ours != expected:
            at = next((i for i, (a, b) in enumerate(zip(ours, expected)) if a != b), None)
            pair = (ours[at], expected[at]) if at is not None else (len(ours), len(expected))
            self.differ(name, f"dump, transaction {at}: {str(pair)[:400]}")

    def repair(self, name, path, original, directory):
        """Compares repair with fsrecover."""
        self.counts["repairs"] += 1
        theirs, ours = directory / "theirs.fs", directory / "ours.fs"
        recovered, finished = fsrecovered(path, theirs)
        self.counts["repairs that fsrecover did not finish"] += not finished
        done = self.run("repair", "-p", path, ours)
        if not ours.exists():
            if recovered:
                self.differ(name, f"repair: {done.stderr.strip()}")
            return
        try:
            fstest.check(str(ours))
            storage = FileStorage(str(ours))
            restored = records(storage)
            storage.close()
        except Exception as error:
            self.differ(name, f"Python refuses what was repaired: {error!r}")
            return
        missing = (recovered & original) - restored
        if missing:
            (oid, data), count = next(iter(missing.items()))
            size = None if data is None else len(data)
            self.differ(name, f"{sum(missing.values())} records that fsrecover restores are missing, "
                              f"such as {oid.hex()} of {size} bytes")
        invented = restored - original
        if invented:
            self.counts["records with changed bytes"] += sum(invented.values())
        self.counts["more than fsrecover"] += bool(restored - recovered)
        self.counts["records by repair"] += sum((restored & original).values())
        self.counts["records by fsrecover"] += sum((recovered & original).values())


def transactions(path):
    """What the iterator gives, in the form of `dumped`."""
    iterator = FileIterator(str(path))
    try:
        for transaction in iterator:
            found = []
            for record in transaction:
                size = None if record.data is None else len(record.data)
                back = record.data_txn and "0x" + record.data_txn.hex()
                found.append(("0x" + record.oid.hex(), size, name_of(record.data), back or None))
            yield ("0x" + transaction.tid.hex(), transaction._tpos, transaction.user.decode("utf-8", "replace"),
                   transaction.description.decode("utf-8", "replace"), found)
    finally:
        iterator.close()


def name_of(data):
    if data is None:
        return None
    try:
        return ".".join(get_pickle_metadata(data))
    except Exception:
        return "?"


def dumped(line):
    records = [(r["oid"], r["size"], r["class"] or ("?" if r["size"] is not None else None), r["data_txn"])
               for r in line["records"]]
    return (line["tid"], line["position"], line["user"], line["description"], records)


def records(storage):
    found = collections.Counter()
    for transaction in storage.iterator():
        for record in transaction:
            found[record.oid, record.data] += 1
    return found


def fsrecovered(path, output):
    """What fsrecover restores, and whether it has finished: it fails where the input has no magic, and
    goes on for ever after a full stop near the end of the input."""
    finished = True
    signal.alarm(RECOVERY_SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            fsrecover.recover(str(path), str(output))
    except (Exception, SystemExit, TooLong):
        finished = False
    finally:
        signal.alarm(0)
    try:
        storage = FileStorage(str(output), read_only=True)
        try:
            return records(storage), finished
        finally:
            storage.close()
    except Exception:
        return collections.Counter(), finished


def damage(data, seed):
    """One of four kinds of damage, and a word for it."""
    chance = random.Random(seed)
    data = bytearray(data)
    kind = seed % 4
    if kind == 0:
        return bytes(data[:chance.randrange(5, len(data))]), "cut"
    if kind == 1:
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(4, len(data))
            data[at] ^= 1 << chance.randrange(8)
        return bytes(data), "bits"
    start = chance.randrange(4, len(data))
    length = min(chance.choice([1, 8, 40, 512, 4096]), len(data) - start)
    if kind == 2:
        data[start:start + length] = bytes(length)
        return bytes(data), "zeros"
    data[start:start + length] = chance.randbytes(length)
    return bytes(data), "noise"


def original_records(path):
    """The records of an undamaged file."""
    storage = FileStorage(str(path), read_only=True)
    try:
        return records(storage)
    finally:
        storage.close()


@pytest.fixture
def comparison(rzeo):
    before = signal.signal(signal.SIGALRM, too_long)
    comparison = Comparison(rzeo)
    yield comparison
    signal.signal(signal.SIGALRM, before)
    print(", ".join(f"{name} {count}" for name, count in sorted(comparison.counts.items())))


def test_samples(comparison):
    samples = sorted(SAMPLES.glob("*/Data.fs"))
    assert len(samples) > 30
    for sample in samples:
        name = sample.parent.name
        with tempfile.TemporaryDirectory() as directory:
            copy = pathlib.Path(directory) / "Data.fs"
            shutil.copy(sample, copy)
            before = copy.read_bytes()
            if comparison.check(name, copy):
                comparison.dump(name, copy)
            if copy.read_bytes() != before or len(os.listdir(directory)) > 1:
                comparison.differ(name, "the sample was changed")
    assert not comparison.differences, f"{comparison.differences} differences"


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged(comparison, size, name):
    data = (SAMPLES / name / "Data.fs").read_bytes()
    with tempfile.TemporaryDirectory() as directory:
        copy = pathlib.Path(directory) / "Data.fs"
        copy.write_bytes(data)
        original = original_records(copy)
    for seed in range(size("seeds", 4, 24)):
        broken, kind = damage(data, seed)
        with tempfile.TemporaryDirectory() as directory:
            directory = pathlib.Path(directory)
            copy = directory / "Data.fs"
            copy.write_bytes(broken)
            label = f"{name}, {kind}, seed {seed}"
            comparison.check(label, copy)
            comparison.repair(label, copy, original, directory)
    assert not comparison.differences, f"{comparison.differences} differences"
