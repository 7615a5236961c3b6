"""Keys and X.509 certificates (RFC 5280): an authority, and what it signs for devices. Pure but for entropy; ``now`` is an argument."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from netd.model.certificate import KeyAlgorithm, Revocation, RevocationReason

AUTHORITY_DAYS: Final = 3650
RSA_BITS: Final = 2048
NAME_MOST: Final = 64
"""What a common name holds (RFC 5280, ub-common-name)."""

BEFORE: Final = timedelta(minutes=10)
"""A certificate is good from a little earlier on: clocks of devices that have just started are late."""

_REASONS: Final[Mapping[RevocationReason, x509.ReasonFlags]] = {
    "key_compromise": x509.ReasonFlags.key_compromise, "affiliation_changed": x509.ReasonFlags.affiliation_changed, "superseded": x509.ReasonFlags.superseded,
    "cessation_of_operation": x509.ReasonFlags.cessation_of_operation,
}  # fmt: skip

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
E = TypeVar("E", bound=x509.ExtensionType)


class Pair(NamedTuple):
    """A certificate and its private key, in PEM; never printed."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "Pair()"


class Shown(NamedTuple):
    """What is kept of a certificate beside itself; serial number and SHA-256 in hex."""

    subject: str
    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime


def shown(pem: str) -> Shown:
    """Read it back. Raises ValueError."""
    found = x509.load_pem_x509_certificate(pem.encode())
    digest = hashlib.sha256(found.public_bytes(serialization.Encoding.DER)).hexdigest()
    return Shown(found.subject.rfc4514_string(), f"{found.serial_number:x}", digest, found.not_valid_before_utc, found.not_valid_after_utc)


def authority(name: str, now: datetime) -> Pair:
    """An authority of its own: a key on P-256 and a certificate that it signs itself, for ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:NAME_MOST])])
    public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        _begun(subject, subject, key, now, now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(public, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(_pem(made), _key_pem(key))


def supplied(certificate: str, key: str, now: datetime) -> Pair:
    """An operator's authority, looked at. Raises ValueError, saying what is wrong with it."""
    try:
        found, *others = x509.load_pem_x509_certificates(certificate.encode())
        opened = serialization.load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # the library's text may quote what it was given
        raise ValueError("are no certificate and unencrypted private key in PEM") from None
    if not isinstance(opened, Key):
        raise ValueError("have a key that is neither RSA nor on an elliptic curve")
    if opened.public_key() != found.public_key():
        raise ValueError("do not belong together: the key is another's")
    if others:  # devices get the one that signed, and nobody is told that a chain went missing
        raise ValueError("have more than one certificate: only that of the authority that signs is meant")
    constraints, usage = _extension(found, x509.BasicConstraints), _extension(found, x509.KeyUsage)
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        raise ValueError("are no authority's: the certificate may not sign others")
    if not found.not_valid_before_utc <= now < found.not_valid_after_utc:
        raise ValueError(f"are good from {found.not_valid_before_utc:%Y-%m-%d} to {found.not_valid_after_utc:%Y-%m-%d}, not now")
    return Pair(_pem(found), _key_pem(opened))


def key(algorithm: KeyAlgorithm) -> str:
    """A private key, in PEM. One of RSA takes a tenth of a second, and sometimes a whole one."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()) if algorithm == "ec" else rsa.generate_private_key(65537, RSA_BITS))


def issue(by: Pair, names: Sequence[str], serial: str, key: str, now: datetime, days: int, list_url: str = "") -> Pair:
    """A certificate for a device with this key, as server and as client: the first of ``names`` (host names and addresses) is whose it is, ``serial`` its
    device's serial number ("": not known), ``list_url`` where it is looked up whether it is good yet. It ends with the authority's at the latest. Raises
    ValueError for a name that no certificate can have."""
    signer = x509.load_pem_x509_certificate(by.certificate.encode())
    signing = serialization.load_pem_private_key(by.key.encode(), None)
    own = serialization.load_pem_private_key(key.encode(), None)
    assert isinstance(signing, Key) and isinstance(own, Key)
    whose = [x509.NameAttribute(NameOID.COMMON_NAME, names[0][:NAME_MOST])]
    if serial:
        whose.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial[:NAME_MOST]))
    until = min(now + timedelta(days=days), signer.not_valid_after_utc)
    begun = (
        _begun(x509.Name(whose), signer.subject, own, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False, enciphers=isinstance(own, rsa.RSAPrivateKey)), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(each) for each in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(_issuer(signer), critical=False)
    )
    if list_url:
        place = x509.DistributionPoint([x509.UniformResourceIdentifier(list_url)], None, None, None)
        begun = begun.add_extension(x509.CRLDistributionPoints([place]), critical=False)
    return Pair(_pem(begun.sign(signing, hashes.SHA256())), key)


def signs_lists(authority_pem: str) -> bool:
    """Whether the authority may sign lists of revoked certificates."""
    usage = _extension(x509.load_pem_x509_certificate(authority_pem.encode()), x509.KeyUsage)
    return usage is None or usage.crl_sign


def revocation_list(by: Pair, number: int, revoked: Sequence[Revocation], now: datetime, until: datetime) -> bytes:
    """The authority's list (RFC 5280 5) in DER, the so many-th of it; there will be another one before ``until``."""
    signer = x509.load_pem_x509_certificate(by.certificate.encode())
    signing = serialization.load_pem_private_key(by.key.encode(), None)
    assert isinstance(signing, Key)
    begun = x509.CertificateRevocationListBuilder().issuer_name(signer.subject).last_update(now - BEFORE).next_update(until)
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(int(each.serial, 16)).revocation_date(each.revoked_at)
        if each.reason in _REASONS:  # unspecified is not said (RFC 5280 5.3.1)
            entry = entry.add_extension(x509.CRLReason(_REASONS[each.reason]), critical=False)
        begun = begun.add_revoked_certificate(entry.build())
    made = begun.add_extension(_issuer(signer), critical=False).add_extension(x509.CRLNumber(number), critical=False).sign(signing, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def armoured(revocation_list: bytes) -> str:
    """A list in PEM."""
    return x509.load_der_x509_crl(revocation_list).public_bytes(serialization.Encoding.PEM).decode()


def signed_by(pem: str, authority_pem: str) -> bool:
    """Whether the authority signed it."""
    try:
        x509.load_pem_x509_certificate(pem.encode()).verify_directly_issued_by(x509.load_pem_x509_certificate(authority_pem.encode()))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _begun(subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, until: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - BEFORE).not_valid_after(until)
    )  # fmt: skip


def _name(text: str) -> x509.GeneralName:
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return x509.DNSName(text.encode("idna").decode() if not text.isascii() else text)
    return x509.IPAddress(address)


def _issuer(signer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    known = _extension(signer, x509.SubjectKeyIdentifier)
    if known is not None:
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())  # type: ignore[arg-type]


def _extension(of: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return of.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _usage(*, signs: bool, enciphers: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=enciphers, data_encipherment=False, key_agreement=False, key_cert_sign=signs,
        crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: Key) -> str:
    # Who needs RSA is old, and takes an RSA key in its own form only.
    form = serialization.PrivateFormat.TraditionalOpenSSL if isinstance(key, rsa.RSAPrivateKey) else serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
