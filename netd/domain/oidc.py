"""Log-in through an OpenID provider (OpenID Connect Core 1.0, section 3.1): authorization code with PKCE, state and nonce.

A provider's account is linked to a user by issuer and subject, never by a name or a mail address that somebody may set there.
"""

import base64
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

import jwt
import msgspec

from netd.config import GROUP, LoginConfig, OidcConfig
from netd.domain import audit, logins
from netd.domain.actor import system
from netd.domain.logins import Opened, Visit
from netd.domain.tokens import DEFAULT_TENANT
from netd.domain.users import RESERVED, held
from netd.errors import PeerError, StoreError, Unauthenticated
from netd.keyring import Keyring
from netd.model.permission import SELF, Scope
from netd.model.user import User
from netd.store import roles, sites, users
from netd.store.database import Connection, Database

log = logging.getLogger(__name__)

FLOW_CONTEXT: Final = b"login.oidc"
FLOW_KEPT: Final = timedelta(minutes=10)
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures that are believed: by a key that only the provider has. Neither ``none`` nor HMAC."""

CLOCK_SECONDS: Final = 60.0
METADATA_SECONDS: Final = 3600.0
REFRESH_SECONDS: Final = 10.0
"""Keys are not asked for more often than this, whatever key ids strangers' tokens name."""

_USER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,62}")


class Fetch(Protocol):
    """Speaks HTTP. Raises PeerError for no answer, one that is too large, or one that is not JSON."""

    async def get_json(self, url: str) -> Any:
        """What a GET answers with 200."""
        ...

    async def post_form(self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None) -> tuple[int, Any]:
        """Status and body of the answer to a form; ``basic`` is user name and password."""
        ...


class Metadata(msgspec.Struct, frozen=True):
    """What is needed of the provider's description (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Flow(msgspec.Struct, frozen=True):
    """A log-in under way; the browser keeps it, sealed, in a cookie, so that the answer is taken from the browser only that asked."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    return_to: str
    until: float


class Identity(NamedTuple):
    """Whom the provider vouches for."""

    issuer: str
    subject: str
    claims: Mapping[str, Any]


class Mapped(NamedTuple):
    """A role that a group gives, and where."""

    role: str
    organization_id: int | None
    site_id: int | None


def seal(keyring: Keyring, flow: Flow) -> str:
    """The flow as a cookie's value."""
    return base64.urlsafe_b64encode(keyring.seal(msgspec.json.encode(flow), FLOW_CONTEXT)).decode()


def opened(keyring: Keyring, text: str, state: str, now: datetime) -> Flow:
    """The flow that the answer with this ``state`` belongs to. Raises Unauthenticated."""
    try:
        flow = msgspec.json.decode(keyring.open(base64.b64decode(text, altchars=b"-_", validate=True), FLOW_CONTEXT), type=Flow)
    except (ValueError, StoreError, msgspec.MsgspecError):
        raise Unauthenticated("this browser did not begin a log-in: begin anew") from None
    if not hmac.compare_digest(flow.state.encode(), state.encode("utf-8", "replace")):
        raise Unauthenticated("the answer is to another log-in (state): begin anew")
    if flow.until <= now.timestamp():
        raise Unauthenticated("the log-in took too long: begin anew")
    return flow


class Provider:
    """One OpenID provider: its description and keys, fetched when they are needed and kept for an hour."""

    def __init__(self, config: OidcConfig, fetch: Fetch, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self._fetch = fetch
        self._monotonic = monotonic
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, tuple[Mapping[str, Any], ...]] | None = None

    async def begin(self, redirect_uri: str, return_to: str, now: datetime) -> tuple[str, Flow]:
        """Where to send the browser, and what it must bring back. Raises PeerError."""
        metadata = await self._described()
        flow = Flow(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), redirect_uri, return_to, (now + FLOW_KEPT).timestamp())
        challenge = base64.urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest()).decode().rstrip("=")
        query = urlencode({
            "response_type": "code", "client_id": self.config.client_id, "redirect_uri": redirect_uri, "scope": " ".join(self.config.scopes),
            "state": flow.state, "nonce": flow.nonce, "code_challenge": challenge, "code_challenge_method": "S256",
        })  # fmt: skip
        return f"{metadata.authorization_endpoint}{'&' if urlsplit(metadata.authorization_endpoint).query else '?'}{query}", flow

    async def finish(self, flow: Flow, code: str, now: datetime) -> Identity:
        """Whom the code stands for. Raises Unauthenticated if the provider does not say so, PeerError if it says nothing of use."""
        metadata = await self._described()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": flow.redirect_uri, "code_verifier": flow.verifier}
        basic = None
        secret = self.config.client_secret.reveal()
        if secret and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            basic = (self.config.client_id, secret)
        else:
            form |= {"client_id": self.config.client_id, **({"client_secret": secret} if secret else {})}
        status, answer = await self._fetch.post_form(metadata.token_endpoint, form, basic)
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if status != 200 or not isinstance(token, str):
            said = str(answer.get("error", ""))[:100] if isinstance(answer, dict) else ""
            raise Unauthenticated(f"the provider does not take the code ({said or status}): begin anew")
        key = await self._key(token)
        claims = verified(token, key, issuer=self.config.issuer, client_id=self.config.client_id, nonce=flow.nonce, now=now)
        return Identity(self.config.issuer, str(claims["sub"]), claims)

    async def _described(self) -> Metadata:
        now = self._monotonic()
        if self._metadata is None or now - self._metadata[0] > METADATA_SECONDS:
            document = await self._fetch.get_json(self.config.issuer.rstrip("/") + "/.well-known/openid-configuration")
            try:
                found = msgspec.convert(document, Metadata)
            except msgspec.ValidationError as error:
                raise PeerError(f"the provider's description is of no use: {error}") from None
            if found.issuer != self.config.issuer:
                raise PeerError(f"the provider calls itself {found.issuer[:200]!r}, not {self.config.issuer!r}: oidc.issuer must be the same to the letter")
            scheme = urlsplit(self.config.issuer).scheme
            for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
                if urlsplit(url).scheme not in ("https", scheme):
                    raise PeerError(f"the provider's {url[:200]!r} is not https")
            self._metadata = now, found
        return self._metadata[1]

    async def _key(self, token: str) -> jwt.PyJWK:
        """The key that the token names, fetched anew if it is not known: providers change their keys. Raises Unauthenticated, PeerError."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise Unauthenticated("the provider's token is malformed") from None
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise Unauthenticated("the provider's token is signed in a way that is not believed")
        for fresh in (False, True):
            key = _chosen(await self._known_keys(fresh=fresh), header.get("kid"), algorithm)
            if key is not None:
                return key
        raise Unauthenticated("the provider's token is signed by a key that is not the provider's")

    async def _known_keys(self, *, fresh: bool) -> tuple[Mapping[str, Any], ...]:
        now = self._monotonic()
        age = None if self._keys is None else now - self._keys[0]
        if self._keys is None or age is None or age > (REFRESH_SECONDS if fresh else METADATA_SECONDS):
            document = await self._fetch.get_json((await self._described()).jwks_uri)
            keys = document.get("keys") if isinstance(document, dict) else None
            if not isinstance(keys, list):
                raise PeerError("the provider's key set is of no use")
            self._keys = now, tuple(key for key in keys if isinstance(key, dict))
        return self._keys[1]


def _chosen(keys: Sequence[Mapping[str, Any]], key_id: object, algorithm: str) -> jwt.PyJWK | None:
    """The key for signatures of this id; without an id only if there is no choice. Its kind must be the algorithm's."""
    fit = [key for key in keys if key.get("use", "sig") == "sig" and key.get("alg", algorithm) == algorithm and key.get("kty") != "oct"]
    if key_id is not None:
        fit = [key for key in fit if key.get("kid") == key_id]
    if len(fit) != 1:
        return None
    try:
        return jwt.PyJWK(dict(fit[0]), algorithm=algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


def verified(token: str, key: jwt.PyJWK, *, issuer: str, client_id: str, nonce: str, now: datetime) -> dict[str, Any]:
    """The claims of an ID token that is good (section 3.1.3.7). Raises Unauthenticated."""
    options: Any = {"require": ["iss", "sub", "aud", "exp", "iat"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}
    try:
        claims: dict[str, Any] = jwt.decode(token, key, algorithms=[key.algorithm_name], audience=client_id, issuer=issuer, options=options)
        expires_at, issued_at, not_before = float(claims["exp"]), float(claims["iat"]), float(claims.get("nbf", 0))
    except (jwt.InvalidTokenError, ValueError, TypeError) as error:
        raise Unauthenticated(f"the provider's token is not good: {type(error).__name__}") from None
    at = now.timestamp()
    audience = claims["aud"]
    if not expires_at > at - CLOCK_SECONDS:
        raise Unauthenticated("the provider's token has expired")
    if not (issued_at < at + CLOCK_SECONDS and not_before < at + CLOCK_SECONDS):
        raise Unauthenticated("the provider's token is of the future: is the clock right?")
    if (isinstance(audience, list) and len(audience) > 1 and "azp" not in claims) or claims.get("azp", client_id) != client_id:
        raise Unauthenticated("the provider's token is for another client (azp)")
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode("utf-8", "replace"), nonce.encode()):
        raise Unauthenticated("the provider's token is of another log-in (nonce)")
    if not (isinstance(claims["sub"], str) and 0 < len(claims["sub"]) <= 255 and claims["sub"].isprintable()):
        raise Unauthenticated("the provider's token names nobody")
    return claims


def groups_of(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    """The groups that a claim lists, as a list or as one text."""
    found = claims.get(claim, ())
    return frozenset((found,) if isinstance(found, str) else (each for each in found if isinstance(each, str)) if isinstance(found, list) else ())


async def sign_in(db: Database, settings: LoginConfig, config: OidcConfig, identity: Identity, visit: Visit, now: datetime) -> Opened:
    """Open a session for the user behind the identity; its grants of groups become those of today. Raises Unauthenticated."""
    found = await _signed_in(db, config, identity, visit)
    if isinstance(found, str):
        await refused(db, visit, found, issuer=identity.issuer, subject=identity.subject)
        raise Unauthenticated(found)
    return await logins.open_session(db, settings, DEFAULT_TENANT, found.id, found.name, "oidc", visit, now)


async def refused(db: Database, visit: Visit, reason: str, **told: str) -> None:
    """Record a log-in that came to nothing."""
    nobody = msgspec.structs.replace(visit.caller, tenant_id=DEFAULT_TENANT)
    async with db.transaction(Scope(DEFAULT_TENANT)) as conn:
        await audit.record(conn, nobody, "user.login", "user", "unknown", after={"reason": reason, **told}, result="failed")


async def _signed_in(db: Database, config: OidcConfig, identity: Identity, visit: Visit) -> User | str:
    """The user, made or brought up to date; or why there is none."""
    async with db.transaction(Scope(DEFAULT_TENANT)) as conn:
        mapped = await _mapped(conn, config, groups_of(identity.claims, config.group_claim))
        user = await users.by_oidc(conn, DEFAULT_TENANT, identity.issuer, identity.subject)
        if user is None:
            if not (config.create_users and mapped):
                return "no user here is linked to this account of the provider"
            made = await _made(conn, identity, visit)
            if isinstance(made, str):
                return made
            user = made
        if user.disabled_at is not None:
            return "the user is disabled"
        await _sync(conn, user, mapped, visit)
        user = await held(conn, DEFAULT_TENANT, user.id)
        return user if user.grants else "the user has no role here"


async def _made(conn: Connection, identity: Identity, visit: Visit) -> User | str:
    name = str(identity.claims.get("preferred_username", "")).strip().lower()
    if not _USER_NAME.fullmatch(name) or name in RESERVED:
        name = f"oidc-{hashlib.sha256(identity.subject.encode()).hexdigest()[:12]}"
    if await users.credentials(conn, DEFAULT_TENANT, name=name) is not None:
        return f"a user {name} exists that is not linked to this account of the provider"
    told = identity.claims.get("name")
    full_name = told.strip()[:64] if isinstance(told, str) and told.isprintable() and told.strip() else None
    link = {"oidc_issuer": identity.issuer, "oidc_subject": identity.subject}
    user_id = await users.insert(conn, DEFAULT_TENANT, {"name": name, "full_name": full_name, **link, "created_by": "oidc"})
    user = await held(conn, DEFAULT_TENANT, user_id)
    actor = msgspec.structs.replace(system(DEFAULT_TENANT, "netd oidc"), address=visit.caller.address, request_id=visit.caller.request_id)
    await audit.record(conn, actor, "user.create", "user", user_id, after=audit.values(user))
    return user


async def _mapped(conn: Connection, config: OidcConfig, groups: frozenset[str]) -> frozenset[Mapped]:
    """What the groups give. A rule that names what is not here gives nothing, and is logged."""
    found = set()
    for rule in config.groups:
        match = GROUP.fullmatch(rule)
        if match is None or match["group"] not in groups:
            continue
        role = await roles.by_name(conn, DEFAULT_TENANT, match["role"])
        organization_id = site_id = None
        if match["kind"] == "site":
            site_id = await sites.site_id(conn, DEFAULT_TENANT, match["name"])
        elif match["kind"] == "organization":
            organization_id = await sites.organization_id(conn, DEFAULT_TENANT, match["name"])
        if role is None or role.allows & SELF or (match["kind"] is not None and organization_id is None and site_id is None):
            log.warning("a rule of oidc.groups names a role or a place that is not here", extra={"rule": rule})
            continue
        found.add(Mapped(role.name, organization_id, site_id))
    return frozenset(found)


async def _sync(conn: Connection, user: User, mapped: frozenset[Mapped], visit: Visit) -> None:
    """Make the user's grants of groups those of today; what was granted here stays."""
    actor = msgspec.structs.replace(system(DEFAULT_TENANT, "netd oidc"), address=visit.caller.address, request_id=visit.caller.request_id)
    held_now = {Mapped(each.role, each.organization_id, each.site_id): each for each in user.grants if each.source == "oidc"}
    for gone in held_now.keys() - mapped:
        await users.drop_grant(conn, DEFAULT_TENANT, user.id, held_now[gone].id)
        await audit.record(conn, actor, "user.revoke", "user", user.id, before=audit.values(held_now[gone]))
    for new in sorted(mapped - held_now.keys(), key=str):
        await users.add_grant(conn, DEFAULT_TENANT, user.id, **new._asdict(), source="oidc", created_by="oidc")
        await audit.record(conn, actor, "user.grant", "user", user.id, after={**new._asdict(), "source": "oidc"})
