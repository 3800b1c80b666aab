"""X.509 certificates, keys and revocation lists for tests, written as DER without a library.

The tests need certificates that no library makes: wrong signatures, unreadable extensions, old versions.
Keys and signatures come from the package cryptography.
"""
import datetime
import functools
import hashlib
import random
import ssl
import subprocess

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, ed448, padding, rsa

# --- DER -------------------------------------------------------------------------------------------


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


MADE = {}  #: all certificates by their PEM texts


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
    """A certificate of an authority with all that the strict rules require"""
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


def subject_hash(certificate):
    """The name of a certificate's file in a hashed directory, without the number"""
    run = subprocess.run(['openssl', 'x509', '-noout', '-subject_hash'], check=True, text=True,
                         input=certificate.pem, stdout=subprocess.PIPE)
    return run.stdout.strip()
