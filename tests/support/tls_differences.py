"""Kinds of differences between rzeo and OpenSSL about certificates that are allowed.

rzeo accepts a certificate that is trusted itself, and leaves paths to authorities to webpki. A difference is
allowed if it is of a kind that is listed here:

- STRICTER: rzeo refuses, for this reason, what OpenSSL accepts.
- FORM: rzeo accepts what OpenSSL refuses only under the flag VERIFY_X509_STRICT, which ZEO sets,
  without VERIFY_X509_PARTIAL_CHAIN, which Python sets since 3.13, or because it looks beyond the trusted
  certificate. `openssl verify` with that certificate alone must accept it.
- LAXER: rzeo accepts what OpenSSL refuses also without these flags.

For every kind, a certificate that rzeo accepts must be valid now, and be trusted itself or lead to a trusted
certificate by correct signatures.
"""
import collections
import os
import re
import ssl
import subprocess

#: The versions of TLS that each case is tried with.
VERSIONS = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

STRICTER = {
    'X.509 version is not 3': 'webpki reads version 3 only',
    "authority's certificate": 'webpki takes no certificate of an authority for a connection',
    'critical extension': 'webpki supports fewer extensions',
    'encoding is invalid|webpki reports|not an X.509 certificate|a revocation list':
        'webpki and x509-parser read fewer odd encodings',
    'two different signature algorithms': 'webpki requires the same algorithm twice, also of what is trusted itself',
    'algorithm that is not supported|kind that is not supported|client sent no certificate|that this side supports':
        'ring does not have the algorithm',
    'no certificate there issued it': 'webpki compares names byte by byte',
    'allows fewer authorities': 'webpki counts self-issued authorities for path lengths',
    'revoked by a list': 'each list counts, also in a directory, and for authorities too',
    'extended key usage': 'extended key usages of another vendor do not include TLS',
    'is not for .*, but for': 'common names of issued certificates are no hosts, and some patterns are none',
}

FORM = {
    'unable to get (local )?issuer certificate|self-signed certificate':
        'a certificate that is trusted itself need not be self-signed, nor an authority a root',
    'Basic Constraints of CA cert not marked critical': 'webpki does not check this',
    'CA cert does not include key usage extension': 'webpki does not check this for authorities in between',
    'BAD_ECC_CERT': 'webpki does not use key usages',
    "Hostname mismatch.* valid for '[^']*_": 'stars match labels with underscores too',
    'CRL': 'what is trusted itself needs no list',
    'Missing (Authority|Subject) Key Identifier': 'webpki does not use key identifiers',
    'Empty Subject Alternative Name|(Issuer|Subject) (name )?empty': 'webpki does not require names',
    'invalid CA certificate|Key usage keyCertSign invalid|Path length (invalid|given without)':
        'webpki does not check this for leaves',
    'certificate is not yet valid|certificate has expired|at least X509v3|unhandled critical|unsuitable certificate purpose|chain too long|certificate signature failure|digest algorithm too weak|path length constraint':
        'a path ends at the first trusted authority',
}

LAXER = {
    'unable to get (local )?issuer certificate|self-signed certificate':
        'webpki does not use key identifiers',
    'unsuitable certificate purpose':
        'webpki does not use key usages and the Netscape type',
    'CRL is not yet valid|different CRL scope|does not include CRL signing':
        'webpki does not check this for lists and trust anchors',
    'unhandled critical extension': 'webpki does not check this for trust anchors',
    'permitted subtree violation': 'common names are no hosts',
}

# Kinds that only servers' certificates show.
OF_SERVERS = 'BAD_ECC_CERT', 'extended key usage', 'is not for .*, but for', "Hostname mismatch.* valid for '[^']*_"

seen = {}  #: how often each kind occurred


class Verdict:

    def __init__(self, text, bad):
        self.text = text
        self.bad = bad

    def __str__(self):
        return self.text


def compare(case, python, rzeo, purpose, folder, host=None):
    """The verdict about the decisions of Python and rzeo in a case"""
    paths = list(paths_of(case)) if rzeo == 'accepted' else []
    if rzeo == 'accepted' and not (paths and case.sends[0].is_valid):
        return Verdict('no path leads to a trusted certificate, or the certificate is not valid now', True)
    if python.startswith('accepted') == (rzeo == 'accepted'):
        return Verdict('they agree', False)
    if rzeo != 'accepted':
        return known(STRICTER, 'STRICTER', rzeo)
    answers = [ask_openssl(case, path, purpose, host, folder) for path in paths]
    if any(it is None for it in answers):
        return known(FORM, 'FORM', python)
    verdicts = [known(LAXER, 'LAXER', it) for it in answers]
    return min(verdicts, key=lambda it: it.bad)


def compare_all(todo, compare_one):
    """Compares the verdicts of both programs about each case; fails if one differs in an unknown way"""
    seen.clear()
    failures, ends = [], collections.Counter()
    for case in todo:
        for bad, end, text in compare_one(case):
            ends[end] += 1
            if bad:
                failures.append(text)
    print(f'{len(todo)} cases, {len(VERSIONS)} versions of TLS each, {count()} known '
          f'differences ({", ".join(f"{count} {end}" for end, count in sorted(ends.items()))})')
    assert not failures, '\n'.join(failures)
    # A test in which every case is refused proves little.
    assert ends['accepted']


def ask_openssl(case, path, purpose, host, folder):
    """Why OpenSSL without the strict rules refuses this path alone, or None"""
    def file(title, text):
        title = os.path.join(folder, title)
        with open(title, 'w') as out:
            out.write(text)
        return title

    lists = '' if isinstance(case.trusts, dict) else ''.join(it for it in case.trusts if isinstance(it, str))
    command = ['openssl', 'verify', '-partial_chain', '-purpose', purpose, '-auth_level', '2',
               '-trusted', file('end.pem', path[-1].pem),
               '-untrusted', file('between.pem', ''.join(it.pem for it in path[1:-1]) or path[0].pem)]
    if lists and len(path) > 1:
        command += ['-crl_check', '-CRLfile', file('lists.pem', lists)]
    if host and '_' not in host:
        command += ['-verify_ip' if ':' in host or host[-1].isdigit() else '-verify_hostname', host]
    run = subprocess.run([*command, file('leaf.pem', path[0].pem)], text=True, capture_output=True)
    if run.returncode == 0:
        return None
    return ' '.join(re.findall(r'error \d+ at \d+ depth lookup: (.*)', run.stdout + run.stderr)) or run.stderr


def known(kinds, title, text):
    for pattern, reason in kinds.items():
        if re.search(pattern, text):
            seen[title, pattern] = seen.get((title, pattern), 0) + 1
            return Verdict(f'known difference: {reason}', False)
    return Verdict(f'an unknown difference: {text}', True)


def paths_of(case):
    """The paths by right signatures from the leaf to a trusted certificate, which may be the leaf"""
    trusted = case.trusted()
    todo = [[case.sends[0]]]
    while todo:
        path = todo.pop()
        if path[-1] in trusted:
            yield path
        issuers = [it for it in {id(it): it for it in [*case.sends, *trusted]}.values()
                   if it.key is path[-1].signer and it not in path]
        todo += [[*path, it] for it in issuers]


def count():
    return sum(seen.values())


def report_missing(of_servers):
    """Number of kinds that the cases should have shown and did not; prints them"""
    kinds = [(title, pattern) for title, table in
             [('STRICTER', STRICTER), ('FORM', FORM), ('LAXER', LAXER)] for pattern in table]
    missing = [it for it in kinds if it not in seen and (of_servers or it[1] not in OF_SERVERS)]
    for title, pattern in missing:
        print(f'FAILED no case shows this difference any more: {title} {pattern!r}')
    return len(missing)
