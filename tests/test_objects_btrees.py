"""BTrees in Rust beside Python's: the same random operations, and every record compared byte for byte.

Python executes a round of operations on trees in a storage that notes what each commit stores and checks. The
program ``btrees`` of ``objects/examples`` executes the same round on records of its own, from the same
beginning. Each operation must have the same result, and each commit must store the same records under the same
oids in the same order, and check the same reads.

Half of the rounds run with tiny nodes, so that a few hundred keys make trees of many levels.
"""
import difflib
import importlib
import io
import pickle
import pickletools
import random
import re
import string
import struct
import subprocess
from unittest.mock import ANY

import BTrees
import BTrees.check
import pytest
import transaction
import ZODB
import zodbpickle.pickle
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.MappingStorage import MappingStorage

FAMILIES = [family for family in BTrees._FAMILIES if family != 'fs']
MAPPINGS = ('BTree', 'Bucket')
TREES = ('BTree', 'TreeSet')
INTEGERS = {'I': (-2**31, 2**31 - 1), 'U': (0, 2**32 - 1), 'L': (-2**63, 2**63 - 1), 'Q': (0, 2**64 - 1)}
#: Operations in one round, after which both sides begin again with empty trees.
ROUND = 2500


class Storage(MappingStorage):
    """Notes what each commit stores and checks, in order."""

    def __init__(self):
        MappingStorage.__init__(self)
        self.stores, self.checks = [], []

    def store(self, oid, serial, data, version, transaction):
        self.stores.append((oid, serial, data))
        return MappingStorage.store(self, oid, serial, data, version, transaction)

    def checkCurrentSerialInTransaction(self, oid, serial, transaction):
        self.checks.append((oid, serial))
        return MappingStorage.checkCurrentSerialInTransaction(self, oid, serial, transaction)


class Program:
    """The program in Rust: a list of commands for a list of results."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, commands, connection):
        out = io.BytesIO()
        pickler = pickle.Pickler(out, 3)
        pickler.persistent_id = lambda value: (
            (value._p_oid, type(value)) if isinstance(value, PersistentMapping) else None)
        pickler.dump(commands)
        self.process.stdin.write(struct.pack('>I', len(out.getvalue())) + out.getvalue())
        self.process.stdin.flush()
        header = self.process.stdout.read(4)
        assert len(header) == 4, f'the program ended with status {self.process.wait()}'
        answer = io.BytesIO(self.process.stdout.read(struct.unpack('>I', header)[0]))
        unpickler = pickle.Unpickler(answer)
        unpickler.persistent_load = lambda reference: connection.get(reference[0])
        return unpickler.load()

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0


@pytest.fixture
def judge(program):
    judge = Program(program('examples/btrees'))
    yield judge
    judge.close()


class Keys:
    """A source of keys for one round: near each other, so that operations meet the same keys again."""

    def __init__(self, rnd, letter):
        self.rnd = rnd
        self.count = rnd.choice((10, 60, 400, 2000))
        if letter == 'O':
            make = rnd.choice((self.text, self.code, self.integer, self.pair, self.wild))
            self.space = sorted({make() for _ in range(self.count)})
            if rnd.random() < 0.3:
                self.space.insert(0, None)
        else:
            low, high = INTEGERS[letter]
            start = rnd.choice((low, high - self.count, max(low, -self.count // 2), rnd.randint(low, high - 10**6)))
            self.space = list(range(start, start + self.count))
        self.at = 0
        self.last = None

    def text(self):
        return ''.join(self.rnd.choices(string.ascii_lowercase, k=self.rnd.randint(0, 12)))

    def code(self):
        return self.rnd.randbytes(self.rnd.randint(0, 8))

    def integer(self):
        return self.rnd.choice((1, -1, 2**20, 2**80)) * self.rnd.randint(0, 10**6) + self.rnd.choice((0, 0, 2**64))

    def pair(self):
        return (self.rnd.choice(('a', 'b', 'bb', 'c')), self.integer())

    def wild(self):
        return ''.join(map(chr, self.rnd.choices((0, 65, 0x7f, 0xe9, 0xfffd, 0x10ffff, 0x1f40d, 0x4e2d), k=6)))

    def one(self):
        """A key: somewhere, or beside the previous one, as counters and times are."""
        self.at = self.at + 1 if self.rnd.random() < 0.5 else self.rnd.randrange(len(self.space))
        return fresh(self.space[self.at % len(self.space)])

    def present(self, tree):
        """A key of the tree, mostly the one after the last that was chosen: so whole buckets become empty."""
        if self.rnd.random() < 0.1 or not tree:
            return self.one()
        if self.rnd.random() < 0.3:
            self.last = self.one()
        try:
            self.last = fresh(tree.minKey(self.last))
        except ValueError:
            self.last = fresh(tree.minKey())
        return self.last

    def bound(self):
        return None if self.rnd.random() < 0.3 else self.one()


def fresh(value):
    """An equal value that shares no object with others, so that nothing depends on what Python happens to share."""
    return zodbpickle.pickle.loads(zodbpickle.pickle.dumps(value, 3))


def value_of(rnd, letter, others):
    if letter == 'F':
        return rnd.choice((rnd.random(), rnd.randint(-2**60, 2**60), 1e300, 0.0, -0.0, float('inf')))
    if letter != 'O':
        low, high = INTEGERS[letter]
        return rnd.choice((low, high, rnd.randint(low, high), rnd.randint(0, 3), True))
    if rnd.random() < 0.1:
        return rnd.choice(others)
    value = rnd.choice((
        None, True, rnd.randint(-3, 300), 2**70, 1.5, 'x', '', 'text', b'', b'y', b'bytes', (), ('a', 1),
        [1, 'two', [3]], {'key': 'value', 1: (2,)}, {'a': None}, 'é\U0001f40d'))
    return fresh(value)


def operation(rnd, tree, kind, keys, letter, others, adding):
    """A random operation and its arguments. ``adding`` is the probability that it adds a key."""
    chance = rnd.random()
    if chance < 0.75:
        if rnd.random() > adding:
            return 'remove', keys.present(tree)
        if kind in MAPPINGS:
            return rnd.choice(('insert', 'replace')), keys.one(), value_of(rnd, letter, others)
        return 'insert', keys.one()
    if chance < 0.87:
        return 'get', keys.one()
    if chance < 0.97:
        low, high = keys.bound(), keys.bound()
        return 'range', low, high, low is not None and rnd.random() < 0.2, high is not None and rnd.random() < 0.2
    if chance < 0.99:
        return rnd.choice(('min', 'max')), keys.bound()
    return rnd.choice(('len', 'len', 'check', 'clear')),


def perform(tree, kind, name, *arguments):
    """The operation in Python, and its result as the program gives it."""
    if name == 'insert':
        if kind == 'Bucket':
            key, value = arguments
            if key in tree:
                return False
            tree[key] = value
            return True
        return bool(tree.insert(*arguments))
    if name == 'replace':
        key, value = arguments
        tree[key] = value
        return None
    if name == 'remove':
        try:
            if kind in MAPPINGS:
                del tree[arguments[0]]
            else:
                tree.remove(arguments[0])
            return True
        except KeyError:
            return False
    if name == 'get':
        if arguments[0] not in tree:
            return None
        return (tree[arguments[0]],) if kind in MAPPINGS else (None,)
    if name == 'range':
        low, high, exclude_low, exclude_high = arguments
        find = tree.items if kind in MAPPINGS else tree.keys
        found = list(find(low, high, excludemin=exclude_low, excludemax=exclude_high))
        return found if kind in MAPPINGS else [(key, None) for key in found]
    if name in ('min', 'max'):
        try:
            return ((tree.minKey if name == 'min' else tree.maxKey)(arguments[0]),)
        except ValueError:
            return None
    if name == 'len':
        return len(tree)
    if name == 'clear':
        tree.clear()
        return None
    assert name == 'check'
    if kind in TREES:
        tree._check()
    BTrees.check.check(tree)
    return True


class Round:
    """Python's side of a round: what it does, and the commands with which the program does the same."""

    def __init__(self, rnd, family, kind, sizes):
        self.rnd, self.family, self.kind = rnd, family, kind
        module = importlib.import_module(f'BTrees.{family}BTree')
        self.of_class = getattr(module, family + kind)
        self.storage = Storage()
        self.db = ZODB.DB(self.storage)
        self.connection = self.db.open()
        self.keys = [Keys(rnd, family[0]), Keys(rnd, family[0])]
        self.others = [PersistentMapping(), PersistentMapping()]
        for other in self.others:
            self.connection.add(other)
        self.trees = [self.of_class(), self.of_class()]
        holder = OOBTree()
        self.connection.add(holder)
        # Either both trees have records when the round begins, or they are new in its first transaction.
        self.are_stored = rnd.random() < 0.5
        if self.are_stored:
            for tree in self.trees:
                self.connection.add(tree)
        transaction.commit()
        self.storage.stores.clear()
        records = [(oid, self.storage.load(oid)) for oid in self.storage._data]
        records = [(oid, serial, data) for oid, (data, serial) in records]
        oids = [tree._p_oid for tree in self.trees if self.are_stored]
        self.commands = [('begin', self.storage._oid, records, family + kind, sizes, holder._p_oid, oids)]
        self.results = [None]
        if not self.are_stored:
            for at, tree in enumerate(self.trees):
                holder[str(at)] = tree
                self.note(None, 'create', at)

    def note(self, result, *command):
        self.commands.append(command)
        self.results.append(result)

    def play(self, operations):
        adding, rnd = 0.8, self.rnd
        until_commit = rnd.choice((1, 10, 40, 200))
        while len(self.commands) < operations:
            if rnd.random() < 0.01:
                adding = rnd.choice((0.1, 0.45, 0.55, 0.8, 0.95))
            at = 0 if rnd.random() < 0.8 else 1
            tree = self.trees[at]
            command = operation(rnd, tree, self.kind, self.keys[at], self.family[1], self.others, adding)
            self.note(perform(tree, self.kind, *command), command[0], at, *command[1:])
            until_commit -= 1
            if until_commit <= 0:
                until_commit = rnd.choice((1, 1, 3, 10, 40, 200))
                if rnd.random() < 0.03 and self.are_stored:
                    transaction.abort()
                    self.note(None, 'abort')
                elif not self.commit():
                    break

    def do(self, name, *arguments):
        """An operation on the first tree."""
        self.note(perform(self.trees[0], self.kind, name, *arguments), name, 0, *arguments)

    def play_large(self, count):
        """Grows a tree from one end, empties its middle and a random part, and fills it in random order."""
        keys = [f'{key:07}' if self.family[0] == 'O' else key for key in range(count)]
        part = count // 5
        mapping = self.kind in MAPPINGS
        value = (lambda: self.rnd.randint(0, 9)) if mapping else None
        item = (lambda key: (fresh(key), value())) if mapping else (lambda key: (fresh(key),))
        shuffled = self.rnd.sample(keys, count)
        for name, chosen in (('insert', keys), ('remove', keys[2 * part:3 * part]), ('insert', shuffled),
                             ('remove', shuffled[:part]), ('remove', keys[:1:-1])):
            for start in range(0, len(chosen), part):
                for key in chosen[start:start + part]:
                    self.do(name, *(item(key) if name == 'insert' else (fresh(key),)))
                self.do('check')
                assert self.commit()

    def commit(self):
        """False where Python has written a damaged tree, so that the round ends.

        Python writes every node with a single bucket without an oid together with that bucket's items. Where the
        node is not the root, the bucket before refers to that bucket, which then has a record as well.
        """
        transaction.commit()
        self.are_stored = True
        storage = self.storage
        within = {oid for oid, _, data in storage.stores if self.has_bucket_within(data)}
        if within - {tree._p_oid for tree in self.trees}:
            self.note(ANY, 'commit', storage.lastTransaction())
            for at, tree in enumerate(self.trees):
                self.note(True, 'check', at)
                everything = 'range', None, None, False, False
                self.note(perform(tree, self.kind, *everything), everything[0], at, *everything[1:])
            return False
        self.note((list(storage.stores), list(storage.checks)), 'commit', storage.lastTransaction())
        storage.stores.clear()
        storage.checks.clear()
        # A bucket can get an oid after the root was written with the bucket in its record. Python's objects in
        # memory then do not agree with the records any more, and its next change of that bucket is lost.
        is_lost = any(tree._p_oid in within and tree._firstbucket._p_oid for tree in self.trees)
        if is_lost or self.rnd.random() < 0.2:
            self.connection.cacheMinimize()
            for tree in self.trees:
                perform(tree, self.kind, 'check')
        return True

    def has_bucket_within(self, data):
        """Whether a record is a node of a tree with the items of its only bucket."""
        if self.kind not in TREES or not data.startswith(pickle.dumps(self.of_class, 3)[:-1]):
            return False
        unpickler = pickle.Unpickler(io.BytesIO(data))
        unpickler.persistent_load = lambda reference: reference
        unpickler.load()
        state = unpickler.load()
        return state is not None and len(state) == 1

    def close(self):
        transaction.abort()
        self.connection.close()
        self.db.close()


def one_round(judge, rnd, family, kind, sizes, play):
    of_class = getattr(importlib.import_module(f'BTrees.{family}BTree'), family + kind)
    before = None
    if sizes and kind in TREES:
        before = of_class.max_leaf_size, of_class.max_internal_size
        of_class.max_leaf_size, of_class.max_internal_size = sizes
    try:
        side = Round(rnd, family, kind, sizes)
        play(side)
        answers = judge.run(side.commands, side.connection)
        assert len(answers) == len(side.results)
        for at, (command, expected, answer) in enumerate(zip(side.commands, side.results, answers)):
            if command[0] == 'commit' and expected is not ANY:
                expected, answer = [[list(map(tuple, part)) for part in both] for both in (expected, answer)]
            elif command[0] == 'range':
                answer = list(map(tuple, answer))
            assert same(answer, expected), explain(side.commands[:at + 1], answer, expected)
        side.close()
        return len(side.commands)
    finally:
        if before:
            of_class.max_leaf_size, of_class.max_internal_size = before


def explain(commands, answer, expected):
    """The last transaction, and what is different in its result."""
    ends = [at for at, command in enumerate(commands[:-1]) if command[0] in ('begin', 'commit', 'abort')]
    lines = [repr(command) for command in commands[ends[-1] + 1:]]
    return '\n'.join(['', *lines, difference(answer, expected)])


def difference(answer, expected):
    """The first record that differs, as opcodes."""
    if not (isinstance(expected, list) and expected and isinstance(expected[0], list)):
        return f'program: {answer}\nPython:  {expected}'
    for ours, theirs in zip(answer[0], expected[0]):
        if ours != theirs:
            texts = [f'{oid.hex()} {serial.hex()}\n{opcodes(data)}' for oid, serial, data in (ours, theirs)]
            return '\n'.join(difflib.unified_diff(*(text.splitlines() for text in texts), 'program', 'Python', n=9))
    return f'program: {summary(answer)}\nPython:  {summary(expected)}'


def opcodes(record):
    stream, out = io.BytesIO(record), io.StringIO()
    memo = {}
    for _ in range(2):
        pickletools.dis(stream, out, memo)
    return re.sub(r'^ *\d+: ', '', out.getvalue(), flags=re.MULTILINE)


def summary(commit):
    stores, checks = commit
    return [oid.hex()[-4:] for oid, *_ in stores], [oid.hex()[-4:] for oid, _ in checks]


def same(answer, expected):
    """Equal, and of equal types: True is not 1."""
    return expected is ANY or repr(answer) == repr(expected)


@pytest.mark.parametrize('kind', ('BTree', 'TreeSet', 'Bucket', 'Set'))
@pytest.mark.parametrize('family', FAMILIES)
def test_random_operations(judge, family, kind, size, request):
    total = size('operations', 2000, 100_000 if kind == 'BTree' else 20_000)
    rnd = random.Random(f"{request.config.getoption('seed')} {family} {kind}")
    while total > 0:
        sizes = rnd.choice((None, (rnd.randint(2, 6), rnd.randint(2, 6))))
        total -= one_round(judge, rnd, family, kind, sizes, lambda side: side.play(min(total, ROUND)))


@pytest.mark.parametrize('family, kind, count', (
    ('OO', 'BTree', 8000),
    pytest.param('OI', 'TreeSet', 20_000, marks=pytest.mark.slow),
    pytest.param('LO', 'BTree', 40_000, marks=pytest.mark.slow),
    pytest.param('II', 'BTree', 70_000, marks=pytest.mark.slow)))
def test_trees_with_the_sizes_of_python(judge, family, kind, count):
    """Trees so large that the root is split, which the rounds above never reach without tiny nodes."""
    one_round(judge, random.Random(1), family, kind, None, lambda side: side.play_large(count))
