"""Which servers' certificates are accepted: rzeo's client beside Python's.

The certificates are those of support/tls_cases.py, and others that differ in purpose, in the hosts that they
name, and in the place where they are trusted. For each case a TLS server, made with Python's ssl, requests a
certificate from its clients. A TLS context as ZEO's client makes it (by ZEO's own code) and rzeo's client
configuration then connect to the same server, with TLS 1.2 and with 1.3. Where they do not agree, the
difference must be of a kind that support/tls_differences.py lists.

Good chains with random mistakes are further cases; the option --random sets their number.
"""
import hashlib
import ipaddress
import os
import random
import socket
import ssl
import subprocess
import tempfile
import threading
import types

import pytest

import tls_cases
import tls_certificates as tls
import tls_differences
from ZEO import zconfig

# --- cases ----------------------------------------------------------------------------------------

HOST = 'zeo.example.org'
SGC = '1.3.6.1.4.1.311.10.3.3', '2.16.840.1.113730.4.1'


class Visit:
    """A case of tls_cases with the expected host, if any, pins, and whether the trusted certificates are
    in the system's trust store"""

    def __init__(self, case, host=None, pins=(), differs=None, system=False):
        self.title = case.title
        self.case = case
        self.host = host
        self.pins = pins
        self.system = system
        self.differs = differs


def addresses(*texts):
    return [tls.tlv(0x87, ipaddress.ip_address(text).packed) for text in texts]


def alt_names(*names):
    """Alternative names: texts for hosts, bytes for what is made already"""
    return tls.extension('2.5.29.17', tls.seq(*(
        it if isinstance(it, bytes) else tls.tlv(0x82, it.encode('latin-1')) for it in names)))


def hosts():
    """Names of hosts"""
    root = tls.authority(key=tls.key('rsa2048'))
    own = tls.key('p256')

    def case(title, host, *names, subject='server'):
        extensions = [tls.authority_id(root.key.id)]
        if names:
            extensions.append(alt_names(*names))
        leaf = tls.certificate(subject, root, key=own, extensions=extensions)
        return Visit(tls_cases.Case(f'host: {title}, {host}', [leaf], [root]), host)

    yield case('the name', HOST, HOST)
    yield case('another name', HOST, 'www.example.org')
    yield case('one of two', HOST, 'www.example.org', HOST)
    yield case('another case', HOST.upper(), HOST)
    yield case('a part of it', 'example.org', HOST)
    yield case('a dot behind', HOST, HOST + '.')
    yield case('in the subject', HOST, subject=HOST)
    yield case('in the subject in another case', HOST, subject=HOST.upper())
    for kind in tls.PRINTABLE, tls.T61, tls.IA5, tls.BMP:
        yield case(f'in the subject as {kind}', HOST, subject=tls.name(('2.5.4.3', HOST, kind)))
    yield case('in the subject, another outside', HOST, 'www.example.org', subject=HOST)
    yield case('in the subject, an address outside', HOST, *addresses('192.0.2.1'), subject=HOST)
    yield case('in the subject, mail outside', HOST, tls.tlv(0x81, b'a@b'), subject=HOST)
    yield case('in the subject, nothing outside', HOST, b'', subject=HOST)
    yield case('in the subject, an empty name outside', HOST, '', subject=HOST)
    yield case('in the subject, no ASCII outside', HOST, 'z\xebo.example.org', subject=HOST)
    yield case('the second of the subject', HOST, subject=tls.name('server', HOST))
    yield case('an organization', HOST, subject=tls.name(('2.5.4.10', HOST)))
    yield case('a NUL within', HOST, HOST + '\0.example.com')
    yield case('a NUL within the subject', HOST, subject=HOST + '\0.example.com')
    for pattern in ('*.example.org', '*.Example.ORG', '*.org', '*', '*.', '*.example.org.', 'z*.example.org',
                    '*o.example.org', 'z*o.example.org', '*.*.org', 'zeo.*.org', 'zeo.example.*',
                    'xn--*.example.org', '*.*.example.org', '*..org', '*.example-.org',
                    '.example.org', '*.exa_mple.org'):
        yield case('pattern ' + pattern, HOST, pattern)
        yield case('pattern in the subject ' + pattern, HOST, subject=pattern)
    for host in ('example.org', 'a.zeo.example.org', 'xn--zo-fka.example.org', 'a_b.example.org', 'a-b.example.org'):
        yield case('pattern *.example.org', host, '*.example.org')
    yield case('pattern of IDNA', 'a.xn--bcher-kva.example', '*.xn--bcher-kva.example')
    yield case('pattern of bad IDNA', 'a.xn---a.example', '*.xn---a.example')
    yield case('underscore', 'a_b.example.org', 'a_b.example.org')
    yield case('one label', 'localhost', 'localhost')
    for address in '127.0.0.1', '::1', '2001:db8::1':
        yield case('address', address, *addresses(address))
        yield case('another address', address, *addresses('192.0.2.1', '2001:db8::2'))
        yield case('address as a name', address, address)
        yield case('address in the subject', address, subject=address)
    yield case('an address with its mask', '192.0.2.1', tls.tlv(0x87, bytes([192, 0, 2, 1] + [255] * 4)))
    yield case('an old address as a new one', '::ffff:192.0.2.1', *addresses('192.0.2.1'))
    lone = tls.certificate(HOST, key=own)
    for host in HOST, 'localhost':
        yield Visit(tls_cases.Case(f'host: trusted as itself, {host}', [lone], [lone]), host)


def purposes():
    """What servers' certificates are for"""
    root = tls.authority(key=tls.key('rsa2048'))
    for kind in 'rsa2048', 'p256', 'ed25519':
        for title, extra in [
                ('servers', [tls.purposes(tls.SERVER)]), ('clients', [tls.purposes(tls.CLIENT)]),
                ('anything', [tls.purposes(tls.ANY)]), ('nothing', [tls.purposes()]),
                *(('gated cryptography', [tls.purposes(id)]) for id in SGC),
                ('usage for signing', [tls.usage(tls.SIGN)]), ('usage for ciphers', [tls.usage(tls.ENCIPHER)]),
                ('usage for agreement', [tls.usage(tls.AGREE)]),
                ('usage for ciphers and signing', [tls.usage(tls.SIGN, tls.ENCIPHER)]),
                ('usage for lists', [tls.usage(tls.CRL_SIGN)]),
                ('Netscape client', [tls.netscape(0)]), ('Netscape server', [tls.netscape(1)]),
                ('Netscape authority', [tls.netscape(5)])]:
            leaf = tls.certificate('server', root, key=tls.key(kind, 1), extensions=[
                tls.authority_id(root.key.id), *extra])
            yield Visit(tls_cases.Case(f'purpose: {title}, {kind}', [leaf], [root]))
    for title, id in ('servers', tls.SERVER), ('clients', tls.CLIENT), ('gated cryptography', SGC[0]):
        middle = tls.authority('between', root, key=tls.key('rsa2048', 1), extra=[tls.purposes(id)])
        leaf = tls.certificate('server', middle, key=tls.key('p256'))
        yield Visit(tls_cases.Case('purpose: authority for ' + title, [leaf, middle], [root]))


def system():
    """The system's trust store"""
    root = tls.authority(key=tls.key('rsa2048'))
    leaf = tls.certificate(HOST, root, key=tls.key('p256'), serial=77)
    hash = tls.subject_hash(root)

    def case(title, trusts):
        return Visit(tls_cases.Case('system: ' + title, [leaf], trusts), HOST, system=True)

    yield case('file', [tls.authority('other', key=tls.key('p256')), root])
    yield case('file without it', [tls.authority('other', key=tls.key('p256'))])
    yield case('file with lists', [root, tls.revocations(root)])
    yield case('file with lists, revoked', [root, tls.revocations(root, [77])])
    yield case('directory', {hash + '.0': root.pem})
    yield case('directory without it', {'root.pem': root.pem})


def pins():
    """Pinned certificates, for which Python's client has no setting: the table has the expected verdicts"""
    root = tls.authority(key=tls.key('rsa2048'))
    leaf, other = (tls.certificate(HOST, root, key=tls.key('p256', number)) for number in range(2))
    old = tls.certificate(HOST, root, key=tls.key('p256'), end=tls.NOW - tls.DAY)
    lone = tls.certificate('lone', key=tls.key('p256'))
    differs = 'only rzeo has pins'
    for title, sends, pinned, trusts, differs in [
            ('itself', leaf, [leaf], other, differs), ('another', leaf, [other], root, differs),
            ('another of a trusted one', lone, [other], lone, differs),
            ('one of two', leaf, [other, leaf], other, differs), ('expired', old, [old], root, differs),
            ('self-signed', lone, [lone], lone, None), ('its issuer', leaf, [root], root, differs)]:
        yield Visit(tls_cases.Case('pin: ' + title, [sends], [trusts]),
                    pins=[hashlib.sha256(it.der).hexdigest() for it in pinned], differs=differs)


def spoiled(seed):
    """A random case of tls_cases, with a host"""
    dice = random.Random(f'host {seed}')
    return Visit(tls_cases.spoiled(seed), dice.choice([None, None, 'leaf', 'a', 'x']))


# --- the two clients ------------------------------------------------------------------------------


class Server:
    """A server for one case and version, for any number of clients"""

    def __init__(self, folder, case, version, clients):
        path = os.path.join(folder, 'server.pem')
        with open(path, 'w') as file:
            file.write(''.join(it.pem for it in case.sends) + case.sends[0].key.pem)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_ciphers('DEFAULT:@SECLEVEL=0')  # the clients decide what is too weak
        self.context.minimum_version = self.context.maximum_version = version
        self.context.load_cert_chain(path)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(clients)
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.stopped = False
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            sock, _ = self.listener.accept()
            with sock:
                if self.stopped:
                    return
                sock.settimeout(10)
                try:
                    with self.context.wrap_socket(sock, server_side=True) as wrapped:
                        if wrapped.getpeercert(True):
                            wrapped.sendall(b'+')
                            wrapped.recv(1)
                except OSError:
                    pass

    def stop(self):
        # One more connection wakes the thread, which then sees that it is stopped.
        self.stopped = True
        socket.create_connection(('127.0.0.1', self.port)).close()
        self.thread.join()
        self.listener.close()


def ask_python(port, own, authenticate, visit):
    """The verdict of a context made by ZEO about a server"""
    section = types.SimpleNamespace(
        authenticate=None if visit.system else authenticate, certificate=own, key=None, password_function=None,
        check_hostname=visit.host is not None, server_hostname=visit.host)
    try:
        context, name = zconfig.client_ssl(section)
    except ssl.SSLError as error:
        return f'unusable: {error}'
    try:
        with socket.create_connection(('127.0.0.1', port), timeout=10) as sock:
            with context.wrap_socket(sock, server_hostname=name) as wrapped:
                return 'accepted' if wrapped.recv(1) == b'+' else 'refused: the server sends nothing'
    except ssl.SSLCertVerificationError as error:
        return f'refused: {error.verify_message}'
    except OSError as error:
        return f'refused: {error}'


class Connect:
    """The example `connect` of rzeo-tls, in one process for each case"""

    def __init__(self, command, own, authenticate, visit):
        check = ['any', 'localhost'] if visit.host is None else ['check', visit.host]
        self.process = subprocess.Popen(
            [command, '-' if visit.system else authenticate, own, *check, *visit.pins], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.first = self.process.stdout.readline().strip()

    def ask(self, port):
        if self.first != 'ready':
            return self.first
        self.process.stdin.write(f'{port}\n')
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def stop(self):
        self.process.kill()
        self.process.communicate()


def judged(visit, python, rzeo, folder):
    """Whether the verdicts of both clients are as expected"""
    if not visit.pins:
        return tls_differences.compare(visit.case, python, rzeo, 'sslserver', folder, visit.host)
    agree = python.startswith('accepted') == (rzeo == 'accepted')
    return tls_differences.Verdict(visit.differs or 'they should agree', agree == bool(visit.differs))


def compare(visit, command, own, verbose):
    """The verdicts of both clients about a case: whether it is a failure, how it ended, and a text to show"""
    with tempfile.TemporaryDirectory() as folder:
        authenticate = tls_cases.trust(folder, visit.case)
        if visit.system:
            nowhere = os.path.join(folder, 'nowhere')
            is_file = os.path.isfile(authenticate)
            os.environ['SSL_CERT_FILE'] = authenticate if is_file else nowhere
            # More than one directory may be named.
            os.environ['SSL_CERT_DIR'] = nowhere if is_file else f'{nowhere}:{authenticate}'
        client = Connect(command, own, authenticate, visit)
        try:
            results = []
            for version in tls_differences.VERSIONS:
                try:
                    server = Server(folder, visit.case, version, own)
                except ssl.SSLError:
                    return [(False, 'not sent', f'{visit.title}: OpenSSL cannot send it' * verbose)]
                try:
                    python = visit.case.newer or ask_python(server.port, own, authenticate, visit)
                    rzeo = client.ask(server.port)
                    verdict = judged(visit, python, rzeo, folder)
                finally:
                    server.stop()
                results.append((verdict.bad, rzeo.split(':')[0], f'''{visit.title}, {version.name}
    Python: {python}
    rzeo:   {rzeo}
    {verdict}''' * (verdict.bad or verbose)))
            return results
        finally:
            client.stop()


@pytest.fixture
def own(directory):
    """The client's own certificate with its key."""
    path = os.path.join(directory, 'client.pem')
    with open(path, 'w') as file:
        file.write(tls.certificate('client', key=tls.key('p256')).pem + tls.key('p256').pem)
    return path


def test_example(program, size, arguments, monkeypatch, own):
    """The verifier of rzeo-tls, in the example `connect`."""
    monkeypatch.setenv('SSL_CERT_FILE', '')
    monkeypatch.setenv('SSL_CERT_DIR', '')
    command, seed = program('examples/connect'), arguments().seed
    todo = [Visit(case) for function in tls_cases.CASES for case in function()]
    todo += [*hosts(), *purposes(), *system(), *pins()]
    todo += [spoiled(number) for number in range(seed, seed + size('random', 20, 150))]
    tls_differences.compare_all(todo, lambda visit: compare(visit, command, own, False))
    assert not tls_differences.report_missing(of_servers=True)

