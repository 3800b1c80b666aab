"""Classes and values of an application, for test_objects.py: rzeo-objects must keep them without their classes."""
import collections
import datetime
import decimal
import fractions
import uuid

import persistent
from persistent.mapping import PersistentMapping
from persistent.wref import WeakRef


#: Not UTC: a process has only one object for UTC, which only its class can restore.
ZONE = datetime.timezone(datetime.timedelta(hours=1))


class Node(persistent.Persistent):
    """A persistent object with attributes."""


class Folder(PersistentMapping):
    """A mapping of an application."""


class Plain:
    """An object that is stored within another one."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slots:
    __slots__ = 'left', 'right'


class Listed(list):
    pass


class Named(dict):
    pass


class Reduced:
    """Its class has the function that makes it again."""

    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return Reduced, self.args


def value(random, depth=4):
    """A random value; parts of it can be the same object, and contain the value."""
    made = []
    return _value(random, depth, made)


def _value(random, depth, made):
    if made and random.random() < .15:
        return random.choice(made)
    if depth == 0 or random.random() < .3:
        return _scalar(random)

    def inner():
        return _value(random, depth - 1, made)

    def several():
        return [inner() for _ in range(random.choice((0, 1, 2, 3, 4, 5)))]

    kind = random.randrange(13)
    if kind == 0:
        found = []
        made.append(found)
        found.extend(several())
    elif kind == 1:
        found = {}
        made.append(found)
        for _ in range(random.randrange(5)):
            found[_key(random)] = inner()
    elif kind == 2:
        found = Plain()
        made.append(found)
        for name in random.sample(('name', 'size', 'other'), random.randrange(4)):
            setattr(found, name, inner())
    elif kind == 3:
        found = Listed()
        made.append(found)
        found.extend(several())
    elif kind == 4:
        found = Named()
        made.append(found)
        found[_key(random)] = inner()
        if random.random() < .5:
            found.extra = inner()
    elif kind == 5:
        found = Slots()
        made.append(found)
        found.left = inner()
    elif kind == 6:
        found = Reduced(inner(), inner())
        made.append(found)
    elif kind == 7:
        found = collections.OrderedDict([(_key(random), inner())])
        made.append(found)
    elif kind == 8:
        found = {_key(random)}
        made.append(found)
    elif kind == 9:
        # A tuple that contains itself, through a list.
        through = several()
        found = (through, *several())
        made.append(found)
        through.append(found)
    else:
        found = tuple(several())
        made.append(found)
    return found


def _key(random):
    return random.choice((
        'name', 'übung', 'long key ' * 9, b'bytes key', 7, -1, 2**40, None, True, ('tuple', 1), 1.5,
        f'key {random.randrange(9)}'))


def _scalar(random):
    return random.choice((
        None, True, False, 0, 1, 255, 256, 65535, 65536, -1, 2**31 - 1, -2**31, 2**31, 2**63, -2**63, 2**64, -2**200,
        2**3000, 0.0, -1.5, 1e300, float('inf'), '', 'text value', 'ünï', '\U0001f600 \ud800', 'x' * 300, b'',
        b'byte string', b'\xff' * 300, (), datetime.datetime(2026, 1, 2, 3, 4, 5), datetime.date(2026, 1, 2),
        datetime.timedelta(3, 4), datetime.datetime(2026, 1, 2, tzinfo=ZONE), 1j,
        decimal.Decimal('12.50'), fractions.Fraction(1, 3), uuid.UUID(int=2**100), frozenset({4}), range(3, 9),
        Plain, len, collections.OrderedDict, Node,
    ))


__all__ = ['Folder', 'Listed', 'Named', 'Node', 'Plain', 'Reduced', 'Slots', 'WeakRef', 'value']
