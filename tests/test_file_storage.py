"""One data file, written by rzeo's FileStorage and by Python's in turns.

Each must open the other's file, read the same transactions and continue. Then Python opens what rzeo leaves
when it is killed at any instant: every acknowledged transaction must be there and the file must be sound.
"""
import json
import pathlib
import subprocess
import time

import transaction
import ZODB
from ZODB.FileStorage import FileStorage
from ZODB.scripts import fstest
from ZODB.serialize import referencesf
from ZODB.utils import p64

TURNS = 4


def as_python_sees(path):
    storage = FileStorage(str(path), read_only=True)
    for found in storage.iterator():
        records = [
            {
                'oid': record.oid.hex(),
                'tid': record.tid.hex(),
                'data': record.data and record.data.hex(),
                'data_txn': record.data_txn and record.data_txn.hex(),
            }
            for record in found
        ]
        yield {
            'tid': found.tid.hex(),
            'status': found.status,
            'user': found.user.hex(),
            'description': found.description.hex(),
            'extension': found.extension_bytes.hex(),
            'records': records,
        }
    storage.close()


def as_rzeo_sees(tool, path):
    shown = subprocess.run([tool, 'show', str(path)], check=True, capture_output=True, text=True)
    return map(json.loads, shown.stdout.splitlines())


def write_with_python(path, turn):
    """A few commits through ZODB, one of them undone; once, a pack."""
    db = ZODB.DB(FileStorage(str(path)))
    with db.transaction('from python') as connection:
        for oid in range(0, 30, 3):
            try:
                connection.get(p64(oid)).data['turn'] = turn
            except KeyError:
                assert oid == 21, oid  # deleted
    with db.transaction() as connection:
        connection.root()['turn'] = 'undone'
    db.undo(db.undoLog(0, 1)[0]['id'])
    transaction.commit()
    if turn == TURNS - 2:
        # Not between transactions: without gc, Python's packer fails at an undo that it has
        # to copy as it is.
        db.storage.pack(time.time() + 60, referencesf, gc=False)
    db.close()


def compare(tool, path):
    fstest.check(str(path))
    python, rzeo = list(as_python_sees(path)), list(as_rzeo_sees(tool, path))
    assert python == rzeo, f'{len(python)} and {len(rzeo)} transactions, or their contents'
    return len(python)


def take_turns(tool, path):
    for turn in range(TURNS):
        subprocess.run([tool, 'write', str(path)], check=True)
        compare(tool, path)
        write_with_python(path, turn)
        count = compare(tool, path)
    return count


def open_what_kills_left(tool, directory):
    subprocess.run([tool, 'kill', str(directory)], check=True)
    counts = sorted(directory.glob('*.count'))
    cut = 0
    for count in counts:
        path = count.with_suffix('.fs')
        size = path.stat().st_size
        FileStorage(str(path)).close()
        cut += path.stat().st_size < size
        fstest.check(str(path))
        found = sum(1 for _ in as_python_sees(path))
        assert found >= int(count.read_text()), f'{path}: {found} transactions'
    assert cut > 10, 'no kill came between two syncs'
    return len(counts)


def test_in_turns(directory, program):
    """Each program opens the file of the other, sees the same, and continues."""
    take_turns(program('examples/filestorage'), pathlib.Path(directory) / 'Data.fs')


def test_killed(directory, program):
    """Python opens what a kill leaves at any instant."""
    open_what_kills_left(program('examples/filestorage'), pathlib.Path(directory))
