"""Python's zeopack and zeo-nagios beside `rzeo pack` and `rzeo nagios`, against both servers.

Each command is run by both programs; what they print and their exit status must be the same, but
for the differences that are listed, with reasons, in DIFFERENT. Rates and tracebacks are compared
by their shape.
"""
import os
import re
import shlex
import subprocess
import sys

import pytest
import transaction
from ZEO.ClientStorage import ClientStorage
from ZODB.DB import DB

import servers

BIN = os.path.dirname(sys.executable)
# What both must do, but not in the same words. -> the reason
DIFFERENT = {
    'usage': 'usage errors are worded by the library that reads the arguments; the status is the same',
    'traceback': "where Python's program ends with a traceback, rzeo prints one line with the error",
    'help': 'help is worded differently',
}


@pytest.mark.parametrize('kind', ['rzeo', 'python'])
def test_pack_and_nagios(directory, arguments, codec, kind):
    args = arguments()
    command = args.server if kind == 'rzeo' else args.reference
    with servers.Server(command, os.path.join(directory, 'Data.fs'), codec) as server:
        comparison = Comparison(args.rzeo, server, f'{kind}, {codec}', directory)
        comparison.run()
    assert not comparison.differences, f'{comparison.differences} of {comparison.compared} commands differ'
    print(f'{comparison.compared} commands compared')


class Comparison:

    def __init__(self, rzeo, server, where, directory):
        self.programs = {'zeopack': ([BIN + '/zeopack'], [rzeo, 'pack']),
                         'zeo-nagios': ([BIN + '/zeo-nagios'], [rzeo, 'nagios'])}
        self.server = server
        self.where = where
        self.directory = directory
        self.compared = self.differences = 0

    def run(self):
        address = '{}:{}'.format(*self.server.address)
        host, port = address.split(':')
        nagios, pack = 'zeo-nagios', 'zeopack'
        self.same(nagios, address)
        self.same(nagios, '-m', address)
        self.fill()
        self.same(nagios, address)
        self.same(nagios, '--output-metrics', address)
        self.same(nagios, '-m', '-u', 'days', '-s', '{own}', address)
        self.same(nagios, '-m', '-u', 'seconds', '--status-path={own}', address)
        self.same(nagios, '-s', '{own}.none', address)
        for bad in '127.0.0.1:1', '[::1]:1', self.directory + '/no', './x', 'nohost.invalid:1':
            self.same(nagios, bad)
        self.same(nagios, but='traceback')
        self.same(nagios, address, address, but='traceback')
        self.same(nagios, '-u', 'weeks', address, but='usage')
        self.same(nagios, '--nothing', but='usage')
        self.same(nagios, '--help', but='help')

        for how in ([address], [address + ':1'], ['-h', host, '-p', port], ['-d0', address],
                    ['-t', '23:59:59', '-d', '-1', address], ['-S1', '-h' + host, '-p' + port],
                    [address, address]):
            for program in 0, 1:
                before = self.fill()
                self.one(pack, program, *how)
                after = os.path.getsize(self.server.path)
                assert after < before, (self.where, how, program, before, after)
            self.same(pack, *how)
        self.same(pack, '-d', '1', address)
        for bad in (['localhost:x'], ['a:1:b:c'], ['-u', 'a:b:c'], ['-S', '1'],
                    ['-h', 'localhost'], ['-t', '1:2:3:4', address]):
            self.same(pack, *bad)
        self.same(pack, '-t', 'x', address, but='traceback')
        self.same(pack, '-d', 'x', but='usage')
        self.same(pack, '--nothing', but='usage')
        self.same(pack, but='help')

    def fill(self):
        """Make garbage. -> size of the file"""
        db = DB(ClientStorage(self.server.address))
        for number in range(20):
            with db.transaction() as connection:
                connection.root()['x'] = str(number) * 500
        db.close()
        transaction.abort()
        return os.path.getsize(self.server.path)

    def one(self, name, program, *words):
        own = os.path.join(self.directory, f'status-{program}-{self.server.process.pid}')
        words = [word.replace('{own}', own) for word in words]
        done = subprocess.run([*self.programs[name][program], *words], capture_output=True,
                              text=True, timeout=100, stdin=subprocess.DEVNULL)
        stderr = done.stderr
        if 'Traceback' in stderr:
            stderr = 'TRACEBACK'
        return done.returncode, rates(done.stdout), stderr

    def same(self, name, *words, but=None):
        self.compared += 1
        python, rzeo = (self.one(name, program, *words) for program in (0, 1))
        if but:
            # Only the peers, and the status.
            shape = [(status, bool(out), bool(err)) for status, out, err in (python, rzeo)]
            python, rzeo = shape
        if python != rzeo:
            self.differences += 1
            print(f'{self.where}: {name} {shlex.join(words)}\n  Python: {python}\n  rzeo:   {rzeo}')


def rates(text):
    """The text without the digits of rates, which are fractions"""
    return re.sub(r'=-?[0-9]+(\.[0-9]+)(e[-+]\d+)?', '=RATE', text)
