"""What browsers need besides a token: the session's cookie, the check of where a request comes from, and the address behind a proxy.

The cookie is ``__Host-``, Secure, HttpOnly and SameSite=Lax. Where netd is reached by plain HTTP, which is only on this machine, browsers take no
``__Host-`` cookie: there it is ``netd_session``, without Secure.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from netd.config import LOOPBACK_NAMES
from netd.web.api.problem import FORBIDDEN, Problem
from netd.web.deps import WebDeps

CSRF_HEADER: Final = "X-CSRF-Token"
SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
SESSION: Final = "netd_session"
FLOW: Final = "netd_oidc"


def origin_of(deps: WebDeps, request: web.Request) -> str:
    """Scheme, host and port by which browsers reach netd. Raises Problem 403 where nobody said so and it is not this machine."""
    if deps.public_url:
        return _normal(deps.public_url)
    if _host(request.host) not in LOOPBACK_NAMES:
        raise Problem(FORBIDDEN, "users log in here once web.public_url says where browsers reach netd; without it only at http://localhost")
    return _normal(f"http://{request.host}")


def _host(text: str) -> str:
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


def _normal(url: str) -> str:
    """An origin as browsers write it: lower case, no default port."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "").lower()
    except ValueError:
        return ""
    named = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{named}" + ("" if port in (None, default) else f":{port}")


def check_origin(deps: WebDeps, request: web.Request) -> None:
    """Refuse a request that another site's page made (Origin, and Sec-Fetch-Site of newer browsers). Raises Problem 403."""
    own, said = origin_of(deps, request), request.headers.get(hdrs.ORIGIN)
    if said is not None and _normal(said) != own:
        raise Problem(FORBIDDEN, f"this request comes from another site than {own}")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Problem(FORBIDDEN, "this request comes from another site")


def check_session_request(deps: WebDeps, request: web.Request, text: str) -> None:
    """Refuse what a browser sends with the session's cookie because another site made it. Raises Problem 403."""
    if request.method in SAFE_METHODS and hdrs.UPGRADE not in request.headers:
        return
    check_origin(deps, request)
    if request.method in SAFE_METHODS:
        if hdrs.ORIGIN not in request.headers:
            raise Problem(FORBIDDEN, "a WebSocket with the session's cookie needs an Origin")
        return
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), csrf_token(text).encode()):
        raise Problem(FORBIDDEN, f"a change with the session's cookie needs its token in {CSRF_HEADER} (GET /api/v1/me tells it)")


def csrf_token(text: str) -> str:
    """What a page of the own site must send along; of each session another one, which only who has the session's text can tell."""
    digest = hmac.digest(text.encode("utf-8", "replace"), b"netd csrf", hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def cookie_name(origin: str, name: str) -> str:
    """The name by which the origin's browser keeps it."""
    return f"__Host-{name}" if origin.startswith("https:") else name


def cookie_text(deps: WebDeps, request: web.Request, name: str) -> str | None:
    """The cookie's value, None if there is none that this origin can have set."""
    if name not in request.headers.get(hdrs.COOKIE, ""):
        return None
    return request.cookies.get(cookie_name(origin_of(deps, request), name))


def set_cookie(origin: str, name: str, value: str, seconds: int) -> str:
    """The Set-Cookie header; 0 seconds take the cookie away."""
    secure = "; Secure" if origin.startswith("https:") else ""
    return f"{cookie_name(origin, name)}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}"


def address(remote: str | None, forwarded: Sequence[str], trusted: Sequence[IPv4Network | IPv6Network]) -> str | None:
    """Who calls: the connection's peer, or whom it names in X-Forwarded-For, as far back as proxies that are trusted vouch for it."""
    hops = [hop.strip() for header in forwarded for hop in header.split(",")]
    found = remote
    while found is not None and hops and _trusts(trusted, found):
        hop = hops.pop()
        try:
            ip_address(hop)
        except ValueError:
            break
        found = hop
    return found


def _trusts(trusted: Sequence[IPv4Network | IPv6Network], text: str) -> bool:
    try:
        found = ip_address(text)
    except ValueError:
        return False
    return any(found in network for network in trusted)
