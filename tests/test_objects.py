"""rzeo-objects beside ZODB: the same operations on the same records must store the same bytes.

Each test runs operations as one transaction of a Rust program and as one of Python, on the records that Python
has stored before. Records, oids, their order and the checks for current objects must be equal.
"""
import pickletools
import random

import object_samples
import pytest
from BTrees.Length import Length
from object_samples import Folder, Node, WeakRef
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from rust_objects import Failed, Recorder, Script, in_python
from ZODB.Connection import TransactionMetaData
from ZODB.utils import p64, u64
from zodbpickle import pickle

KINDS = {'mapping': PersistentMapping, 'list': PersistentList, 'length': Length}


@pytest.fixture
def both(program):
    with Script(program('examples/object_script')) as script:
        yield Both(script)


class Both:
    """The same transactions in Rust and in Python."""

    def __init__(self, script):
        self.script = script
        self.storage = Recorder()
        in_python(self.storage, lambda connection: None)

    def run(self, *operations):
        """Runs operations in both; returns what Rust read, and the objects of Python by their names."""
        found, stores, checks = self.script.run(self.storage, operations, self.storage.next_oid())
        self.storage.stores, self.storage.checks = [], []
        oids = in_python(self.storage, lambda connection: self.python(connection, operations))
        for ours, theirs in zip(stores, self.storage.stores):
            assert ours[:2] == theirs[:2], operations
            assert opcodes(ours[2]) == opcodes(theirs[2]), operations
            assert ours[2] == theirs[2]
        assert len(stores) == len(self.storage.stores), operations
        assert list(checks) == list(self.storage.checks), operations
        return found, {name: u64(found._p_oid) for name, found in oids.items() if found._p_oid}

    def python(self, connection, operations):
        """Runs operations as Python code would; returns new objects by name."""
        new = {}

        def objects(name):
            return new[name] if isinstance(name, str) else connection.get(p64(name))

        def values(value):
            return objects(value['object']) if 'object' in value else pickle.loads(bytes.fromhex(value['pickle']))

        for name, first, *rest in operations:
            if name == 'create':
                kind, = rest
                kind = KINDS[kind] if isinstance(kind, str) else getattr(object_samples, kind[1])
                new[first] = kind()
            elif name == 'put':
                objects(first)[fresh(rest[0])] = values(rest[1])
            elif name == 'remove':
                del objects(first)[rest[0]]
            elif name == 'append':
                objects(first).append(values(rest[0]))
            elif name == 'delete':
                del objects(first)[rest[0]]
            elif name == 'change':
                objects(first).change(rest[0])
            elif name == 'set':
                setattr(objects(first), rest[0], values(rest[1]))
            elif name == 'touch':
                objects(first)._p_activate()
                objects(first)._p_changed = True
            elif name == 'check':
                objects(first)._p_activate()
                connection.readCurrent(objects(first))
        return new

    def write(self, change):
        """Lets Python write something; returns the oids of what ``change`` returns."""
        made = in_python(self.storage, lambda connection: change(connection.root()))
        return [u64(found._p_oid) for found in made]


def opcodes(record):
    """The opcodes of a record, to be compared line by line."""
    first = record.index(b'.') + 1
    while record[first:first + 2] != b'\x80\3':
        first = record.index(b'.', first) + 1
    return [(code.name, argument) for code, argument, _ in pickletools.genops(record[first:])]


def fresh(text):
    """The same text as an object of its own, which constants in code are not."""
    return text.encode().decode()


def pickled(value):
    return {'pickle': pickle.dumps(value, 3).hex()}


def test_an_example_of_everything(both):
    _, new = both.run(
        ['create', 'list', 'list'], ['create', 'map', 'mapping'], ['create', 'length', 'length'],
        ['create', 'node', ['object_samples', 'Node']], ['create', 'lost', 'mapping'],
        ['put', 0, 'map', {'object': 'map'}], ['put', 0, 'again', {'object': 'map'}],
        ['put', 'map', 'list', {'object': 'list'}], ['put', 'map', 'length', {'object': 'length'}],
        ['append', 'list', {'object': 'node'}], ['append', 'list', pickled('text')], ['change', 'length', 3],
        ['set', 'node', 'parent', {'object': 'map'}], ['set', 'node', 'size', pickled(70000)])
    assert set(new) == {'list', 'map', 'length', 'node'}
    both.run(['remove', 0, 'again'], ['delete', new['list'], 0], ['change', new['length'], -5])
    both.run(['set', new['node'], 'size', pickled(1)], ['check', new['list']], ['check', 0], ['check', new['node']])
    both.run(['check', 0])
    both.run(['put', 0, 'map', pickled({'a': (1, 2)})])


@pytest.mark.parametrize('number', range(4))
def test_values_unknown_to_rust_are_written_back(both, number, request, size):
    choose = random.Random(f"{request.config.getoption('seed')} {number}")
    for _ in range(size('values', 40, 500)):
        def change(root):
            root['node'] = node = Node()
            node.value, node.name = object_samples.value(choose), object_samples.value(choose)
            root['map'] = Folder(value=object_samples.value(choose), root=root)
            root['map'].title = 'a folder'
            root['list'] = PersistentList([object_samples.value(choose), node, object_samples.value(choose)])
            return root['node'], root['map'], root['list']
        node, mapping, items = both.write(change)
        both.run(['touch', node, 'instance'], ['touch', mapping, 'mapping'], ['touch', items, 'list'])
        both.run(['touch', node, 'value'], ['touch', mapping, 'value'], ['touch', items, 'value'])
        both.run(['set', node, 'other', pickled(object_samples.value(choose))],
                 ['put', mapping, 'other', pickled(object_samples.value(choose))],
                 ['append', items, pickled(object_samples.value(choose))])
        both.run(['touch', mapping, 'value'], ['delete', items, 0])


def test_random_transactions(both, request, size):
    choose = random.Random(request.config.getoption('seed'))
    known = {0: 'mapping'}
    for _ in range(size('transactions', 150, 3000)):
        operations, kinds = [], dict(known)
        lengths = {oid: None for oid in kinds}
        for step in range(choose.randrange(1, 9)):
            target = choose.choice(list(kinds))
            kind = kinds[target]
            if choose.random() < .3:
                value = {'object': choose.choice(list(kinds))}
            else:
                value = pickled(object_samples.value(choose, 2))
            if choose.random() < .3:
                name = f'new {step}'
                kinds[name] = choose.choice(('mapping', 'list', 'length', ['object_samples', 'Node']))
                operations.append(['create', name, kinds[name]])
            elif choose.random() < .1 and not isinstance(target, str):
                operations.append(['check', target])
            elif kind == 'mapping':
                operations.append(['put', target, choose.choice('abcdefgh') * 2, value])
            elif kind == 'list':
                operations.append(['append', target, value])
            elif kind == 'length':
                operations.append(['change', target, choose.randrange(-9, 10**choose.randrange(1, 12))])
            else:
                operations.append(['set', target, choose.choice(('name', 'size', 'data')), value])
        _, new = both.run(*operations)
        known.update((oid, kinds[name]) for name, oid in new.items())


def test_references_of_every_form(both):
    def change(root):
        root['node'] = node = Node()
        root['weak'] = WeakRef(node)
        root['weakly'] = [WeakRef(node), root['weak']]
        return [node]
    both.write(change)
    (state,), _ = both.run(['show', 0])
    assert state.count('Weak') == 3, state


def test_old_records_are_written_as_python_3_does(both):
    """Protocols, names and forms that Python 2 and old versions of BTrees and ZODB have written."""
    node, = both.write(lambda root: [root.setdefault('node', Node())])
    states = [
        # A BTree under two of its old names, with a reference in an old form, and a unicode key.
        b'\x80\1cBTrees._OOBTree\nOOBTree\nq\1.\x80\1((((U\4nameq\2X\4\0\0\0textq\3tttt.',
        b'\x80\1(cBTrees.OOBTree\nOOBucket\nNt.\x80\1((U\3key(U\x08\0\0\0\0\0\0\0\0(U\x12persistent.mapping'
        b'U\x11PersistentMappingttQtt.',
        b'(cobject_samples\nNode\nNt.(dS\'name\'\nS\'value\'\nsS\'size\'\nL5L\ns.',
        b'\x80\2cobject_samples\nNode\nq\1.\x80\2}q\2(U\4typeq\x08c__builtin__\nunicode\n'
        b'U\5rangec__builtin__\nxrange\nu.',
        b'\x80\2cobject_samples\nNode\n.\x80\2}(U\1c](U\1w(U\x08\0\0\0\0\0\0\0\1teQu.',
    ]
    for state in states:
        install(both.storage, node, state)
        both.run(['touch', node, 'value'])

    # Python itself makes this object in another way now; it reads the old one, under the new names.
    install(both.storage, node, b'\x80\2cobject_samples\nNode\n.\x80\2}U\5plainccopy_reg\n_reconstructor\n('
                                b'cobject_samples\nPlain\nc__builtin__\nobject\nNtR}U\4nameK\1sbs.')
    _, stores, _ = both.script.run(both.storage, [['touch', node, 'value']], 1)
    install(both.storage, node, stores[0][2])
    in_python(both.storage, lambda connection: connection.get(p64(node)).plain.name)


def test_plain_values_convert(both):
    def change(root):
        root['node'] = node = Node()
        node.values = [1, -1.5, True, None, 'text', {'key': ('tuple', 2**63)}]
        return [node]
    node, = both.write(change)
    (found,), _ = both.run(['json', node])
    assert found == '{"values":[1,-1.5,true,null,"text",{"key":["tuple",9223372036854775808]}]}'
    value = {'list': [1, 2.5, None, True], 'dict': {'text': 'ü', 'big': 2**64 - 1}, 'empty': []}
    _, stores, _ = both.script.run(both.storage, [['put', 0, 'json', {'json': value}]], 1)
    (oid, _serial, record), = stores

    def check(connection):
        assert connection.root()['json'] == value
    install(both.storage, oid, record)
    in_python(both.storage, check)


def install(storage, oid, record):
    """Commits a record that Rust has written."""
    meta = TransactionMetaData()
    storage.tpc_begin(meta)
    storage.store(p64(oid), storage.getTid(p64(oid)), record, '', meta)
    storage.tpc_vote(meta)
    storage.tpc_finish(meta)


def test_conflicts_repeat_the_operation(both):
    attempts = []

    def commit(stores, checks):
        attempts.append(stores)
        if len(attempts) == 1:
            in_python(both.storage, lambda connection: connection.root().update(other=1))
            return {'conflict': u64(both.storage.lastTransaction()), 'invalidated': [0]}
        return {'tid': u64(both.storage.lastTransaction()) + 1}

    operations = [['create', 'new', 'mapping'], ['put', 0, 'new', {'object': 'new'}]]
    both.script.run(both.storage, operations, 1, commit, retries=1)
    (first, new), (second, again) = attempts
    assert new == again and second[2].find(b'other') > 0 > first[2].find(b'other')
    assert second[1] == u64(both.storage.getTid(p64(0)))
    attempts.clear()
    with pytest.raises(Failed, match='conflicts at 1 attempts'):
        both.script.run(both.storage, operations, 1, commit)


def test_errors_name_the_object(both):
    node, = both.write(lambda root: [root.setdefault('node', Node())])
    for operation, message in [
            (['put', 77, 'a', pickled(1)], 'there is no object 0x000000000000004d; a reference to it dangles'),
            (['append', 0, pickled(1)], 'the attribute data is not a list'),
            (['change', node, 1], 'not an object of a class that is read as Length'),
            (['put', node, 'a', pickled(1)], 'the attribute data is not there')]:
        with pytest.raises(Failed, match=message):
            both.script.run(both.storage, [operation], 1)
