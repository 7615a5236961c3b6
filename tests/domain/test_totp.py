"""RFC 6238's own test vectors (appendix B, SHA-1, cut to six digits), and the drift."""

from datetime import UTC, datetime, timedelta

import pytest

from netd.domain import totp

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037"), (20000000000, "353130")],
)
def test_vectors(seconds, expected):
    assert totp.code(SECRET, seconds // 30) == expected
    assert totp.matching_step(SECRET, expected, datetime.fromtimestamp(seconds, UTC)) == seconds // 30


def test_a_clock_may_be_off_by_one_step():
    now = datetime.fromtimestamp(1_000_000_000, UTC)
    given = totp.code(SECRET, totp.step_of(now))
    for seconds, good in ((-60, False), (-30, True), (0, True), (30, True), (61, False)):
        assert (totp.matching_step(SECRET, given, now + timedelta(seconds=seconds)) is not None) == good, seconds
    for wrong in ("", "12345", given + "0", "٣٣٣٣٣٣", "\ud800"):
        assert totp.matching_step(SECRET, wrong, now) is None


def test_uri():
    assert totp.uri(SECRET, "netd", "ann@x") == (
        "otpauth://totp/netd:ann%40x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=netd&algorithm=SHA1&digits=6&period=30"
    )
