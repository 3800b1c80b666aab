"""What TLS peers send and trust: the cases of test_tls_clients.py and test_tls_servers.py.

The functions in ``CASES`` make them, each for one rule of path validation; ``spoiled`` makes random ones.
"""
import os
import random

from tls_certificates import (
    AFTER, AGREE, ANY, BEFORE, BMP, CERT_SIGN, CLIENT, CRL_SIGN, DAY, DECIPHER_ONLY, ENCIPHER,
    HASHES, HASH_OIDS, IA5, MADE, NOW, NULL, PRINTABLE, SERVER, SIGN, T61, UNKNOWN, alt_names,
    authority, authority_id, basic, certificate, extension, integer, key, name, netscape, oid,
    permitted, purposes, revocations, seq, subject_hash, subject_id, tlv, usage)


class Case:
    """What a client sends and what the server trusts.

    ``sends``: certificates, the client's own first. ``trusts``: certificates or PEM texts for a file,
    or a dict of file names and texts for a directory. ``newer``: the verdict of newer OpenSSL versions, and of
    rzeo, where an older one decides otherwise (3.0.22 is newer, 3.0.19 is older).
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

    yield leaf('valid')
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
    """Requirements on a root"""
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

    yield case('valid')
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
    yield case('by another key than it names', key=key('rsa2048', 1))
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


def spoiled(seed):
    """A valid chain with a few random mistakes"""
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
