"""Feeds small configuration files to Python's ZConfig, with ZEO's schema, and to `rzeo config check`.

Both must accept the same files. If both refuse a file, the first lines of their messages must be the same,
but for the line number; if both accept it, the settings must be the same. KNOWN lists the intended
differences with reasons; a known difference that is gone is a failure as well.
"""
import json
import os
import pathlib
import re
import subprocess
import tempfile

import pytest
import ZConfig
import ZConfig.loader
import ZEO
import ZEO.zconfig

ZEO_SECTION = '<zeo>\naddress 8100\n</zeo>\n'
MAPPING = '<mappingstorage/>\n'
BASE = ZEO_SECTION + MAPPING


def in_zeo(lines):
    return '<zeo>\naddress 8100\n%s\n</zeo>\n%s' % (lines, MAPPING)


def in_ssl(lines):
    return in_zeo('<ssl>\n%s\n</ssl>' % lines)


def in_storage(kind, lines, name=''):
    return '%s<%s %s>\n%s\n</%s>\n' % (ZEO_SECTION, kind, name, lines, kind)


def in_log(kind, lines):
    return '%s<eventlog>\n<%s>\n%s\n</%s>\n</eventlog>\n' % (BASE, kind, lines, kind)


def in_runner(lines):
    return '%s<runner>\nprogram a b\n%s\n</runner>\n' % (BASE, lines)


CASES = {}


def case(name, text, *overrides):
    assert name not in CASES, name
    CASES[name] = (text, overrides)


def cases(prefix, make, values):
    for value in values:
        case('%s %r' % (prefix, value), make(value))


def syntax():
    case('least', BASE)
    case('empty file', '')
    case('no zeo', MAPPING)
    case('no storage', ZEO_SECTION)
    case('no address', '<zeo>\n</zeo>\n' + MAPPING)
    case('crlf', BASE.replace('\n', '\r\n'))
    case('tabs', BASE.replace(' ', '\t'))
    case('no newline at the end', BASE.rstrip())
    case('types and keys in capitals', BASE.upper())
    for name, line in [
        ('comment', '# <zeo'), ('indented comment', '   # x'), ('blank', '  \t '),
        ('key at top level', 'address 1'), ('key without value', 'address'), ('key=value', 'a=b'),
        ('key with parentheses', 'a(b) c'), ('parenthesis', '(a) b'), ('digit key', '1a b'),
        ('umlaut key', 'ä b'), ('directive', '%foo bar'), ('percent', '%'), ('percent blank', '% define a'),
        ('capital directive', '%Define a b'), ('open', '<zeo'), ('close', '</zeo'),
        ('close nothing', '</zeo>'), ('empty header', '<>'), ('blank header', '< >'),
        ('slash header', '</>'), ('header of three', '<mappingstorage a b>'),
        ('header with parentheses', '<mapping(storage) a>'), ('unknown type', '<foo/>'),
        ('unclosed', '<mappingstorage x>'), ('unbalanced', '<mappingstorage x>\n</zeo>'),
        ('abstract', '<ZODB.storage x/>'), ('abstract handler', '<ZConfig.logger.handler/>'),
        ('abstract database', '<zodb.database/>'),
        ('blank before the slash', '<mappingstorage x />'), ('slash name', '<mappingstorage //>'),
        ('blank in the end', '<mappingstorage x>\n</mappingstorage >'),
        ('capital end', '<mappingstorage x>\n</MappingStorage>'),
        ('section after text', '<mappingstorage x> foo'), ('end with name', '<mappingstorage x>\n</mappingstorage x>'),
        ('zodb', '<zodb/>'), ('logger', '<logger/>'), ('environment', '<environment/>'),
        ('ssl at top level', '<ssl/>'), ('logfile at top level', '<logfile/>'),
        ('zeo twice', ZEO_SECTION), ('eventlog twice', '<eventlog/>\n<eventlog/>'),
        ('runner twice', '<runner>\nprogram a\n</runner>\n' * 2),
        ('same name', '<mappingstorage x/>\n<mappingstorage X/>'),
        ('same name, other type', '<mappingstorage x/>\n<eventlog X/>'),
        ('two unnamed', '<mappingstorage/>'), ('unnamed and 1', '<mappingstorage 1/>'),
        ('dollar name', '<mappingstorage $x/>'),
    ]:
        case(name, BASE + line + '\n')


def definitions():
    for name, lines in [
        ('define', '%define a b'), ('define nothing', '%define a'), ('define no name', '%define'),
        ('define digit', '%define 1a b'), ('define dash', '%define a-b c'),
        ('define again', '%define a b\n%define a b'), ('define otherwise', '%define a b\n%define A c'),
        ('define expanded', '%define a b\n%define c $a\n%define c $a'),
        ('define unknown', '%define a $b'),
    ]:
        case(name, lines + '\n' + BASE)
    cases('substitution', lambda value: '%define p 81\n%define on true\n' + in_zeo('msgpack ' + value),
          ['$on', '${ON}', '$On', '$(JUDGE_ON)', '$$', '$', '$-', '$1', '${on', '${}', '$()', '$(on)',
           '$(judge_on)', '$nope', '${on}x', '$onx', 'x$$on', '$(JUDGE_ON', '${o n}'])
    case('define in a section', '<zeo>\n%define p 81\naddress ${p}00\n</zeo>\n' + MAPPING)
    case('include', '%include sub/one.conf\n' + MAPPING)
    case('include file url', '%include file://$(JUDGE_DIR)/sub/one.conf\n' + MAPPING)
    case('include with a blank', '%include with blank.conf\n' + ZEO_SECTION)
    case('include escaped', '%include with%20blank.conf\n' + ZEO_SECTION)
    case('include in a section', '<zeo>\n%include keys.conf\n</zeo>\n' + MAPPING)
    case('include shares definitions', '%include defines.conf\n<zeo>\naddress $fromfile\n</zeo>\n' + MAPPING)
    case('include bad', BASE + '%include bad.conf\n')
    case('include open', BASE + '%include open.conf\n')
    case('include close', '<zeo>\naddress 1\n%include close.conf\n' + MAPPING)
    case('include none', BASE + '%include none.conf\n')
    case('include fragment', BASE + '%include keys.conf#x\n')
    case('include without', BASE + '%include\n')
    for package in ['ZODB', 'ZConfig.components.logger', 'zdaemon', 'ZEO', 'no_such_package',
                    'ZODB.tests', 'ZEO.tests']:
        case('import ' + package, '%%import %s\n%%import %s\n%s' % (package, package, BASE))
    case('hexstorage', '%import ZODB.tests\n' + ZEO_SECTION
         + '<hexstorage x>\n<mappingstorage/>\n</hexstorage>\n')


def values():
    cases('boolean', lambda value: in_zeo('read-only ' + value),
          ['true', 'YES', 'On', 'off', 'No', 'FALSE', '1', '0', '', 't', 'true # x', '"true"'])
    cases('integer', lambda value: in_zeo('transaction-timeout ' + value),
          ['1', '-1', '+1', '1_000', '1__0', '_1', '007', '0x10', '1.0', '1e3', '', 'one', '1 2', '1 s'])
    cases('float', lambda value: in_zeo('invalidation-age ' + value),
          ['1', '1.5', '.5', '1e3', '-1', 'inf', '1_0.5', 'x', '', '1,5', '0x1'])
    cases('address', lambda value: '<zeo>\naddress %s\n</zeo>\n%s' % (value, MAPPING),
          ['8100', ':8100', 'host:8100', 'HOST:1', '127.0.0.1: 0', '127.0.0.1', 'localhost:', '[::1]:80',
           '::1', '::', './sock', '/tmp/a b', 'a b', 'host:x', ':70000', '70000', ':-1', '-1', 'a:b:1',
           '0', ''])
    cases('path', lambda value: in_storage('filestorage', 'path ' + value),
          ['Data.fs', './Data.fs', '/tmp/Data.fs', '/nowhere/Data.fs', '~/Data.fs', 'sub/x', 'none/x',
           'a b', '/Data.fs', '', 'sub/', '$$x'])
    cases('byte-size', lambda value: in_storage('filestorage', 'path x\nquota ' + value),
          ['1', '10kb', '10 KB', '1mb', '1Gb', '1_0kb', '1b', '1tb', '1.5mb', '', 'kb', '-1', '-1kb', '0'])
    cases('level', lambda value: '%s<eventlog>\nlevel %s\n</eventlog>\n' % (BASE, value),
          ['info', 'FATAL', 'warn', 'Warning', 'blather', 'trace', 'all', 'notset', '0', '50', '51', '-1',
           'loud', '', '2_0'])
    for key in ['foo 1', 'read_only true', 'Read-Only true', 'address 1', 'msgpack', 'msgpack yes',
                'pid-filename /nowhere/x', 'pid-filename x', 'invalidation-queue-size -1',
                'client-conflict-resolution maybe']:
        case('zeo: ' + key, in_zeo(key))
    case('named zeo', BASE.replace('<zeo>', '<zeo Foo>'))


def sections():
    cert = 'certificate c.pem\n'
    for name, lines in [
        ('least', cert + 'authenticate DYNAMIC'), ('all', cert + 'key k.pem\nauthenticate a'),
        ('nothing', ''), ('no certificate', 'authenticate a'), ('no authenticate', cert),
        ('check-hostname', cert + 'authenticate a\ncheck-hostname true'),
        ('path', 'certificate none/x\nauthenticate a'), ('twice', cert + cert + 'authenticate a'),
        ('password-function', cert + 'authenticate a\npassword-function a.b'),
        ('password-command', cert + 'authenticate a\npassword-command x'),
    ]:
        case('ssl: ' + name, in_ssl(lines))
    case('ssl twice', in_zeo('<ssl>\ncertificate c\nauthenticate a\n</ssl>\n' * 2))
    case('ssl named', in_zeo('<ssl x>\ncertificate c\nauthenticate a\n</ssl>'))
    for name, lines in [
        ('all', 'path x\nblob-dir sub/b\ncreate yes\nread-only no\nquota 1\npack-gc no\npack-keep-old no'),
        ('nothing', ''), ('create', 'path x\ncreate 1'), ('blob-dir', 'path x\nblob-dir none/b'),
        ('packer', 'path x\npacker a.b'), ('unknown', 'path x\nfoo 1'),
    ]:
        case('filestorage: ' + name, in_storage('filestorage', lines, 'A'))
    case('mappingstorage: name', in_storage('mappingstorage', 'name a b'))
    case('mappingstorage: path', in_storage('mappingstorage', 'path a'))
    inner = '<mappingstorage %s/>\n'
    for name, lines in [
        ('one', 'blob-dir b\n' + inner % ''), ('none', 'blob-dir b'), ('no dir', inner % ''),
        ('two', 'blob-dir b\n' + inner % '' * 2), ('missing dir', 'blob-dir none/b\n' + inner % 'x'),
        ('blobs twice', 'blob-dir b\n<filestorage>\npath x\nblob-dir c\n</filestorage>'),
        ('zeo inside', 'blob-dir b\n<zeo>\n</zeo>'),
    ]:
        case('blobstorage: ' + name, in_storage('blobstorage', lines, 'x'))
    for name, lines in [
        ('nothing', ''), ('name', 'name x'), ('both', inner % '' + inner % 'Changes'),
        ('two bases', inner % 'a' + inner % 'b'), ('same', inner % 'a' * 2), ('unknown', 'foo 1'),
        ('nested', '<demostorage changes/>\n<blobstorage>\nblob-dir b\n<mappingstorage/>\n</blobstorage>'),
    ]:
        case('demostorage: ' + name, in_storage('demostorage', lines, 'd'))
    for name, lines in [
        ('least', 'server 1'), ('no server', ''), ('two', 'server 1\nserver a:2'), ('bad', 'server a b'),
        ('all', 'server a:2\nblob-dir none/b\nshared-blob-dir on\nblob-cache-size 1kb\n'
                'blob-cache-size-check 7\nstorage s\ncache-size 1\nname n\nclient c\nvar none/v\n'
                'min-disconnect-poll 1\nmax-disconnect-poll 2\nwait off\nread-only on\nread-only-fallback on\n'
                'username u\nrealm r\ndrop-cache-rather-verify on\nclient-label l'),
        ('socket', 'server /s'), ('no port', 'server a'), ('wait-timeout', 'server 1\nwait-timeout 1'),
        ('server-sync', 'server 1\nserver-sync on'), ('ssl', 'server 1\n<ssl>\ncertificate c\n</ssl>'),
        ('wait', 'server 1\nwait 1'), ('cache', 'server 1\ncache-size 1tb'), ('unknown', 'server 1\nfoo 2'),
    ]:
        case('zeoclient: ' + name, in_storage('zeoclient', lines, 'z'))
    case('zeoclient: below', in_storage('demostorage', '<zeoclient>\nserver 1\n</zeoclient>', 'd'))
    for kind in ['fullstorage', 'minimalstorage']:
        case(kind, in_storage(kind, 'envdir x', 'x'))
        case(kind + ' nothing', in_storage(kind, '', 'x'))
        case(kind + ' interval', in_storage(kind, 'envdir x\ninterval 2w', 'x'))
    case('clientstorage', in_storage('clientstorage', 'server 1', 'x'))


def logs():
    for name, lines in [
        ('path', 'path l'), ('nothing', ''), ('unknown', 'path l\nfoo 1'), ('level', 'path l\nlevel 99'),
        ('level name', 'path l\nlevel ERROR'), ('stdout', 'path STDOUT'), ('stderr', 'path STDERR'),
        ('all', 'path l\nlevel 40\nformat %(message)s\ndateformat %d\nstyle classic\nencoding utf-8\ndelay on'),
        ('delay stdout', 'path STDOUT\ndelay on'), ('encode stdout', 'path STDOUT\nencoding utf-8'),
        ('rotate stdout', 'path STDOUT\nold-files 2'), ('max stdout', 'path STDOUT\nmax-size 2'),
        ('when stderr', 'path STDERR\nwhen S'), ('interval stderr', 'path STDERR\ninterval 2'),
        ('size', 'path l\nmax-size 1mb\nold-files 3'), ('size only', 'path l\nmax-size 1mb'),
        ('old only', 'path l\nold-files 3'), ('interval only', 'path l\ninterval 3'),
        ('interval, old', 'path l\ninterval 3\nold-files 1'), ('when only', 'path l\nwhen D'),
        ('time', 'path l\nwhen midnight\nold-files 3'), ('both', 'path l\nwhen D\nold-files 3\nmax-size 1'),
        ('time, interval', 'path l\nwhen W6\nold-files 3\ninterval 2'), ('when x', 'path l\nwhen x\nold-files 1'),
        ('old x', 'path l\nold-files x'), ('old -1', 'path l\nmax-size 1\nold-files -1'),
        ('style', 'path l\nstyle x'), ('style format', 'path l\nstyle Format\nformat {message}'),
        ('style template', 'path l\nstyle template\nformat $message'),
        ('style safe', 'path l\nstyle safe-template\nformat $foo'),
        ('arbitrary', 'path l\narbitrary-fields on\nformat %(foo)s'), ('arbitrary x', 'path l\narbitrary-fields 1'),
        ('formatter', 'path l\nformatter logging.Formatter'), ('encoding', 'path l\nencoding latin-1'),
        ('encoding x', 'path l\nencoding nope'),
        ('format char', 'path l\nformat %(message)q'), ('format end', 'path l\nformat %(message)s %'),
        ('format key', 'path l\nformat %(message'), ('format tail', 'path l\nformat %(message)'),
        ('format escapes', r'path l' '\n' r'format a\n\t%(msecs)03d %(message)-8s'),
        ('format empty', 'path l\nformat'), ('format number', 'path l\nformat %(lineno)05d %(created).2f'),
        ('brace end', 'path l\nstyle format\nformat {message'), ('brace lone', 'path l\nstyle format\nformat a}'),
        ('brace open', 'path l\nstyle format\nformat {message} {'), ('brace spec', 'path l\nstyle format\nformat {message:>8}'),
    ]:
        case('logfile: ' + name, in_log('logfile', lines))
    for name, lines in [
        ('nothing', ''), ('all', 'facility LOCAL3\naddress /dev/log\nformat %(message)s\nlevel error'),
        ('facility', 'facility ftp'), ('address', 'address loghost:515'), ('address x', 'address a b'),
        ('host', 'address loghost'),
    ]:
        case('syslog: ' + name, in_log('syslog', lines))
    for name, lines in [
        ('nothing', ''), ('all', 'url http://h:1/x?y#z\nmethod post'), ('method', 'method put'),
        ('https', 'url https://h/'), ('no scheme', 'url h'), ('no host', 'url http:///x'),
        ('no path', 'url http://h'), ('query', 'url http://h?x'), ('capital', 'url HTTP://h/'),
    ]:
        case('http-logger: ' + name, in_log('http-logger', lines))
    for name, lines in [
        ('least', 'from a@b\nto c@d'), ('two', 'from a\nto b\nto c\nsubject x\nsmtp-server h:1'),
        ('no to', 'from a'), ('no from', 'to a'), ('from twice', 'from a\nfrom b\nto c'),
        ('user', 'from a\nto b\nsmtp-username u'), ('password', 'from a\nto b\nsmtp-password u'),
        ('login', 'from a\nto b\nsmtp-username u\nsmtp-password p'), ('server', 'from a\nto b\nsmtp-server a b'),
        ('server port', 'from a\nto b\nsmtp-server 2525'),
    ]:
        case('email-notifier: ' + name, in_log('email-notifier', lines))
    case('win32-eventlog', in_log('win32-eventlog', 'appname x'))
    case('win32-eventlog: unknown', in_log('win32-eventlog', 'foo x'))
    case('eventlog named', BASE + '<eventlog Foo>\n</eventlog>\n')
    case('eventlog unknown', BASE + '<eventlog>\npath x\n</eventlog>\n')
    case('eventlog with storage', BASE + '<eventlog>\n<mappingstorage/>\n</eventlog>\n')


def runner():
    case('runner: nothing', BASE + '<runner>\n</runner>\n')
    cases('runner', in_runner, [
        '', 'daemon off', 'daemon 0', 'forever yes', 'backoff-limit x', 'exit-codes 0, 2,3', 'exit-codes',
        'exit-codes a', 'umask 077', 'umask 9', 'socket-name none/x/y', 'socket-name sub/x', 'directory none/x',
        'directory .', 'directory /nowhere/x', 'python /nowhere', 'python /', 'user zope', 'logfile none/x',
        'transcript x', 'prompt $', 'prompt >', 'start-timeout 1', 'stop-timeout 1.5',
        'start-test-program a b', 'hang-around off', 'default-to-interactive no', 'zdrun .', '<eventlog/>',
        '<eventlog/>\n<eventlog/>', 'foo 1', '<logger>\nname a.b\n</logger>'])


def overrides():
    for name, *specs in [
        ('address', 'zeo/address=1'), ('added', 'zeo/msgpack=on'), ('capitals', 'ZEO/Address=1'),
        ('by name', 'main/path=y'), ('by type', 'filestorage/path=y'), ('empty', 'zeo/pid-filename='),
        ('equals', 'main/path=a=b'), ('dollar', 'main/path=$x'), ('twice', 'zeo/address=1', 'zeo/address=2'),
        ('two', 'zeo/address=1', 'main/quota=1kb'), ('no value', 'zeo/address'), ('empty part', 'zeo//a=1'),
        ('no section', 'eventlog/level=1'), ('too deep', 'zeo/ssl/key=1'), ('top level', 'level=1'),
        ('unknown', 'zeo/foo=1'), ('bad value', 'zeo/msgpack=1'), ('bad section', '1/path=x'),
        ('bad key', 'zeo/1=x'), ('logfile', 'runner/program=x'),
    ]:
        case('-X ' + name, ZEO_SECTION + '<filestorage Main>\npath x\n</filestorage>\n', *specs)


OPENS_FIRST = 'Python finds it out when the storage is opened or the log is started, with a traceback'
TRACEBACK = 'Python does not catch its own error here: a traceback instead of a message'
NO_SENSE = 'Python accepts values without meaning'
PYTHON_CODE = 'names Python code'
KNOWN = {
    'import ZODB.tests': PYTHON_CODE,
    'import ZEO.tests': PYTHON_CODE,
    'import no_such_package': 'the message names the remedy',
    'hexstorage': PYTHON_CODE,
    'filestorage: packer': PYTHON_CODE,
    'ssl: password-function': PYTHON_CODE,
    'ssl: password-command': "rzeo's own key",
    'logfile: formatter': PYTHON_CODE,
    'zeoclient: wait-timeout': "rzeo's own key",
    'zeoclient: ssl': "rzeo's own section",
    'zeoclient: no port': 'Python tries to reach it for ever',
    'zeoclient: below': 'others change what is below: only served as it is',
    'fullstorage': 'nor does Python have BerkeleyDB any more: ' + OPENS_FIRST,
    'minimalstorage': 'nor does Python have BerkeleyDB any more: ' + OPENS_FIRST,
    'win32-eventlog': 'not on this system',
    'blobstorage: blobs twice': OPENS_FIRST,
    'blobstorage: none': OPENS_FIRST,
    'logfile: when x': OPENS_FIRST,
    'logfile: encoding x': OPENS_FIRST,
    'logfile: old -1': NO_SENSE,
    'demostorage: two bases': OPENS_FIRST,
    "integer '-1'": NO_SENSE,
    "float '-1'": NO_SENSE,
    'zeo: invalidation-queue-size -1': NO_SENSE,
    "byte-size '-1'": NO_SENSE,
    "byte-size '-1kb'": NO_SENSE,
}


def prepare(directory):
    (directory / 'sub').mkdir()
    for name, text in {
        'sub/one.conf': '<zeo>\n%include two.conf\n</zeo>\n',
        'sub/two.conf': 'address 8102\n',
        'with blank.conf': MAPPING,
        'keys.conf': 'address 8103\nread-only yes\n',
        'defines.conf': '%define fromfile 8104\n',
        'bad.conf': '<foo/>\n',
        'open.conf': '<mappingstorage x>\n',
        'close.conf': '</zeo>\n',
    }.items():
        (directory / name).write_text(text)


def python(path, specs):
    """The result of ZConfig for a file: an error's first line, or the sections as nested lists."""
    schema = ZConfig.loadSchema(os.path.join(os.path.dirname(ZEO.__file__), 'schema.xml'))
    try:
        config, _ = ZConfig.loadConfig(schema, path, specs)
        unnamed = [one for one in config.storages if one.name is None]
        if len(unnamed) > 1:
            return 'No more than one storage may be unnamed.', None
        if unnamed and any(one.name == '1' for one in config.storages):
            return "Can't have an unnamed storage and a storage named 1.", None
    except ZConfig.ConfigurationError as error:
        return without_place(str(error)), None
    except Exception as error:
        return 'traceback: %r' % error, None
    found = [section('zeo', config.zeo)]
    found += [storage(one) for one in config.storages]
    if config.eventlog is not None:
        found.append(eventlog(config.eventlog))
    if config.runner is not None:
        found.append(section('runner', config.runner))
    return None, found


def section(kind, value, inner=()):
    settings = {}
    for key, info in value.getSectionDefinition():
        if key and not info.issection():
            settings[key] = plain(getattr(value, info.attribute), key)
    name = value.getSectionName()
    if kind == 'zeo' and value.ssl is not None:
        inner = [section('ssl', value.ssl)]
    if kind == 'runner' and value.eventlog is not None:
        inner = [eventlog(value.eventlog)]
    return [kind, name, settings, list(inner)]


def storage(opener):
    config = opener.config
    kind = config.getSectionType()
    inner = getattr(config, 'factories', None)
    if inner is None:
        inner = [config.base] if hasattr(config, 'base') else []
    return section(kind, config, [storage(one) for one in inner if one is not None])


def eventlog(factory):
    inner = [section(one.section.getSectionType(), one.section) for one in factory.handler_factories]
    if factory.name is None:
        return ['eventlog', None, {'level': factory.level}, inner]
    settings = {'level': factory.level, 'propagate': factory.propagate, 'name': factory.name}
    return ['logger', None, settings, inner]


def plain(value, key):
    if hasattr(value, 'family'):
        value = value.address
    if isinstance(value, list) and key in ('to', 'server'):
        return [plain(one, '') for one in value]
    if isinstance(value, tuple) and key == 'url':
        return value[0] + value[1]
    if isinstance(value, tuple):
        return [value[0] or None, value[1]]
    if key in UNCOMPARED:
        return None
    return 'inf' if value == float('inf') else value


# Checked by rzeo, and without effect; or written in another way.
UNCOMPARED = {'program', 'start-test-program', 'exit-codes', 'umask', 'socket-name', 'directory', 'python',
              'zdrun', 'smtp-password', 'formatter', 'packer', 'password-command', 'format'}


def rzeo(binary, path, specs):
    command = [binary, 'config', 'check', '--json', path]
    for spec in specs:
        command += ['-X', spec]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    try:
        printed = json.loads(ran.stdout)
    except ValueError:
        return 'status %d: %s' % (ran.returncode, ran.stderr.strip()), None
    if ran.returncode != (0 if printed['ok'] else 2):
        return 'status %d' % ran.returncode, None
    if not printed['ok']:
        return without_place(printed['error']), None
    order = {'zeo': 0, 'eventlog': 2, 'runner': 3, 'rzeo': 4}
    found = [theirs(one) for one in printed['sections'] if one['type'] != 'rzeo']
    return None, sorted(found, key=lambda one: order.get(one[0], 1))


def theirs(one):
    settings = {}
    for setting in one['settings']:
        key, value = setting['key'], setting['value']
        if key in ('style', 'facility'):
            value = value.lower()
        if key == 'method':
            value = value.upper()
        if key == 'url':
            value = re.sub('(?i)^http://', '', value)
        if key in ('to', 'server'):
            value = settings.get(key, []) + [value]
        settings[key] = None if key in UNCOMPARED else value
    name = None if one['type'] == 'eventlog' else one['name']
    return [one['type'], name, settings, [theirs(inner) for inner in one['sections']]]


def without_place(message):
    first = message.splitlines()[0] if message else ''
    return re.sub(r' \((line [-<>\w ]+, .*|in -X .*)\)$', '', first)


#: The texts of rzeo in place of names of functions of Python.
PLAIN_WORDS = {
    r'^invalid literal for int\(\) with base 10: ': 'not a whole number: ',
    r'^invalid literal for int\(\) with base 8: ': 'not an octal number: ',
    r'^could not convert string to float: ': 'not a number: ',
}


def same_message(ours, other):
    """Equal, except for the system's errors about files, what rzeo adds to Python's text, and PLAIN_WORDS."""
    def key(text):
        return re.sub(r"(error opening file \S+: ).*", r'\1', text)
    for pattern, plain in PLAIN_WORDS.items():
        other = re.sub(pattern, plain, other)
    return ours is not None and (key(ours) == key(other) or ours.startswith(other + ';'))


def differs(name, text, specs, binary, directory):
    path = directory / 'tested.conf'
    path.write_text(text)
    wanted, their_sections = python(str(path), specs)
    got, our_sections = rzeo(binary, str(path), specs)
    if (wanted is None) != (got is None):
        return 'ZConfig: %s\nrzeo:    %s' % (wanted or 'accepted', got or 'accepted')
    if wanted is not None and wanted.startswith('traceback'):
        return None
    if wanted is not None and not same_message(got, wanted):
        return 'ZConfig: %s\nrzeo:    %s' % (wanted, got)
    if their_sections is not None:
        theirs_json = json.dumps(strip(their_sections), sort_keys=True)
        ours_json = json.dumps(strip(our_sections), sort_keys=True)
        if theirs_json != ours_json:
            return 'ZConfig: %s\nrzeo:    %s' % (theirs_json, ours_json)
    return None


def strip(sections):
    """Without settings that have neither a value nor a default, and the names that only a storage has."""
    return [[kind, name, {key: value for key, value in settings.items() if value is not None},
             strip(inner)] for kind, name, settings, inner in sections]


for make in (syntax, definitions, values, sections, logs, runner, overrides):
    make()


@pytest.fixture(scope='module')
def place():
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory).resolve()
        prepare(directory)
        yield directory


@pytest.mark.parametrize('name', CASES)
def test_config_check(place, rzeo, monkeypatch, name):
    # The section itself is compared; there are no certificates.
    monkeypatch.setattr(ZEO.zconfig, 'server_ssl', lambda section: section)
    monkeypatch.chdir(place)
    monkeypatch.setenv('JUDGE_ON', 'true')
    monkeypatch.setenv('JUDGE_DIR', str(place))
    monkeypatch.delenv('RZEO_TLS_KEY_PASSWORD', raising=False)
    difference = differs(name, *CASES[name], rzeo, place)
    if name in KNOWN:
        assert difference, f'a known difference is gone: {KNOWN[name]}'
    else:
        assert not difference, difference
