"""What is believed of an OpenID provider: a provider of the test's own making that can lie. The whole way with a real one is in tests/web/test_oidc.py."""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from netd.config import OidcConfig, Secret
from netd.domain import oidc
from netd.domain.oidc import Flow, Provider, groups_of
from netd.errors import PeerError, Unauthenticated
from netd.keyring import Keyring

NOW = datetime.now(UTC)
AT = int(NOW.timestamp())
ISSUER = "https://id.example.net/realm"
CLIENT = "netd"
KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
CURVE = ec.generate_private_key(ec.SECP256R1())
BACK = "https://netd.example.net/api/v1/login/oidc/callback"


def public(key: Any, **more: str) -> dict[str, Any]:
    kind = jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else jwt.algorithms.RSAAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), "use": "sig", **more}


class Liar:
    """Answers for the provider: what is signed, by which key, and how, is for the test to say."""

    def __init__(self) -> None:
        self.keys = [public(KEYS[0], kid="one", alg="RS256")]
        self.described: dict[str, Any] = {
            "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/auth", "token_endpoint": f"{ISSUER}/token", "jwks_uri": f"{ISSUER}/keys",
        }  # fmt: skip
        self.token = ""
        self.status = 200
        self.asked: list[str] = []
        self.form: Mapping[str, str] = {}
        self.basic: tuple[str, str] | None = None

    async def get_json(self, url: str) -> Any:
        self.asked.append(url)
        return {"keys": self.keys} if url.endswith("/keys") else self.described

    async def post_form(self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None) -> tuple[int, Any]:
        self.form, self.basic = form, basic
        return self.status, {"id_token": self.token} if self.status == 200 else {"error": "invalid_grant"}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def liar() -> Liar:
    return Liar()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(liar: Liar, clock: Clock) -> Provider:
    return Provider(OidcConfig(issuer=ISSUER, client_id=CLIENT, client_secret=Secret("s3cret")), liar, clock)


def claims(flow: Flow, **more: Any) -> dict[str, Any]:
    at = int(NOW.timestamp())
    made = {"iss": ISSUER, "sub": "7", "aud": CLIENT, "exp": at + 300, "iat": at, "nonce": flow.nonce, **more}
    return {name: value for name, value in made.items() if value is not None}


def signed(payload: dict[str, Any], key: Any = KEYS[0], algorithm: str = "RS256", kid: str | None = "one") -> str:
    return jwt.encode(payload, key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


async def test_what_the_browser_is_sent_with(provider: Provider, liar: Liar):
    url, flow = await provider.begin(BACK, "/", NOW)
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{ISSUER}/auth?")
    assert (query["response_type"], query["client_id"], query["redirect_uri"], query["scope"]) == ("code", CLIENT, BACK, "openid profile email")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest()).decode().rstrip("=")
    assert (query["state"], query["nonce"], query["code_challenge"], query["code_challenge_method"]) == (flow.state, flow.nonce, challenge, "S256")
    assert 43 <= len(flow.verifier) <= 128
    liar.token = signed(claims(flow))
    identity = await provider.finish(flow, "the code", NOW)
    assert (identity.issuer, identity.subject) == (ISSUER, "7")
    assert liar.form == {"grant_type": "authorization_code", "code": "the code", "redirect_uri": BACK, "code_verifier": flow.verifier}
    assert liar.basic == (CLIENT, "s3cret")
    assert "s3cret" not in repr(provider.config)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example"}, {"iss": ISSUER + "/"}, {"iss": None}, {"aud": "another"}, {"aud": [CLIENT, "another"]}, {"aud": None},
        {"azp": "another"}, {"nonce": "x"}, {"nonce": None}, {"sub": None}, {"sub": ""}, {"sub": "x" * 256},
        {"exp": AT - 61}, {"exp": None}, {"exp": "soon"}, {"exp": float("nan")}, {"iat": AT + 120}, {"iat": None}, {"nbf": AT + 120},
    ],
)  # fmt: skip
async def test_claims_that_are_not_believed(provider: Provider, liar: Liar, changed: dict[str, Any]):
    _, flow = await provider.begin(BACK, "/", NOW)
    liar.token = signed(claims(flow, **changed))
    with pytest.raises(Unauthenticated):
        await provider.finish(flow, "code", NOW)


@pytest.mark.parametrize("changed", [{"aud": [CLIENT]}, {"aud": [CLIENT, "another"], "azp": CLIENT}, {"azp": CLIENT}, {"exp": AT - 30}])
async def test_claims_that_are_good(provider: Provider, liar: Liar, changed: dict[str, Any]):
    _, flow = await provider.begin(BACK, "/", NOW)
    liar.token = signed(claims(flow, **changed))
    assert (await provider.finish(flow, "code", NOW)).subject == "7"


async def test_signatures_that_are_not_believed(provider: Provider, liar: Liar):
    _, flow = await provider.begin(BACK, "/", NOW)
    good = claims(flow)
    pem = KEYS[0].public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head, body, _ = signed(good).split(".")

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    import hmac

    confused = f"{part({'alg': 'HS256', 'kid': 'one'})}.{body}"
    mac = base64.urlsafe_b64encode(hmac.digest(pem, confused.encode(), "sha256")).decode().rstrip("=")
    for forged in (
        "", "x", "a.b.c", f"{head}.{body}.", f"{part({'alg': 'none', 'kid': 'one'})}.{body}.", f"{part({'alg': 'none'})}.{body}.",
        f"{confused}.{mac}",  # the public key as the secret of an HMAC
        signed(good, KEYS[1]), signed(good, KEYS[1], kid=None), signed(good, KEYS[0], kid="two"), signed(good, KEYS[0], "PS256"),
        signed(good, CURVE, "ES256"), f"{head}.{part({**good, 'sub': '8'})}.{signed(good).split('.')[2]}",
    ):  # fmt: skip
        liar.token = forged
        with pytest.raises(Unauthenticated):
            await provider.finish(flow, "code", NOW)
    liar.token = signed(good)
    await provider.finish(flow, "code", NOW)


async def test_keys_are_kept_and_changed(provider: Provider, liar: Liar, clock: Clock):
    _, flow = await provider.begin(BACK, "/", NOW)
    liar.token = signed(claims(flow))
    for _ in range(3):
        await provider.finish(flow, "code", NOW)
    assert sum(url.endswith("/keys") for url in liar.asked) == 1
    liar.keys = [public(KEYS[1], kid="two"), public(CURVE, kid="curve")]
    liar.token = signed(claims(flow), KEYS[1], kid="two")
    with pytest.raises(Unauthenticated):  # keys that nobody knows are not asked for without end
        await provider.finish(flow, "code", NOW)
    clock.now += oidc.REFRESH_SECONDS + 1
    await provider.finish(flow, "code", NOW)
    liar.token = signed(claims(flow), CURVE, "ES256", kid="curve")
    await provider.finish(flow, "code", NOW)
    liar.token = signed(claims(flow))  # the old key is no good any more
    with pytest.raises(Unauthenticated):
        await provider.finish(flow, "code", NOW)
    asked = len(liar.asked)
    for _ in range(50):
        with pytest.raises(Unauthenticated):
            await provider.finish(flow, "code", NOW)
    assert len(liar.asked) - asked <= 1


async def test_a_token_endpoint_that_says_no(provider: Provider, liar: Liar):
    _, flow = await provider.begin(BACK, "/", NOW)
    liar.status = 400
    with pytest.raises(Unauthenticated, match="invalid_grant"):
        await provider.finish(flow, "code", NOW)


@pytest.mark.parametrize(
    "changed",
    [{"issuer": "https://evil.example"}, {"token_endpoint": "http://id.example.net/token"}, {"jwks_uri": "file:///etc/passwd"}, {"authorization_endpoint": 7}],
)
async def test_descriptions_that_are_of_no_use(provider: Provider, liar: Liar, changed: dict[str, Any]):
    liar.described |= changed
    with pytest.raises(PeerError):
        await provider.begin(BACK, "/", NOW)


async def test_a_client_without_a_secret_names_itself(liar: Liar):
    provider = Provider(OidcConfig(issuer=ISSUER, client_id=CLIENT), liar)
    _, flow = await provider.begin(BACK, "/", NOW)
    liar.token = signed(claims(flow))
    await provider.finish(flow, "code", NOW)
    assert (liar.basic, liar.form["client_id"]) == (None, CLIENT)


async def test_the_flow_belongs_to_the_browser_that_began_it(provider: Provider, keyring: Keyring):
    _, flow = await provider.begin(BACK, "/", NOW)
    text = oidc.seal(keyring, flow)
    assert flow.verifier not in text
    assert oidc.opened(keyring, text, flow.state, NOW) == flow
    for cookie, state, at in (
        (text, "x", NOW),
        (text, "", NOW),
        ("", flow.state, NOW),
        (text[:-8] + "AAAAAAA=", flow.state, NOW),
        ("é", flow.state, NOW),
        (text, flow.state, NOW + oidc.FLOW_KEPT),
    ):
        with pytest.raises(Unauthenticated):
            oidc.opened(keyring, cookie, state, at)


def test_groups():
    assert groups_of({"g": ["a", "b", 7]}, "g") == {"a", "b"}
    assert groups_of({"g": "a"}, "g") == {"a"}
    assert groups_of({"g": {"a": 1}}, "g") == groups_of({}, "g") == frozenset()
