"""``netd ztp`` where certificates are revoked, as operators use it, against a real API."""

from cryptography import x509


async def test_a_certificate_is_revoked_and_on_the_list(netd, database):
    none = await netd("ztp", "crl")
    assert (none.code, none.err.startswith("netd: there is none yet")) == (1, True)
    authority = (await netd("ztp", "new-authority", "--json")).value
    device = (await netd("ztp", "expect", "cpe1", "--profile", "plain", "--serial", "S1", "--certificate", "ec", "--json")).value
    async with database.acquire() as conn:
        found = await conn.fetchval(
            """insert into certificates (tenant_id, ztp_device_id, authority_id, subject, names, algorithm, certificate, serial, fingerprint, not_before,
                                         not_after)
               values (1, $1, $2, 'CN=cpe1', '{cpe1}', 'ec', 'x', 'ab', 'f', now(), now() + interval '1 day') returning id""", device["id"], authority["id"],
        )  # fmt: skip
    assert (await netd("ztp", "revoke", str(found), "--reason", "whim")).code == 2
    assert (await netd("ztp", "revoke", str(found), "--reason", "key_compromise")).out == "the certificate ab of cpe1 is good no longer\n"
    assert (await netd("ztp", "revoke", str(found))).err == "netd: revoked_at: it is revoked already\n"
    assert (await netd("ztp", "certificates")).out.splitlines()[1].split().count("-") == 1  # it was never installed, and is revoked
    listed = x509.load_pem_x509_crl((await netd("ztp", "crl", "--authority", str(authority["id"]))).out.encode())
    assert [each.serial_number for each in listed] == [0xAB]
    assert (await netd("ztp", "crl")).out.startswith("-----BEGIN X509 CRL-----")
