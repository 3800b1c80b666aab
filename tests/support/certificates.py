"""Certificates for a test, made by the command ``openssl``.

An authority signs a certificate for ``localhost`` and one for the clients, as in a deployment
with its own authority; the keys are on a curve, because these are generated fastest.
"""
import os
import ssl
import subprocess

SERVER_NAME = 'localhost'
CURVE = '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'


class Certificates:
    """Files in ``directory``: authority, server and client"""

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        self.directory = directory
        self._openssl('req', '-x509', *CURVE, '-subj', '/CN=authority', '-days', '30',
                      '-keyout', 'authority.key', '-out', 'authority.pem',
                      '-addext', 'keyUsage=critical,keyCertSign,cRLSign')
        self._sign('server', f'subjectAltName=DNS:{SERVER_NAME},IP:127.0.0.1', 'serverAuth')
        self._sign('client', 'subjectAltName=DNS:client', 'clientAuth')
        #: The section of a server's configuration
        self.section = ['<ssl>', f"certificate {self.path('server.pem')}",
                        f"key {self.path('server.key')}",
                        f"authenticate {self.path('authority.pem')}", '</ssl>']
        self.context = ssl.create_default_context(cafile=self.path('authority.pem'))
        self.context.load_cert_chain(self.path('client.pem'), self.path('client.key'))
        #: What a ClientStorage needs
        self.options = dict(ssl=self.context, ssl_server_hostname=SERVER_NAME)

    def path(self, name):
        return os.path.join(self.directory, name)

    def wrap(self, socket):
        """A socket after the handshake"""
        return self.context.wrap_socket(socket, server_hostname=SERVER_NAME)

    def _sign(self, name, alternative, usage):
        self._openssl('req', *CURVE, '-subj', f'/CN={name}', '-keyout', f'{name}.key',
                      '-out', f'{name}.csr')
        with open(self.path(f'{name}.ext'), 'w') as f:
            f.write(f'{alternative}\nextendedKeyUsage={usage}\nkeyUsage=critical,digitalSignature\n'
                    'basicConstraints=critical,CA:FALSE\n')
        self._openssl('x509', '-req', '-in', f'{name}.csr', '-CA', 'authority.pem',
                      '-CAkey', 'authority.key', '-CAcreateserial', '-days', '30',
                      '-extfile', f'{name}.ext', '-out', f'{name}.pem')

    def _openssl(self, *words):
        done = subprocess.run(['openssl', *words], cwd=self.directory, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f'openssl {words[0]}: {done.stderr}')
