"""Which clients' certificates are accepted: rzeo beside Python's server.

support/tls_cases.py makes certificates, keys and revocation lists for each case. A TLS context that ZEO's own
code makes for its server, and rzeo, then accept or refuse the same client, with TLS 1.2 and with 1.3. Where
they do not agree, the difference must be of a kind that support/tls_differences.py lists with its reason; a
kind that no case shows any more is a failure too.

Good chains with random mistakes are further cases; the option --random sets their number.
"""
import functools
import os
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import types

import pytest
import servers
import tls_cases
import tls_differences
from tls_certificates import certificate, key
from ZEO import zconfig

#: Seconds until the server must have logged why it refused a client.
PATIENCE = 10

# --- the two servers ------------------------------------------------------------------------------

def client_context(folder, case, version):
    path = os.path.join(folder, 'client.pem')
    with open(path, 'w') as file:
        file.write(''.join(it.pem for it in case.sends) + case.sends[0].key.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers('DEFAULT:@SECLEVEL=0')  # the server decides what is too weak
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(path)
    return context


def ask_python(own, authenticate, client):
    """The verdict of a context made by ZEO about a client"""
    section = types.SimpleNamespace(
        authenticate=authenticate, certificate=own, key=None, password_function=None)
    try:
        context = zconfig.server_ssl(section)
    except ssl.SSLError as error:
        return f'unusable: {error}'
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    thread = threading.Thread(target=is_served, args=[theirs, client])
    thread.start()
    try:
        with ours, context.wrap_socket(ours, server_side=True) as wrapped:
            wrapped.sendall(b'+')
            return 'accepted'
    except ssl.SSLCertVerificationError as error:
        return f'refused: {error.verify_message}'
    except (ssl.SSLError, OSError) as error:
        return f'refused: {error}'
    finally:
        ours.close()
        thread.join()


def is_served(sock, context):
    """Connects; returns whether the server sends a byte"""
    try:
        with sock, context.wrap_socket(sock) as wrapped:
            return wrapped.recv(1) != b''
    except OSError:
        return False


class Accept:
    """The example `accept` of rzeo-tls, in one process for each file of trusted certificates"""

    def __init__(self, command, own, authenticate):
        self.process = subprocess.Popen(
            [command, own, own, authenticate], stdout=subprocess.PIPE, text=True)
        self.first = self.process.stdout.readline().strip()

    def ask(self, client):
        if not self.first.isdigit():
            return self.first
        answered = is_served(socket.create_connection(('127.0.0.1', int(self.first)), timeout=10), client)
        verdict = self.process.stdout.readline().strip()
        if answered != (verdict == 'accepted'):
            return f'the client {"got an" if answered else "got no"} answer, the server reports {verdict}'
        return verdict

    def stop(self):
        self.process.kill()
        self.process.wait()


class Serve:
    """rzeo itself; a client is accepted if the server sends its greeting"""

    def __init__(self, command, own, authenticate):
        self.folder = tempfile.TemporaryDirectory()
        self.server = None
        settings = ['<ssl>', f'certificate {own}', f'authenticate {authenticate}', '</ssl>']
        try:
            self.server = servers.Server(
                command, os.path.join(self.folder.name, 'server'), settings=settings,
                storages='<mappingstorage>\n</mappingstorage>\n')
        except servers.ServerFailed as error:
            self.problem = f'unusable: {error}'

    def ask(self, client):
        if self.server is None:
            return self.problem
        before = len(self.server.log_text())
        answered = is_served(socket.create_connection(self.server.address, timeout=10), client)
        return 'accepted' if answered else f'refused: {self.reason(before)}'

    def reason(self, before):
        """The log after this number of characters; the client may see the end before it is written."""
        deadline = time.monotonic() + PATIENCE
        while True:
            log = self.server.log_text()[before:]
            if log.endswith('\n') or time.monotonic() > deadline:
                return log.strip()
            time.sleep(.005)

    def stop(self):
        if self.server is not None:
            self.server.kill()
        self.folder.cleanup()


def compare(case, judged, own, verbose):
    """The verdicts of both servers about a case: whether it is a failure, how it ended, and a text to show"""
    with tempfile.TemporaryDirectory() as folder:
        authenticate = tls_cases.trust(folder, case)
        server = judged(own, authenticate)
        try:
            results = []
            for version in tls_differences.VERSIONS:
                try:
                    client = client_context(folder, case, version)
                except ssl.SSLError:
                    return [(False, 'not sent', f'{case.title}: OpenSSL cannot send it' * verbose)]
                python = case.newer or ask_python(own, authenticate, client)
                rzeo = server.ask(client)
                verdict = tls_differences.compare(case, python, rzeo, 'sslclient', folder)
                results.append((verdict.bad, rzeo.split(':')[0], f'''{case.title}, {version.name}
    Python: {python}
    rzeo:   {rzeo}
    {verdict}''' * (verdict.bad or verbose)))
            return results
        finally:
            server.stop()


def all_cases(count, seed):
    """The cases of tls_cases, and random ones."""
    return [case for function in tls_cases.CASES for case in function()] + [
        tls_cases.spoiled(number) for number in range(seed, seed + count)]


@pytest.fixture
def own(directory):
    """The server's own certificate with its key."""
    path = os.path.join(directory, 'server.pem')
    with open(path, 'w') as file:
        file.write(certificate('server', key=key('p256')).pem + key('p256').pem)
    return path


def test_example(program, size, arguments, own):
    """The verifier of rzeo-tls, in the example `accept`."""
    tested = functools.partial(Accept, program('examples/accept'))
    tls_differences.compare_all(all_cases(size('random', 20, 150), arguments().seed),
                                lambda case: compare(case, tested, own, False))
    assert not tls_differences.report_missing(of_servers=False)


@pytest.mark.slow
def test_server(serve, own):
    """rzeo itself."""
    tested = functools.partial(Serve, serve)
    tls_differences.compare_all(all_cases(0, 0), lambda case: compare(case, tested, own, False))

