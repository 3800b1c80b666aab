"""Blob files, written by rzeo's FileStorage and by Python's from the same script.

Scripts of stores, undos, deletions and packs, with given tids, are played by either program alone
and by both in turns on the same files, in both layouts, with and without pack-keep-old. The directories of
blobs, those of the pack before, names, modes and contents, must be the same in the end.
"""
import base64
import io
import json
import os
import pathlib
import pickle
import random
import subprocess
import tempfile

import pytest
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSError, POSKeyError
from ZODB.serialize import referencesf
from ZODB.TimeStamp import TimeStamp
from ZODB.utils import p64, z64

SEEDS = 15
STEPS = 24
OBJECTS = 5
FIRST_TID = 0x03f6fcd22eeeeeee
TICK = 0x10000000
BLOB = b'\x80\x03cZODB.blob\nBlob\nq\0.\x80\x03N.'


def root_record(oids):
    """A root object that refers to these, as ZODB writes one."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 3)
    pickler.persistent_id = lambda value: value if isinstance(value, bytes) else None
    pickler.dump({'data': [p64(oid) for oid in oids]})
    return b'\x80\x03cpersistent.mapping\nPersistentMapping\n.' + buffer.getvalue()


def make_script(seed):
    chance = random.Random(seed)
    for number in range(STEPS):
        tid = FIRST_TID + number * TICK
        kind = chance.choice(['blob', 'blob', 'blob', 'undo', 'delete', 'pack'])
        if number < 6 and kind == 'pack' or number < 3:
            kind = 'blob'
        if number == 0:
            stores = {0: root_record(range(1, OBJECTS)).hex()}
            yield {'op': 'store', 'tid': tid, 'records': stores, 'blobs': {}}
        elif kind == 'blob':
            oids = chance.sample(range(1, OBJECTS + 1), chance.randint(1, 3))
            blobs = {oid: f'{seed} {number} {oid} ' * chance.choice([0, 1, 500]) for oid in oids}
            yield {'op': 'store', 'tid': tid, 'records': {}, 'blobs': blobs}
        elif kind == 'undo':
            undone = FIRST_TID + chance.randint(max(1, number - 3), number - 1) * TICK
            yield {'op': 'undo', 'tid': tid, 'undone': undone}
        elif kind == 'delete':
            yield {'op': 'delete', 'tid': tid, 'oid': chance.randint(1, OBJECTS)}
        else:
            seconds = TimeStamp(p64(tid - chance.randint(1, 6) * TICK)).timeTime() + 0.1
            yield {'op': 'pack', 'tid': tid, 'time': seconds}


def serial(storage, oid):
    try:
        return storage.getTid(oid)
    except POSKeyError:
        try:
            return storage.history(oid, 1)[0]['tid']
        except POSKeyError:
            return z64


def play_step(storage, step):
    if step['op'] == 'pack':
        storage.pack(step['time'], referencesf)
        return
    meta = TransactionMetaData('test', step['op'])
    storage.tpc_begin(meta, p64(step['tid']))
    try:
        if step['op'] == 'undo':
            storage.undo(base64.encodebytes(p64(step['undone'])).rstrip(), meta)
        elif step['op'] == 'delete':
            storage.deleteObject(p64(step['oid']), serial(storage, p64(step['oid'])), meta)
        else:
            for oid, record in step['records'].items():
                oid = p64(int(oid))
                storage.store(oid, serial(storage, oid), bytes.fromhex(record), '', meta)
            for oid, content in step['blobs'].items():
                oid = p64(int(oid))
                handle, name = tempfile.mkstemp(dir=storage.temporaryDirectory())
                os.write(handle, content.encode())
                os.close(handle)
                storage.storeBlob(oid, serial(storage, oid), BLOB, name, '', meta)
        storage.tpc_vote(meta)
        storage.tpc_finish(meta)
    except Exception:
        try:
            storage.tpc_vote(meta)  # or files stay: see gotcha 11
        except Exception:
            pass
        storage.tpc_abort(meta)
        raise


def lost(storage):
    """The objects that have blob records without blobs."""
    for transaction in storage.iterator():
        for record in transaction:
            if storage.is_blob_record(record.data):
                try:
                    storage.loadBlob(record.oid, record.tid)
                except POSKeyError:
                    yield record.oid


def play_python(place, keep_old, script):
    """Plays what can be played. Returns what that was, and the objects whose blobs are lost."""
    gone = set()
    storage = FileStorage(
        str(place / 'Data.fs'), blob_dir=str(place / 'blobs'), pack_keep_old=keep_old)
    played = []
    for step in script:
        try:
            play_step(storage, step)
        except (POSError, KeyError, AssertionError):
            continue
        played.append(step)
        if step['op'] == 'pack':
            gone.update(lost(storage))
    storage.close()
    return played, gone


def play_rzeo(tool, place, keep_old, script):
    text = ''.join(json.dumps(step) + '\n' for step in script)
    command = [tool, 'play', str(place / 'Data.fs'), str(place / 'blobs'), str(keep_old).lower()]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else None


def tree(place):
    """Every name except those in tmp, with modes and contents."""
    found = {}
    for base in 'blobs', 'blobs.old':
        for path in [place / base, *(place / base).rglob('*')]:
            if not path.exists() or path.name == '.removed' or 'tmp' in path.parts[-2:-1]:
                continue
            mode = path.stat().st_mode
            name = str(path.relative_to(place))
            found[name] = oct(mode), path.read_bytes() if path.is_file() else None
    return found


def without(found, kept, gone):
    """Leaves out the files that cannot be compared."""
    def interesting(name):
        if not kept and name.startswith('blobs.old'):
            return False
        last = {f'0x{oid[-1]:02x}' for oid in gone}
        return not last & set(name.split('/')[-2:])
    return {name: what for name, what in found.items() if interesting(name)}


def mine(place):
    return [str(path) for path in (place / 'blobs/tmp').glob('*')]


def prepare(directory, name, layout):
    place = directory / name
    (place / 'blobs').mkdir(parents=True)
    (place / 'blobs/.layout').write_text(layout)
    (place / 'blobs/tmp').mkdir()
    # Otherwise Python would delete the directory.
    FileStorage(str(place / 'Data.fs')).close()
    return place


def differences(expected, found):
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            yield f'{name}: Python {expected.get(name)!r:.120}, rzeo {found.get(name)!r:.120}'


def compare_script(tool, directory, seed, layout, keep_old):
    script = list(make_script(seed))
    python = prepare(directory, 'python', layout)
    played, gone = play_python(python, keep_old, script)
    # Python removes what the pack before kept, even if there turns out to be nothing to pack (gotcha
    # 10). And it removes all blobs of an object that was out of reach at the pack time, those too that
    # were stored later and whose records stay. rzeo does neither, so there is nothing to compare.
    kept = (python / 'Data.fs.old').exists() or not keep_old

    def look(place):
        return without(tree(place), kept, gone)

    expected = look(python)
    problems = []
    alone = prepare(directory, 'rzeo', layout)
    refused = play_rzeo(tool, alone, keep_old, played)
    problems += [f'alone: {refused}'] if refused else []
    problems += [f'alone: {text}' for text in differences(expected, look(alone))]
    problems += [f'left in tmp: {name}' for name in mine(alone)]
    turns = prepare(directory, 'turns', layout)
    size = 5
    for number, start in enumerate(range(0, len(played), size)):
        part = played[start:start + size]
        if number % 2:
            done, _ = play_python(turns, keep_old, part)
            problems += ['in turns: Python did not go on'] if done != part else []
        else:
            refused = play_rzeo(tool, turns, keep_old, part)
            problems += [f'in turns: {refused}'] if refused else []
    problems += [f'in turns: {text}' for text in differences(expected, look(turns))]
    # The blobs of rzeo that Python can read.
    storage = FileStorage(str(alone / 'Data.fs'), blob_dir=str(alone / 'blobs'), read_only=True)
    problems += [f'rzeo lost a blob of {oid.hex()}' for oid in lost(storage)]
    records = [record for transaction in storage.iterator() for record in transaction]
    blobs = sum(bool(storage.is_blob_record(record.data)) for record in records)
    storage.close()
    packs = sum(step['op'] == 'pack' for step in played)
    return problems, len(played), blobs, packs, len(gone)


@pytest.mark.parametrize('keep_old', [True, False], ids=['keep-old', 'no-old'])
@pytest.mark.parametrize('layout', ['bushy', 'lawn'])
def test_blob_files(program, layout, keep_old):
    steps = blobs = packs = python_lost = 0
    problems = []
    for seed in range(SEEDS):
        with tempfile.TemporaryDirectory() as directory:
            result = compare_script(program('examples/filestorage'), pathlib.Path(directory), seed, layout, keep_old)
        found, played, read, packed, gone = result
        problems += [f'seed {seed}: {problem}' for problem in found]
        steps, blobs, packs = steps + played, blobs + read, packs + packed
        python_lost += gone
    assert not problems, '\n'.join(problems)
    print(f'{SEEDS} scripts, {steps} steps, {packs} packs, {blobs} blobs; '
          f'of {python_lost} objects Python lost blobs')
