"""The destinations of an <eventlog>: syslog, a web server, a mail server and rotated files.

runzeo and rzeo start with the same configuration, listen, and stop. Each destination must get the same from
both, in the same order, except for process ids, times, source files and threads.
"""
import collections
import http.server
import os
import pathlib
import re
import shlex
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import urllib.parse

import pytest

CONFIG = '''
<zeo>
  address 127.0.0.1:0
</zeo>
<mappingstorage>
  name memory
</mappingstorage>
<eventlog>
  <http-logger>
    url http://127.0.0.1:{http}/log?a=b
    method {method}
  </http-logger>
  <syslog>
    address 127.0.0.1:{syslog}
    facility local3
  </syslog>
  <syslog>
    address {directory}/devlog
    style format
    format {{levelname:<8}}|{{message}}
  </syslog>
  <email-notifier>
    from ZEO <zeo@example.org>
    to root@example.org
    to b@example.org
    smtp-server 127.0.0.1:{smtp}
    format %(name)s %(message)s
  </email-notifier>
  <logfile>
    path plain
    style template
    format $$levelname $${{name}} $$message
  </logfile>
  <logfile>
    path sized
    max-size 130
    old-files 3
    format %(message)s
  </logfile>
</eventlog>
'''


class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        length = int(self.headers.get('Content-Length', 0))
        body = self.rfile.read(length).decode()
        kind = self.headers.get('Content-Type')
        self.server.received.append((self.command, self.path, kind, body))
        self.send_response(404)
        self.send_header('Content-Length', '0')
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *args):
        pass


class Mail(socketserver.StreamRequestHandler):
    def handle(self):
        self.reply('220 test')
        received = []
        for line in self.rfile:
            command = line.decode().strip()
            if command.upper().startswith('DATA'):
                self.reply('354 go')
                text = []
                while (line := self.rfile.readline()) != b'.\r\n':
                    text.append(line.decode())
                received.append(''.join(text))
                self.reply('250 ok')
            elif command.upper() == 'QUIT':
                self.reply('221 bye')
                break
            else:
                if not command.upper().startswith('EHLO'):
                    received.append(re.sub(r' size=\d+', '', command, flags=re.I).upper())
                self.reply('250 ok')
        self.server.received.append(received)

    def reply(self, line):
        self.wfile.write(line.encode() + b'\r\n')


def serve(handler, kind):
    server = kind(('127.0.0.1', 0), handler)
    server.received = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def packets(*sockets):
    """The packets that arrived, read until there are no more."""
    received = []
    for one in sockets:
        one.setblocking(False)
        found = []
        while True:
            try:
                found.append(one.recv(65536).decode())
            except BlockingIOError:
                break
        received.append(found)
    return received


def run(command, method):
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory).resolve()
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(('127.0.0.1', 0))
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        unix.bind(str(directory / 'devlog'))
        web, mail = serve(Web, http.server.HTTPServer), serve(Mail, socketserver.TCPServer)
        (directory / 'c').write_text(CONFIG.format(
            http=web.server_address[1], smtp=mail.server_address[1], method=method,
            syslog=udp.getsockname()[1], directory=directory))
        environment = {**os.environ, 'PYTHONWARNINGS': 'ignore'}
        ran = subprocess.run(command + ['-C', 'c', '--test'], cwd=directory, capture_output=True,
                             text=True, timeout=120, env=environment)
        assert ran.returncode == 0, ran.stderr
        for server in (web, mail):
            # Waits for the last request, which may end after the program.
            server.shutdown()
            server.server_close()
        found = collections.OrderedDict()
        found['syslog'], found['syslog socket'] = packets(udp, unix)
        found['web'] = [form(*one) for one in web.received]
        found['mail'] = [[header(line) for line in one] for one in mail.received]
        for path in sorted(directory.iterdir()):
            if path.name.startswith(('plain', 'sized')):
                found[path.name] = path.read_text()
        return {name: alike(value) for name, value in found.items()}


def form(method, path, kind, body):
    """The fields of a record; the values only where they do not depend on the program."""
    path, _, query = path.partition('?')
    pairs = urllib.parse.parse_qsl(body or query, keep_blank_values=True)
    fields = dict(pairs)
    kept = {key: fields[key] for key in ('name', 'levelname', 'levelno', 'processName', 'exc_info')}
    # Some of Python's callers pass False for exc_info, others None.
    kept['exc_info'] = kept['exc_info'].replace('False', 'None')
    if fields['name'] == 'ZEO.runzeo':
        kept['msg'] = fields['msg']
    return [method, path, query if body else '', kind, [key for key, _ in pairs], kept]


def header(text):
    return re.sub(r'(?m)^Date: .*$', 'Date: ...', text.replace('\r\n', '\n'))


def alike(value):
    if isinstance(value, str):
        value = re.sub(r"\('127.0.0.1', \d+\)", "('127.0.0.1', PORT)", value)
        return re.sub(r"\(\d+\) ", '(PID) ', value)
    if isinstance(value, dict):
        return {key: alike(one) for key, one in value.items()}
    if isinstance(value, list):
        return [alike(one) for one in value]
    return value


@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_event_log(serve, method):
    """Each of the files and each destination gets the same from both programs."""
    theirs = run([sys.executable, '-m', 'ZEO.runzeo'], method)
    assert run(shlex.split(serve), method) == theirs
