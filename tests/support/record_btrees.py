"""Records of small BTrees as Python writes them, for the tests of the crate rzeo-objects.

    .venv/bin/python tests/support/record_btrees.py >objects/tests/samples/btrees.txt

The operations are chosen by hand so that every kind of change of a tree occurs: growth to records of its own,
splits on each level, emptied buckets and nodes with and without a left neighbor, and the way back to one bucket.
"""
import importlib

import transaction
import ZODB
from ZODB.MappingStorage import MappingStorage
from ZODB.utils import p64, u64

GROW = [('set', key) for key in (5, 1, 9, 3, 7, 2, 4, 6, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)]
SCRIPTS = {
    'up and down': [
        *GROW[:3], 'commit', *GROW[3:5], 'commit', *GROW[5:], 'commit', ('set', 21), ('remove', 1), 'commit',
        *(('remove', key) for key in range(2, 7)), 'commit', *(('remove', key) for key in range(15, 22)), 'commit',
        ('remove', 99), ('set', 7), 'commit', *(('remove', key) for key in range(7, 15)), 'commit', ('set', 1), 'commit'],
    'all at once': [*GROW, 'commit', *(('remove', key) for _, key in GROW), ('set', 3), 'commit'],
    'back to one bucket': [
        *GROW[:5], 'commit', ('set', 6), ('set', 8), ('remove', 5), ('remove', 6), ('remove', 7), ('remove', 8),
        ('remove', 9), 'commit', ('remove', 1), ('remove', 3), 'commit'],
    'out of the middle': [
        *GROW, 'commit', ('remove', 9), ('remove', 10), 'commit', ('remove', 8), ('remove', 7), 'commit',
        *(('remove', key) for key in (11, 14, 12, 13)), 'commit', *(('set', key) for key in range(7, 14)), 'commit',
        ('set', 1), 'commit'],
    'a new bucket is all that is left': [
        *GROW[:4], 'commit', ('set', 11), ('set', 12), ('remove', 1), ('remove', 3), ('remove', 5), 'commit'],
}


class Storage(MappingStorage):
    def store(self, oid, serial, data, version, transaction):
        print('store', u64(oid), data.hex())
        return MappingStorage.store(self, oid, serial, data, version, transaction)

    def checkCurrentSerialInTransaction(self, oid, serial, transaction):
        print('check', u64(oid))
        return MappingStorage.checkCurrentSerialInTransaction(self, oid, serial, transaction)


def record(family, kind, sizes, script):
    module = importlib.import_module(f'BTrees.{family}BTree')
    tree_class = getattr(module, family + kind)
    tree_class.max_leaf_size, tree_class.max_internal_size = sizes
    print('begin', family + kind, *sizes)
    # The root object is not recorded.
    storage = Storage()
    storage.store = lambda *args: MappingStorage.store(storage, *args)
    db = ZODB.DB(storage)
    del storage.store
    connection = db.open()
    tree = tree_class()
    connection.add(tree)
    for operation in script:
        if operation == 'commit':
            print('commit')
            transaction.commit()
            connection.cacheMinimize()
            tree._check()
            continue
        name, key = operation
        print(name, key)
        key = f'{key:03}' if family[0] == 'O' else key
        value = f'value {key}' if family[1] == 'O' else -7
        try:
            if name == 'set' and kind == 'BTree':
                tree[key] = value
            elif name == 'set':
                tree.insert(key)
            elif kind == 'BTree':
                del tree[key]
            else:
                tree.remove(key)
        except KeyError:
            pass
    connection.close()
    assert tree._p_oid == p64(1)


if __name__ == '__main__':
    print('# Made by tests/support/record_btrees.py')
    for title, script in SCRIPTS.items():
        kind = 'BTree' if title == 'out of the middle' else 'TreeSet'
        for arguments in (('LO', 'BTree', (3, 3)), ('OO', 'BTree', (2, 2)), ('II', kind, (4, 2))):
            print(f'\n# {title}')
            record(*arguments, script)
