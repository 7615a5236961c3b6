"""Certificates, as OpenSSL sees them."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from netd.domain import pki
from netd.domain.pki import Pair
from netd.model.certificate import Revocation

NOW = datetime.now(UTC)
NAMES = ["cpe1.example.net", "192.0.2.7", "2001:db8::7"]


def openssl(program: str, *arguments: str | Path) -> str:
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.parametrize("algorithm", ["ec", "rsa"])
def test_openssl_verifies_the_chain(algorithm, tmp_path, require_peer):
    program = require_peer("openssl")
    ca = pki.authority("netd", NOW)
    made = pki.issue(ca, NAMES, "SN7", pki.key(algorithm), NOW, 365)
    for name, text in (("ca", ca.certificate), ("crt", made.certificate), ("key", made.key)):
        (tmp_path / name).write_text(text)
    for purpose in ("sslserver", "sslclient"):
        assert openssl(program, "verify", "-x509_strict", "-purpose", purpose, "-CAfile", tmp_path / "ca", tmp_path / "crt").endswith("OK\n")
    assert openssl(program, "x509", "-in", tmp_path / "crt", "-noout", "-pubkey") == openssl(program, "pkey", "-in", tmp_path / "key", "-pubout")
    text = openssl(program, "x509", "-in", tmp_path / "crt", "-noout", "-text")
    assert "DNS:cpe1.example.net, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7" in text and "serialNumber = SN7" in text
    shown = pki.shown(made.certificate)
    assert (
        shown.fingerprint
        == openssl(program, "x509", "-in", tmp_path / "crt", "-noout", "-sha256", "-fingerprint").split("=")[1].strip().replace(":", "").lower()
    )
    assert pki.signed_by(made.certificate, ca.certificate) and not pki.signed_by(made.certificate, pki.authority("netd", NOW).certificate)


def test_a_certificate_ends_with_its_authority():
    ca = pki.authority("netd", NOW - timedelta(days=pki.AUTHORITY_DAYS - 10))
    assert pki.shown(pki.issue(ca, NAMES, "", pki.key("ec"), NOW, 365).certificate).not_after == pki.shown(ca.certificate).not_after


def without_signing(ca: Pair) -> Pair:
    """An authority whose key may not be used for certificates."""
    return used_for(ca, certificates=False)


def without_lists(ca: Pair) -> Pair:
    """An authority whose key may not be used for lists of revoked certificates."""
    return used_for(ca, certificates=True)


def used_for(ca: Pair, *, certificates: bool) -> Pair:
    """An authority whose key may be used for this, and for no lists."""
    found, key = x509.load_pem_x509_certificate(ca.certificate.encode()), load_pem_private_key(ca.key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    made = (
        x509.CertificateBuilder(found.issuer, found.subject, found.public_key(), 1, found.not_valid_before_utc, found.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(True, False, False, False, False, certificates, False, False, False), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(made.public_bytes(Encoding.PEM).decode(), ca.key)


def test_an_operators_authority_is_looked_at():
    ca, other = pki.authority("Ours", NOW), pki.authority("Other", NOW)
    assert pki.supplied(*ca, NOW) == ca
    leaf = pki.issue(ca, NAMES, "", pki.key("ec"), NOW, 1)
    for pair, now, what in (
        (Pair(ca.certificate, other.key), NOW, "do not belong together"), (Pair("x", ca.key), NOW, "are no certificate"),
        (Pair(ca.certificate, "SECRET"), NOW, "are no certificate"), (leaf, NOW, "are no authority's"), (ca, NOW + timedelta(days=4000), "not now"),
        (Pair(ca.certificate + other.certificate, ca.key), NOW, "more than one"), (without_signing(ca), NOW, "are no authority's"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=what) as raised:
            pki.supplied(*pair, now)
        assert "SECRET" not in str(raised.value)
    assert "KEY" not in repr(ca)


def test_names_that_no_certificate_can_have():
    ca = pki.authority("netd", NOW)
    with pytest.raises(ValueError):
        pki.issue(ca, ["a..b\u00e4"], "", pki.key("ec"), NOW, 1)
    pki.issue(ca, ["x" * 200], "S" * 128, pki.key("ec"), NOW, 1)


def test_openssl_refuses_what_is_on_the_list(tmp_path, require_peer):
    program = require_peer("openssl")
    ca = pki.authority("netd", NOW)
    made = {name: pki.issue(ca, NAMES, "", pki.key("ec"), NOW, 365, "http://192.0.2.1:8080/crl/x.crl") for name in ("good", "bad", "unsaid")}
    revoked = [
        Revocation(serial=pki.shown(made["bad"].certificate).serial, revoked_at=NOW, reason="key_compromise"),
        Revocation(serial=pki.shown(made["unsaid"].certificate).serial, revoked_at=NOW, reason="unspecified"),
    ]
    listed = pki.revocation_list(ca, 7, revoked, NOW, NOW + timedelta(days=7))
    (tmp_path / "ca").write_text(ca.certificate)
    (tmp_path / "crl").write_text(pki.armoured(listed))
    (tmp_path / "der").write_bytes(listed)
    text = openssl(program, "crl", "-inform", "DER", "-in", tmp_path / "der", "-noout", "-text", "-CAfile", tmp_path / "ca")
    assert "Version 2" in text and text.count("Serial Number:") == 2 and text.count("CRL Reason Code") == 1 and "Key Compromise" in text
    assert text.split("CRL Number:")[1].split()[0] == "7"
    for name, pair in made.items():
        (tmp_path / name).write_text(pair.certificate)
        command = [program, "verify", "-x509_strict", "-crl_check", "-CRLfile", str(tmp_path / "crl"), "-CAfile", str(tmp_path / "ca"), str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode == 0, "certificate revoked" in done.stderr) == ((True, False) if name == "good" else (False, True)), done.stderr
    assert "URI:http://192.0.2.1:8080/crl/x.crl" in openssl(program, "x509", "-in", tmp_path / "good", "-noout", "-text")


def test_an_authority_that_may_sign_no_lists_is_known():
    ca = pki.authority("netd", NOW)
    assert pki.signs_lists(ca.certificate) and not pki.signs_lists(without_signing(ca).certificate)
