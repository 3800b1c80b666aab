"""Which clients' certificates are accepted: rzeo beside Python's server.

For each case, certificates, keys and revocation lists are made on the spot. A TLS context as ZEO's
server makes it (by ZEO's own code), and rzeo then meet the same client, with TLS 1.2 and with
1.3. Where they do not agree, the difference must be of a kind that support/tls_differences.py lists with its
reason; a kind that no case shows any more is a failure too.

Good chains with random mistakes are further cases; the option --random says how many.
"""
import collections
import datetime
import functools
import hashlib
import os
import random
import socket
import ssl
import subprocess
import tempfile
import threading
import types

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, ed448, padding, rsa

import pytest
import servers
import tls_differences
from ZEO import zconfig

# --- DER, by hand: the cases need certificates that no library would make ------------------------


def tlv(tag, *parts):
    body = b''.join(parts)
    size = len(body)
    if size < 128:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, 'big')
    return bytes([tag, 128 | len(length)]) + length + body


def seq(*parts):
    return tlv(0x30, *parts)


def integer(number):
    return tlv(2, number.to_bytes(number.bit_length() // 8 + 1, 'big', signed=True))


def oid(text):
    first, second, *rest = map(int, text.split('.'))
    out = b''
    for number in [40 * first + second, *rest]:
        digits = [number & 127]
        while number := number >> 7:
            digits.append(128 | number & 127)
        out += bytes(reversed(digits))
    return tlv(6, out)


def octets(data):
    return tlv(4, data)


def bits(data, unused=0):
    return tlv(3, bytes([unused]), data)


def named_bits(*numbers):
    """A bit string with these bits set"""
    if not numbers:
        return bits(b'')
    data = bytearray(max(numbers) // 8 + 1)
    for number in numbers:
        data[number // 8] |= 128 >> number % 8
    unused = 7 - max(numbers) % 8
    return bits(bytes(data), unused)


NULL = tlv(5)
TRUE = tlv(1, b'\xff')


def time(when):
    if when.year < 2050:
        return tlv(23, when.strftime('%y%m%d%H%M%SZ').encode())
    return tlv(24, b'%04d' % when.year, when.strftime('%m%d%H%M%SZ').encode())


UTF8, PRINTABLE, T61, IA5, BMP = 12, 19, 20, 22, 30


def name(*entries):
    """A name of (type, text) or (type, text, kind of string); a lone text is the common name"""
    rdns = []
    for entry in entries:
        if isinstance(entry, str):
            entry = '2.5.4.3', entry
        kind, text, tag = entry if len(entry) == 3 else (*entry, UTF8)
        encoding = {BMP: 'utf-16-be', T61: 'latin-1'}.get(tag, 'utf-8')
        rdns.append(tlv(0x31, seq(oid(kind), tlv(tag, text.encode(encoding)))))
    return seq(*rdns)


# --- keys and signatures --------------------------------------------------------------------------

HASHES = {'md5': hashes.MD5, 'sha1': hashes.SHA1, 'sha224': hashes.SHA224,
          'sha256': hashes.SHA256, 'sha384': hashes.SHA384, 'sha512': hashes.SHA512}
RSA_OIDS = {'md5': 4, 'sha1': 5, 'sha224': 14, 'sha256': 11, 'sha384': 12, 'sha512': 13}
EC_OIDS = {'sha1': '1', 'sha224': '3.1', 'sha256': '3.2', 'sha384': '3.3', 'sha512': '3.4'}
HASH_OIDS = {'sha256': '2.16.840.1.101.3.4.2.1', 'sha384': '2.16.840.1.101.3.4.2.2',
             'sha512': '2.16.840.1.101.3.4.2.3'}


class Key:

    def __init__(self, private):
        self.private = private
        public = private.public_key()
        self.spki = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.id = hashlib.sha1(self.spki).digest()

    def algorithm(self, digest, pss=False):
        if isinstance(self.private, rsa.RSAPrivateKey):
            if pss:
                hash = seq(oid(HASH_OIDS[digest]), NULL)
                mgf = seq(oid('1.2.840.113549.1.1.8'), hash)
                salt = integer(HASHES[digest].digest_size)
                return seq(oid('1.2.840.113549.1.1.10'), seq(
                    tlv(0xa0, hash), tlv(0xa1, mgf), tlv(0xa2, salt)))
            return seq(oid(f'1.2.840.113549.1.1.{RSA_OIDS[digest]}'), NULL)
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            return seq(oid('1.2.840.10045.4.' + EC_OIDS[digest]))
        edwards = '1.3.101.112' if isinstance(self.private, ed25519.Ed25519PrivateKey) else '1.3.101.113'
        return seq(oid(edwards))

    def sign(self, message, digest, pss=False):
        hash = HASHES[digest]()
        if isinstance(self.private, rsa.RSAPrivateKey):
            scheme = padding.PSS(padding.MGF1(hash), hash.digest_size) if pss else padding.PKCS1v15()
            return self.private.sign(message, scheme, hash)
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            return self.private.sign(message, ec.ECDSA(hash))
        return self.private.sign(message)

    @property
    def pem(self):
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()).decode()


@functools.cache
def key(kind, number=0):
    """A key of a kind; they are few, as making them takes time"""
    if kind.startswith('rsa'):
        return Key(rsa.generate_private_key(65537, int(kind[3:])))
    curves = {'p224': ec.SECP224R1, 'p256': ec.SECP256R1, 'p384': ec.SECP384R1,
              'p521': ec.SECP521R1, 'k256': ec.SECP256K1}
    if kind in curves:
        return Key(ec.generate_private_key(curves[kind]()))
    if kind == 'ed448':
        return Key(ed448.Ed448PrivateKey.generate())
    return Key(ed25519.Ed25519PrivateKey.generate())


# --- certificates ---------------------------------------------------------------------------------

NOW = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
DAY = datetime.timedelta(days=1)
BEFORE = NOW - 30 * DAY
AFTER = datetime.datetime(3004, 12, 18)

SIGN, ENCIPHER, AGREE, CERT_SIGN, CRL_SIGN, DECIPHER_ONLY = 0, 2, 4, 5, 6, 8
CLIENT, SERVER, ANY = '1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.1', '2.5.29.37.0'


def extension(id, value, critical=False):
    return seq(oid(id), TRUE if critical else b'', octets(value))


def basic(ca=True, length=None, critical=True):
    return extension('2.5.29.19', seq(
        TRUE if ca else b'', b'' if length is None else integer(length)), critical)


def usage(*numbers, critical=True):
    return extension('2.5.29.15', named_bits(*numbers), critical)


def purposes(*ids, critical=False):
    return extension('2.5.29.37', seq(*map(oid, ids)), critical)


def subject_id(id, critical=False):
    return extension('2.5.29.14', octets(id), critical)


def authority_id(id=None, issuer=None, serial=None, critical=False):
    return extension('2.5.29.35', seq(
        b'' if id is None else tlv(0x80, id),
        b'' if issuer is None else tlv(0xa1, tlv(0xa4, issuer)),
        b'' if serial is None else tlv(0x82, integer(serial)[2:])), critical)


def alt_names(*names, critical=False):
    return extension('2.5.29.17', seq(*(tlv(0x82, it.encode()) for it in names)), critical)


def permitted(domain):
    return extension('2.5.29.30', seq(tlv(0xa0, seq(tlv(0x82, domain.encode())))), True)


def netscape(*numbers, critical=False):
    return extension('2.16.840.1.113730.1.1', named_bits(*numbers), critical)


UNKNOWN = '1.3.9.9'


MADE = {}  # all certificates by their PEM texts


class Certificate:

    def __init__(self, der, key, subject, serial, signer, start, end):
        self.der = der
        self.key = key
        self.subject = subject
        self.serial = serial
        self.signer = signer  # the key whose signature it has, if that is right
        self.is_valid = start <= NOW <= end
        MADE[self.pem] = self

    @property
    def pem(self):
        return ssl.DER_cert_to_PEM_cert(self.der)


def certificate(subject, issuer=None, *, key, extensions=None, digest='sha256', pss=False, version=3,
                start=BEFORE, end=AFTER, serial=None, signer=None, issuer_name=None, spoil=False,
                inner=None, aki=True):
    """A certificate. Without issuer it is self-signed; without extensions it has the usual ones."""
    if isinstance(subject, str):
        subject = name(subject)
    signer = signer or (issuer.key if issuer else key)
    if extensions is None:
        extensions = [basic(False), subject_id(key.id)]
        if aki:
            extensions.append(authority_id(signer.id))
    serial = serial or random.getrandbits(100)
    algorithm = signer.algorithm(digest, pss)
    tbs = seq(
        tlv(0xa0, integer(version - 1)) if version > 1 else b'',
        integer(serial), signer.algorithm(inner) if inner else algorithm,
        issuer_name or (issuer.subject if issuer else subject),
        seq(time(start), time(end)), subject, key.spki,
        tlv(0xa3, seq(*extensions)) if extensions else b'')
    signature = signer.sign(tbs, digest, pss)
    if spoil:
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    return Certificate(seq(tbs, algorithm, bits(signature)), key, subject, serial,
                       None if spoil else signer, start, end)


def authority(subject='root', issuer=None, *, key, extensions=None, without=(), extra=(), length=None,
              **options):
    """A certificate of an authority with all that the strict rules want"""
    signer = options.get('signer') or (issuer.key if issuer else key)
    parts = {'basic': basic(length=length), 'usage': usage(CERT_SIGN, CRL_SIGN),
             'subject_id': subject_id(key.id), 'authority_id': authority_id(signer.id)}
    if extensions is None:
        extensions = [part for kind, part in parts.items() if kind not in without] + list(extra)
    return certificate(subject, issuer, key=key, extensions=extensions, **options)


def revocations(issuer, serials=(), start=BEFORE, end=AFTER, key=None, digest='sha256', extensions=None,
                entry_extensions=b'', issuer_name=None, aki=True):
    """A list of revoked certificates in PEM"""
    key = key or issuer.key
    algorithm = key.algorithm(digest)
    entries = [seq(integer(serial), time(BEFORE), entry_extensions) for serial in serials]
    if extensions is None:
        extensions = [extension('2.5.29.20', integer(1))]
        if aki:
            extensions.append(authority_id(key.id))
    tbs = seq(integer(1), algorithm, issuer_name or issuer.subject, time(start),
              time(end) if end else b'', seq(*entries) if entries else b'',
              tlv(0xa0, seq(*extensions)) if extensions else b'')
    der = seq(tbs, algorithm, bits(key.sign(tbs, digest)))
    return pem('X509 CRL', der)


def pem(tag, der):
    text = ssl.DER_cert_to_PEM_cert(der)
    return text.replace('CERTIFICATE', tag)


# --- cases ----------------------------------------------------------------------------------------


class Case:
    """What a client sends and what the server trusts.

    ``sends``: certificates, the client's own first. ``trusts``: certificates or PEM texts for a file,
    or a dict of file names for a directory. ``newer``: what the newer OpenSSL does that changed its mind (3.0.22 has, 3.0.19 has not), as rzeo does.
    """

    def __init__(self, title, sends, trusts, newer=None):
        self.title = title
        self.newer = newer
        self.sends = sends
        self.trusts = trusts

    def trusted(self):
        """The certificates among what is trusted"""
        trusts = self.trusts.values() if isinstance(self.trusts, dict) else self.trusts
        text = ''.join(it if isinstance(it, str) else it.pem for it in trusts)
        return [it for pem, it in MADE.items() if pem in text]


CASES = []


def cases(function):
    CASES.append(function)
    return function


@cases
def trusted_leaf():
    """Certificates that are themselves trusted"""
    k = key('rsa2048')
    by_hand = [subject_id(k.id), authority_id(k.id), basic()]

    def case(title, **options):
        options = {'key': k, 'extensions': by_hand, **options}
        leaf = certificate('by hand', **options)
        return Case('trusted leaf: ' + title, [leaf], [leaf])

    yield case("as ZEO's own", digest='sha1')
    yield case('MD5', digest='md5')
    yield case('SHA-224', digest='sha224')
    yield case('SHA-512', digest='sha512')
    yield case('RSA-PSS signature', pss=True)
    yield case('wrong signature', spoil=True)
    yield case('expired', end=NOW - DAY)
    yield case('not yet valid', start=NOW + DAY)
    yield case('version 1', version=1, extensions=[])
    yield case('version 1 with extensions', version=1)
    yield case('version 2', version=2, extensions=[])
    yield case('no extensions', extensions=[])
    yield case('no authority', extensions=[basic(False)])
    yield case('basic constraints not critical', extensions=[basic(critical=False)])
    yield case('path length without authority', extensions=[basic(False, 1)])
    yield case('negative path length', extensions=[basic(True, -1)])
    yield case('usage of an authority', extensions=[basic(), usage(CERT_SIGN, CRL_SIGN)])
    yield case('usage of both', extensions=[basic(), usage(SIGN, CERT_SIGN)])
    yield case('usage for agreement', extensions=[basic(False), usage(AGREE)])
    yield case('usage for ciphers', extensions=[basic(False), usage(ENCIPHER)])
    yield case('usage for deciphering only', extensions=[basic(False), usage(DECIPHER_ONLY)])
    yield case('usage for certificates without basic constraints', extensions=[usage(SIGN, CERT_SIGN)])
    yield case('empty usage', extensions=[basic(False), usage()])
    yield case('for clients', extensions=[purposes(CLIENT)])
    yield case('for servers', extensions=[purposes(SERVER)])
    yield case('for both', extensions=[purposes(SERVER, CLIENT)])
    yield case('for anything', extensions=[purposes(ANY)])
    yield case('for nothing', extensions=[purposes()])
    yield case('for clients, critical', extensions=[purposes(CLIENT, critical=True)])
    yield case('Netscape client', extensions=[netscape(0)])
    yield case('Netscape client, critical', extensions=[netscape(0, critical=True)])
    yield case('Netscape server', extensions=[netscape(1)])
    yield case('Netscape authority', extensions=[netscape(5)])
    yield case('Netscape client and authority', extensions=[netscape(0, 5)])
    yield case('unknown extension', extensions=[extension(UNKNOWN, NULL)])
    yield case('unknown critical extension', extensions=[extension(UNKNOWN, NULL, True)])
    yield case('critical key identifier', extensions=[subject_id(k.id, critical=True)])
    yield case('critical authority key identifier', extensions=[authority_id(k.id, critical=True)])
    yield case('unreadable basic constraints', extensions=[extension('2.5.29.19', b'\x30\x05')])
    yield case('unreadable key usage', extensions=[extension('2.5.29.15', NULL)])
    yield case('unreadable key identifier', extensions=[extension('2.5.29.14', NULL)])
    yield case('unreadable names', extensions=[extension('2.5.29.17', NULL)])
    yield case('basic constraints twice', extensions=[basic(), basic()])
    yield case('unknown extension twice', extensions=[extension(UNKNOWN, NULL)] * 2)
    yield case('alternative names', extensions=[alt_names('zodb.org')])
    yield case('empty alternative names', extensions=[alt_names()])
    yield case('proxy', extensions=[extension('1.3.6.1.5.5.7.1.14', seq(seq(
        oid('1.3.6.1.5.5.7.21.1'))), True)])
    yield case('policies', extensions=[extension(
        '2.5.29.32', seq(seq(oid('2.5.29.32.0'))), True)])
    yield case('needs policy', extensions=[extension('2.5.29.36', seq(tlv(0x80, b'\0')), True)])
    yield case('key identifiers that do not fit', extensions=[
        subject_id(b'one'), authority_id(b'two')])
    yield case('serial of authority does not fit', extensions=[authority_id(serial=5)])
    yield case('two algorithms', inner='sha1')
    for kind in 'rsa1024', 'rsa3072', 'p224', 'p256', 'p384', 'p521', 'k256', 'ed25519', 'ed448':
        yield case(kind, key=key(kind), extensions=[])
    yield Case('trusted leaf: no name', *[[certificate(name(), key=k)]] * 2)

    mimic = certificate('by hand', key=k, extensions=by_hand)
    real = certificate('by hand', key=k, extensions=by_hand)
    yield Case('a mimic', [mimic], [real])
    yield Case('a mimic with another key',
               [certificate('by hand', key=key('p256'), extensions=[])], [real])
    yield Case('nothing fits', [mimic], [certificate('other', key=k)])
    for number, pair in enumerate([[mimic, real], [real, mimic]]):
        yield Case(f'two trusted ones of one name, order {number}', [mimic], pair)
    yield Case('a trusted one sent with more', [real, mimic, certificate('x', key=key('p256'))], [real])


@cases
def trusted_but_issued():
    """Certificates that are trusted, but not self-signed"""
    root = authority(key=key('p256'))
    leaf = certificate('leaf', root, key=key('rsa2048'))
    yield Case('issued leaf alone', [leaf], [leaf])
    yield Case('issued leaf alone, root sent', [leaf, root], [leaf])
    yield Case('issued leaf and root', [leaf], [leaf, root])
    self_issued = certificate('leaf', key=key('rsa2048'), signer=key('rsa2048', 1))
    yield Case('issued by a key of its own name', [self_issued], [self_issued])
    no_ids = certificate('leaf', key=key('rsa2048'), signer=key('rsa2048', 1), extensions=[])
    yield Case('signed by another key of its own name', [no_ids], [no_ids])
    other_kind = certificate('leaf', key=key('rsa2048'), signer=key('p256'), extensions=[])
    yield Case('signed by another kind of key of its own name', [other_kind], [other_kind])


@cases
def one_authority():
    """A leaf by a trusted root"""
    ca = key('rsa2048')
    own = key('p256')

    def leaf(title, root=None, **options):
        root = root or authority(key=ca)
        return Case('leaf: ' + title, [certificate(
            'leaf', root, **{'key': own, **options})], [root])

    yield leaf('as it should be')
    yield leaf('root sent too')
    yield leaf('wrong signature', spoil=True)
    yield leaf('signed by another', signer=key('rsa2048', 1))
    yield leaf('signed by another, as if by the root', signer=key('rsa2048', 1),
               extensions=[authority_id(ca.id)])
    for digest in HASHES:
        yield leaf(digest, digest=digest)
    for digest in HASH_OIDS:
        yield leaf('PSS ' + digest, digest=digest, pss=True)
    yield leaf('expired', end=NOW - DAY)
    yield leaf('not yet valid', start=NOW + DAY)
    yield leaf('version 1', version=1, extensions=[])
    yield leaf('version 1 with extensions', version=1)
    yield leaf('version 2', version=2, extensions=[])
    yield leaf('no extensions', extensions=[])
    yield leaf('two algorithms', inner='sha384')
    aki = authority_id(ca.id)
    yield leaf('only authority key identifier', extensions=[aki])
    yield leaf('critical authority key identifier', extensions=[authority_id(ca.id, critical=True)])
    yield leaf('authority key identifier without key', extensions=[authority_id()])
    yield leaf('other authority key identifier', extensions=[authority_id(b'other')])
    yield leaf('authority by name and serial', root=authority(key=ca, serial=9), extensions=[
        authority_id(ca.id, name('root'), 9)])
    yield leaf('authority by wrong serial', root=authority(key=ca, serial=9), extensions=[
        authority_id(ca.id, name('root'), 10)])
    yield leaf('authority by wrong name', extensions=[authority_id(ca.id, name('other'))])
    yield leaf('an authority itself', extensions=[
        aki, basic(), usage(SIGN, CERT_SIGN), subject_id(own.id)])
    yield leaf('an authority without usage', extensions=[aki, basic(), subject_id(own.id)])
    yield leaf('an authority without key identifier', extensions=[aki, basic(), usage(SIGN, CERT_SIGN)])
    yield leaf('an authority, not critical', extensions=[
        aki, basic(critical=False), usage(SIGN, CERT_SIGN), subject_id(own.id)])
    yield leaf('usage for certificates without right', extensions=[aki, basic(False), usage(SIGN, CERT_SIGN)])
    yield leaf('path length without right', extensions=[aki, basic(False, 0)])
    yield leaf('path length of an authority', extensions=[
        aki, basic(True, 0), usage(SIGN, CERT_SIGN), subject_id(own.id)])
    yield leaf('usage for signing', extensions=[aki, usage(SIGN)])
    yield leaf('usage for agreement', extensions=[aki, usage(AGREE)])
    yield leaf('usage for ciphers', extensions=[aki, usage(ENCIPHER)])
    yield leaf('for clients', extensions=[aki, purposes(CLIENT)])
    yield leaf('for servers', extensions=[aki, purposes(SERVER)])
    yield leaf('for anything', extensions=[aki, purposes(ANY)])
    yield leaf('Netscape client', extensions=[aki, netscape(0)])
    yield leaf('Netscape server', extensions=[aki, netscape(1)])
    yield leaf('unknown extension', extensions=[aki, extension(UNKNOWN, NULL)])
    yield leaf('unknown critical extension', extensions=[aki, extension(UNKNOWN, NULL, True)])
    yield leaf('empty alternative names', extensions=[aki, alt_names()])
    yield leaf('critical alternative names', extensions=[aki, alt_names('a', critical=True)])
    root = authority(key=ca)
    for title, extensions in [
            ('no name', [aki]), ('no name, other name', [aki, alt_names('a')]),
            ('no name, critical other name', [aki, alt_names('a', critical=True)])]:
        yield Case('leaf: ' + title, [certificate(
            name(), root, key=own, extensions=extensions)], [root])
    for kind in 'rsa1024', 'rsa3072', 'p224', 'p384', 'p521', 'k256', 'ed25519', 'ed448':
        yield leaf('key ' + kind, key=key(kind))
    yield Case('leaf: not for the right root', [certificate('leaf', root, key=own)],
               [authority('other', key=key('p256'))])


@cases
def the_root():
    """What a root has to be like"""
    own = key('p256')

    def case(title, leaf=None, **options):
        root = authority(**{'key': key('rsa2048'), **options})
        return Case('root: ' + title, [certificate('leaf', root, **{'key': own, **(leaf or {})})],
                    [root])

    for part in 'basic', 'usage', 'subject_id', 'authority_id':
        yield case('without ' + part, without=[part])
    for digest in HASHES:
        yield case(digest, digest=digest)
    yield case('wrong signature', spoil=True)
    yield case('expired', end=NOW - DAY)
    yield case('not yet valid', start=NOW + DAY)
    yield case('version 1', version=1, extensions=[], leaf={'extensions': []})
    yield case('version 1 for version 1', version=1, extensions=[],
               leaf={'extensions': [], 'version': 1})
    yield case('version 2', version=2, extensions=[])
    yield case('no authority', extensions=[basic(False), subject_id(key('rsa2048').id)])
    yield case('no extensions', extensions=[])
    yield case('basic constraints not critical', without=['basic'], extra=[basic(critical=False)])
    yield case('usage without certificates', without=['usage'], extra=[usage(SIGN, CRL_SIGN)])
    yield case('usage not critical', without=['usage'], extra=[usage(CERT_SIGN, critical=False)])
    yield case('path length 0', length=0)
    yield case('for servers', extra=[purposes(SERVER)])
    yield case('for clients', extra=[purposes(CLIENT)])
    yield case('for anything', extra=[purposes(ANY)])
    yield case('Netscape authority', extra=[netscape(5)])
    yield case('Netscape client', extra=[netscape(0)])
    yield case('Netscape authority without basic constraints', without=['basic'], extra=[netscape(5)])
    yield case('unknown critical extension', extra=[extension(UNKNOWN, NULL, True)])
    yield case('two algorithms', inner='sha384')
    yield case('no name', subject=name())
    for kind, number in [('rsa1024', 0), ('rsa3072', 0), ('p224', 0), ('p256', 1), ('p384', 0),
                         ('p521', 0), ('k256', 0), ('ed25519', 0), ('ed448', 0)]:
        for digest in ['sha256', 'sha384', 'sha512'] if kind.startswith('p') else ['sha256']:
            yield case(f'{kind} {digest}', key=key(kind, number), leaf={'digest': digest})
    names = [('2.5.4.6', 'de'), ('2.5.4.10', '  Two   Words '), 'Ärger']
    same = [('2.5.4.6', 'DE', PRINTABLE), ('2.5.4.10', 'two words', IA5), ('2.5.4.3', 'Ärger', BMP)]
    latin = [*same[:2], ('2.5.4.3', 'Ärger', T61)]
    other = [*same[:2], ('2.5.4.3', 'ärger', BMP)]
    for title, names_of_issuer in [('the same', same), ('in Latin 1', latin), ('another', other)]:
        root = authority(name(*names), key=key('rsa2048'))
        yield Case('root: name is ' + title, [certificate(
            'leaf', root, key=own, issuer_name=name(*names_of_issuer))], [root])
    root = authority(key=key('rsa2048'))
    renewed = authority(key=key('rsa2048', 1))
    leaf = certificate('leaf', root, key=own, version=1, extensions=[])
    yield Case('root: renewed, expired one first', [leaf], [
        authority(key=key('rsa2048'), end=NOW - DAY), root])
    yield Case('root: expired ones only', [leaf], [
        authority(key=key('rsa2048'), end=NOW - DAY), authority(key=key('rsa2048'), end=NOW - 2 * DAY)])
    yield Case('root: by key identifier', [certificate('leaf', root, key=own)], [renewed, root])
    lone = certificate('client', key=key('rsa2048'))
    yield Case('root: a trusted client', [certificate('friend', lone, key=own)], [lone])
    yield Case('root: a trusted client sent along', [certificate('friend', lone, key=own), lone], [lone])


@cases
def between():
    """Authorities between root and leaf"""
    own, ca, sub = key('p256'), key('rsa2048'), key('rsa2048', 1)
    root = authority(key=ca)

    def case(title, sends=True, trusts=False, root=root, leaf=None, **options):
        middle = authority('between', root, **{'key': sub, **options})
        last = certificate('leaf', middle, **{'key': own, **(leaf or {})})
        return Case('between: ' + title, [last, *([middle] if sends else [])],
                    [root, *([middle] if trusts else [])])

    yield case('as it should be')
    yield case('missing', sends=False)
    yield case('trusted', sends=False, trusts=True)
    yield case('sent and trusted', trusts=True)
    for part in 'basic', 'usage', 'subject_id', 'authority_id':
        yield case('without ' + part, without=[part])
        yield case('trusted without ' + part, without=[part], trusts=True)
    for digest in HASHES:
        yield case(digest, digest=digest)
        yield case('trusted, ' + digest, digest=digest, sends=False, trusts=True)
    yield case('wrong signature', spoil=True)
    yield case('trusted with wrong signature', spoil=True, trusts=True)
    yield case('expired', end=NOW - DAY)
    yield case('not yet valid', start=NOW + DAY)
    yield case('version 1', version=1, extensions=[])
    yield case('no authority', extensions=[basic(False), authority_id(ca.id)])
    yield case('for servers', extra=[purposes(SERVER)])
    yield case('for clients', extra=[purposes(CLIENT)])
    yield case('path length 0', length=0)
    yield case('below path length 0', root=authority(key=ca, length=0))
    yield case('below path length 1', root=authority(key=ca, length=1))
    yield case('short key', key=key('rsa1024'))
    middle = authority('between', root, key=sub)
    leaf = certificate('leaf', middle, key=own)
    yield Case('between: without the root', [leaf], [middle])
    yield Case('between: without the root, root sent', [leaf, middle, root], [middle])
    yield Case('between: only the root sent', [leaf, root], [root])
    yield Case('between: untrusted root sent', [leaf, middle, root], [authority('other', key=own)])
    yield Case('between: mimic of the root sent', [leaf, middle, authority(key=ca)], [root])
    yield Case('between: the root of another key sent', [leaf, middle, authority(key=own)], [root])
    yield Case('between: wrong order', [leaf, root, certificate('x', key=own), middle], [root])
    third = authority('third', middle, key=key('p384'))
    deep = certificate('leaf', third, key=own)
    yield Case('between: two of them', [deep, third, middle], [root])
    yield Case('between: two of them, the lower trusted', [deep, middle], [root, third])
    yield Case('between: two of them, the upper trusted', [deep, third], [root, middle])
    for length in 0, 1:
        upper = authority('between', root, key=sub, length=length)
        yield Case(f'between: two of them, {length} allowed', [deep, third, upper], [root])
    same = authority('between', middle, key=key('p384'))  # self-issued: a new key of the same name
    last = certificate('leaf', same, key=own)
    upper = authority('between', root, key=sub, length=0)
    yield Case('between: self-issued below path length 0', [last, same, upper], [root])
    ring = [authority('a', key=ca, issuer_name=name('b'), signer=sub),
            authority('b', key=sub, issuer_name=name('a'), signer=ca)]
    yield Case('between: a circle', [certificate('leaf', ring[0], key=own), *ring], [root])
    yield Case('between: a trusted circle', [certificate('leaf', ring[0], key=own), *ring], ring)
    crossed = authority('between', authority('old root', key=own), key=sub)
    yield Case('between: cross-signed, the sent one leads', [leaf, middle], [root, crossed])
    yield Case('between: cross-signed, the trusted one leads', [leaf, crossed], [root, middle])
    yield Case('between: two expired and valid sent', [
        leaf, authority('between', root, key=sub, end=NOW - DAY), middle], [root])


@cases
def names():
    """Name constraints"""
    own = key('p256')
    root = authority(key=key('rsa2048'), extra=[permitted('example.org')])
    aki = authority_id(root.key.id)
    for title, extensions in [
            ('none', [aki]), ('permitted', [aki, alt_names('a.example.org')]),
            ('not permitted', [aki, alt_names('a.example.com')]),
            ('one of two', [aki, alt_names('a.example.com', 'a.example.org')])]:
        yield Case('names: ' + title, [certificate(
            'leaf', root, key=own, extensions=extensions)], [root])
    for host in 'a.example.org', 'a.example.com':
        yield Case('names: subject ' + host, [certificate(
            host, root, key=own, extensions=[aki])], [root])


@cases
def revocation():
    """Lists of revoked certificates in the file of trusted certificates"""
    own, ca = key('p256'), key('rsa2048')
    root = authority(key=ca)
    leaf = certificate('leaf', root, key=own, serial=77)

    def case(title, *args, newer=None, leaf=leaf, issuer=root, **options):
        return Case('list: ' + title, [leaf], [root, revocations(issuer, *args, **options)],
                    newer)

    yield case('empty')
    yield case('of others', [76, 78])
    yield case('revoked', [77])
    yield case('expired', end=NOW - DAY)
    yield case('revoked in an expired one', [77], end=NOW - DAY)
    yield case('not yet valid', start=NOW + DAY)
    yield case('without an end', end=None)
    yield case('by another key', key=key('rsa2048', 1), extensions=[])
    yield case('by another key as it says', key=key('rsa2048', 1))
    yield case('by another authority', issuer=authority('other', key=own))
    yield case('SHA-1', digest='sha1')
    yield case('SHA-384', digest='sha384')
    yield case('without extensions', extensions=[])
    yield case('unknown extension', extensions=[extension(UNKNOWN, NULL)])
    yield case('unknown critical extension', extensions=[extension(UNKNOWN, NULL, True)])
    yield case('taken off', [77], entry_extensions=seq(extension('2.5.29.21', tlv(10, b'\x08'))))
    yield case('key compromised', [77], entry_extensions=seq(extension('2.5.29.21', tlv(10, b'\x01'))))
    yield case('critical entry extension', [76], entry_extensions=seq(extension(UNKNOWN, NULL, True)))
    yield case('changes only', newer='refused', extensions=[extension('2.5.29.27', integer(1), True)])

    def scope(*parts):
        return [extension('2.5.29.28', seq(*parts), True)]

    def point(url):
        return tlv(0xa0, tlv(0x86, url.encode()))

    yield case('users only', extensions=scope(tlv(0x81, b'\xff')))
    yield case('authorities only', extensions=scope(tlv(0x82, b'\xff')))
    yield case('some reasons', extensions=scope(tlv(0x83, b'\x01\x40')))
    yield case('indirect', extensions=scope(tlv(0x84, b'\xff')))
    yield case('attributes only', extensions=scope(tlv(0x85, b'\xff')))
    place = scope(tlv(0xa0, point('http://a/')))
    yield case('for a place', extensions=place)
    for url in 'http://a/', 'http://b/':
        placed = certificate('leaf', root, key=own, extensions=[
            authority_id(ca.id), extension('2.5.29.31', seq(seq(tlv(0xa0, point(url)))))])
        yield case('for a place, leaf has ' + url, leaf=placed, extensions=place)
        yield case('for all places, leaf has ' + url, leaf=placed)
    yield Case('list: two, the newer revokes', [leaf], [
        root, revocations(root), revocations(root, [77], start=BEFORE + DAY)])
    yield Case('list: two, the older revokes', [leaf], [
        root, revocations(root, [77]), revocations(root, start=BEFORE + DAY)])
    yield Case('list: two, one expired', [leaf], [
        root, revocations(root, [77], start=BEFORE + DAY, end=NOW - DAY), revocations(root)])
    unsigned = authority(key=ca, without=['usage'], extra=[usage(CERT_SIGN)])
    yield Case('list: authority may not', [certificate('leaf', unsigned, key=own)],
               [unsigned, revocations(unsigned)])
    lone = certificate('lone', key=ca, extensions=[basic()])
    yield Case('list: self-signed without', [lone], [lone, root, revocations(root)])
    yield Case('list: self-signed with', [lone], [lone, revocations(lone)])
    yield Case('list: self-signed revokes itself', [lone], [lone, revocations(lone, [lone.serial])])
    middle = authority('between', root, key=key('rsa2048', 1))
    deep = certificate('leaf', middle, key=own, serial=77)
    yield Case('list: of the root, for one below', [deep, middle], [root, revocations(root)])
    yield Case('list: of the one in between', [deep, middle], [root, revocations(middle)])
    yield Case('list: the one in between is revoked', [deep, middle], [
        root, revocations(root, [middle.serial]), revocations(middle)])
    yield Case('list: alone in the file', [leaf], [revocations(root)])


@cases
def directories():
    """Hashed directories"""
    own, ca = key('p256'), key('rsa2048')
    root = authority(name(('2.5.4.6', 'de'), ('2.5.4.10', '  Two   Words '), 'Ärger'), key=ca)
    leaf = certificate('leaf', root, key=own, serial=77)
    hash = subject_hash(root)
    lone = certificate('lone', key=ca, digest='sha1', extensions=[basic()])

    def case(title, files, leaf=leaf, newer=None):
        return Case('directory: ' + title, [leaf], files, newer)

    yield case('empty', {})
    yield case('found', {hash + '.0': root.pem})
    yield case('another name', {'root.pem': root.pem})
    yield case('another number', {'00000000.0': root.pem})
    yield case('after a gap', {hash + '.1': root.pem})
    yield case('the second', {hash + '.0': lone.pem, hash + '.1': root.pem})
    yield case('after rubbish', {hash + '.0': 'rubbish', hash + '.1': root.pem}, newer='accepted')
    yield case('two in a file', {hash + '.0': lone.pem + root.pem})
    yield case('the leaf', {subject_hash(lone) + '.0': lone.pem}, lone)
    for title, revoked, end in [
            ('fine', [], AFTER), ('expired', [], NOW - DAY), ('revoked', [77], AFTER)]:
        yield case('list, ' + title, {
            hash + '.0': root.pem, hash + '.r0': revocations(root, revoked, end=end)}, leaf)


def subject_hash(certificate):
    run = subprocess.run(['openssl', 'x509', '-noout', '-subject_hash'], check=True, text=True,
                         input=certificate.pem, stdout=subprocess.PIPE)
    return run.stdout.strip()


def spoiled(seed):
    """A chain that is good but for a few things"""
    dice = random.Random(seed)

    def rarely(*choices):
        return dice.choice(choices) if dice.random() < .12 else None

    def options(kind, ca):
        out = {'key': key(kind, dice.randrange(2))}
        out['digest'] = rarely('sha1', 'md5', 'sha384', 'sha512') or 'sha256'
        if out['digest'] == 'sha512' and ca not in (None, 'rsa2048'):
            out['digest'] = 'sha256'
        if ca and ca != 'rsa2048' and out['digest'] == 'md5':
            out['digest'] = 'sha1'
        if not ca and kind != 'rsa2048' and out['digest'] in ('md5', 'sha512'):
            out['digest'] = 'sha384'
        if dice.random() < .05:
            out['end'] = NOW - DAY
        if dice.random() < .05:
            out['start'] = NOW + DAY
        if dice.random() < .04:
            out['spoil'] = True
        if dice.random() < .04:
            out['version'] = dice.choice([1, 2])
        return out

    def extras():
        return [it for it in [
            rarely(purposes(CLIENT), purposes(SERVER), purposes(ANY), purposes(SERVER, CLIENT)),
            rarely(netscape(0), netscape(5), netscape(1), netscape(0, 5)),
            rarely(extension(UNKNOWN, NULL), extension(UNKNOWN, NULL, True)),
            rarely(alt_names('a'), alt_names(), alt_names('b', critical=True))] if it]

    chain, kind = [], None
    for depth in range(dice.choice([0, 1, 1, 2, 3])):
        previous, kind = kind, dice.choice(['rsa2048', 'p256', 'p384', 'ed25519'])
        without = [part for part in ('basic', 'usage', 'subject_id', 'authority_id')
                   if dice.random() < .05]
        extra = extras()
        if 'basic' in without and dice.random() < .5:
            extra.append(rarely(basic(False), basic(critical=False)) or basic())
        if 'usage' in without and dice.random() < .5:
            extra.append(rarely(usage(SIGN), usage(CRL_SIGN)) or usage(CERT_SIGN))
        title = dice.choice(['x', 'y', 'z', f'ca {depth}', f'ca {depth}', f'ca {depth}'])
        chain.append(authority(
            title, chain[-1] if chain else None, without=without, extra=extra,
            length=rarely(0, 1, 2), **options(kind, previous)))
    own = dice.choice(['rsa2048', 'p256', 'p384', 'ed25519'])
    extensions = extras()
    if rarely(True) is None and chain:
        extensions.append(authority_id(chain[-1].key.id))
    extensions += filter(None, [
        rarely(usage(SIGN), usage(AGREE), usage(ENCIPHER), usage(SIGN, CERT_SIGN), usage(CERT_SIGN)),
        rarely(basic(), basic(critical=False), basic(False, 1), basic(True, 0)),
        rarely(subject_id(b'x'), authority_id(b'x'))])
    leaf = certificate(dice.choice(['x', 'leaf', name()]), chain[-1] if chain else None,
                       extensions=extensions, **options(own, kind))
    sends = [leaf] + [it for it in reversed(chain) if dice.random() < .8]
    trusts = [it for it in [leaf, *chain] if dice.random() < .3]
    if dice.random() < .8 and (chain or [leaf])[0] not in trusts:
        trusts.append((chain or [leaf])[0])
    if dice.random() < .15:
        issuer = dice.choice(chain or [leaf])
        trusts.append(revocations(issuer, [leaf.serial] if dice.random() < .3 else []))
    if dice.random() < .2:
        dice.shuffle(sends[1:])
    return Case(f'random {seed}', sends, trusts or [certificate('nobody', key=key('p256'))])


# --- the two servers ------------------------------------------------------------------------------

VERSIONS = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def client_context(folder, case, version):
    path = os.path.join(folder, 'client.pem')
    with open(path, 'w') as file:
        file.write(''.join(it.pem for it in case.sends) + case.sends[0].key.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers('DEFAULT:@SECLEVEL=0')  # whether it is too weak is the server's business
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(path)
    return context


def trust(folder, case):
    """The setting ``authenticate`` for a case"""
    if isinstance(case.trusts, dict):
        path = os.path.join(folder, 'trusted')
        os.mkdir(path)
        for title, text in case.trusts.items():
            with open(os.path.join(path, title), 'w') as file:
                file.write(text)
        return path
    path = os.path.join(folder, 'trusted.pem')
    with open(path, 'w') as file:
        file.write(''.join(it if isinstance(it, str) else it.pem for it in case.trusts))
    return path


def ask_python(own, authenticate, client):
    """What a context by ZEO says of a client"""
    section = types.SimpleNamespace(
        authenticate=authenticate, certificate=own, key=None, password_function=None)
    try:
        context = zconfig.server_ssl(section)
    except ssl.SSLError as error:
        return f'unusable: {error}'
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    thread = threading.Thread(target=knock, args=[theirs, client])
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


def knock(sock, context):
    """Connect, and tell whether the server says anything"""
    try:
        with sock, context.wrap_socket(sock) as wrapped:
            return wrapped.recv(1) != b''
    except OSError:
        return False


class Accept:
    """The example of the crate, a process per file of trusted certificates"""

    def __init__(self, command, own, authenticate):
        self.process = subprocess.Popen(
            [command, own, own, authenticate], stdout=subprocess.PIPE, text=True)
        self.first = self.process.stdout.readline().strip()

    def ask(self, client):
        if not self.first.isdigit():
            return self.first
        heard = knock(socket.create_connection(('127.0.0.1', int(self.first)), timeout=10), client)
        verdict = self.process.stdout.readline().strip()
        if heard != (verdict == 'accepted'):
            return f'the client heard {heard}, the server says {verdict}'
        return verdict

    def stop(self):
        self.process.kill()
        self.process.wait()


class Serve:
    """rzeo itself: whether it greets the client"""

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
        before = len(self.server.said())
        heard = knock(socket.create_connection(self.server.address, timeout=10), client)
        return 'accepted' if heard else f'refused: {self.server.said()[before:].strip()}'

    def stop(self):
        if self.server is not None:
            self.server.kill()
        self.folder.cleanup()


def compare(case, judged, own, verbose):
    """What the servers say of a case: whether it is a failure, how it ended, and a text to show"""
    with tempfile.TemporaryDirectory() as folder:
        authenticate = trust(folder, case)
        server = judged(own, authenticate)
        try:
            results = []
            for version in VERSIONS:
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
    """The cases of this file, and random ones."""
    return [case for function in CASES for case in function()] + [
        spoiled(number) for number in range(seed, seed + count)]


@pytest.fixture
def own(directory):
    """The server's own certificate with its key."""
    path = os.path.join(directory, 'server.pem')
    with open(path, 'w') as file:
        file.write(certificate('server', key=key('p256')).pem + key('p256').pem)
    return path


def compare_all(todo, compare_one):
    """Compares what both say of each case."""
    tls_differences.seen.clear()
    failures, ends = [], collections.Counter()
    for case in todo:
        for bad, end, text in compare_one(case):
            ends[end] += 1
            if bad:
                failures.append(text)
    print(f'{len(todo)} cases, {len(VERSIONS)} versions of TLS each, {tls_differences.count()} known '
          f'differences ({", ".join(f"{count} {end}" for end, count in sorted(ends.items()))})')
    assert not failures, '\n'.join(failures)
    # Refusals alone would prove little.
    assert ends['accepted']


def test_example(program, size, arguments, own):
    """The verifier of rzeo-tls, in the example `accept`."""
    tested = functools.partial(Accept, program('examples/accept'))
    compare_all(all_cases(size('random', 20, 400), arguments().seed),
                lambda case: compare(case, tested, own, False))
    assert not tls_differences.report_missing(of_servers=False)


@pytest.mark.slow
def test_server(serve, own):
    """rzeo itself."""
    tested = functools.partial(Serve, serve)
    compare_all(all_cases(0, 0), lambda case: compare(case, tested, own, False))

