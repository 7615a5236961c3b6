"""/login, /logout and /me: users, their sessions and their own accounts."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from aiohttp import hdrs
from msgspec import Meta

from netd.domain import account, logins, oidc
from netd.domain.account import Enrolment, PasswordChange, Proof, RecoveryCodes, TotpCode
from netd.domain.logins import CodeLogin, Opened, PasswordLogin, Setup, Visit
from netd.domain.oidc import Provider
from netd.errors import NotFound, PeerError, TooOften, Unauthenticated
from netd.model.user import User, UserSession
from netd.web import browser
from netd.web.api.problem import PROVIDER_FAILED, Problem
from netd.web.api.route import Call, Redirect, route

T = TypeVar("T")


class LoginMethods(msgspec.Struct, frozen=True, kw_only=True):
    """How one can log in here. ``oidc``: by sending the browser to /api/v1/login/oidc."""

    password: bool
    oidc: bool


class LoginState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a log-in is: either a session was opened (the cookie is set, and ``csrf_token`` goes into X-CSRF-Token of every change), or a code is
    wanted as well, with this ``challenge``, at /login/totp."""

    user: str | None = None
    csrf_token: str | None = None
    challenge: str | None = None
    expires_at: datetime


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The user of this session. ``totp_needed``: a role needs a second factor, and until it is set up nothing else is allowed."""

    user: User
    session_id: int
    expires_at: datetime
    recovery_codes_left: int
    totp_needed: bool
    csrf_token: str


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    """The own sessions, newest first: few, so there is only one page."""

    items: tuple[UserSession, ...]
    next: None = None


class OidcStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the browser goes afterwards: a path of netd's own."""

    return_to: Annotated[str, Meta(max_length=500, pattern=r"^/(?![/\\])[\x21-\x5b\x5d-\x7e]*$")] = "/"


class OidcAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the provider sends the browser back with (RFC 6749 section 4.1.2, RFC 9207)."""

    state: Annotated[str, Meta(max_length=500)] = ""
    code: Annotated[str, Meta(max_length=4000)] | None = None
    error: Annotated[str, Meta(max_length=500)] | None = None
    error_description: Annotated[str, Meta(max_length=4000)] | None = None
    error_uri: Annotated[str, Meta(max_length=4000)] | None = None
    iss: Annotated[str, Meta(max_length=1000)] | None = None
    session_state: Annotated[str, Meta(max_length=1000)] | None = None
    scope: Annotated[str, Meta(max_length=1000)] | None = None


def _visit(call: Call) -> Visit:
    return Visit(call.actor, call.request.headers.get(hdrs.USER_AGENT), browser.cookie_text(call.deps, call.request, browser.SESSION))


def _admit(call: Call, opened: Opened) -> None:
    """Give the browser the session's cookie."""
    seconds = max(1, int((opened.expires_at - call.deps.now()).total_seconds()))
    call.answer_headers.add(hdrs.SET_COOKIE, browser.set_cookie(browser.origin_of(call.deps, call.request), browser.SESSION, opened.text, seconds))


def _state(opened: Opened) -> LoginState:
    return LoginState(user=opened.user, csrf_token=browser.csrf_token(opened.text), expires_at=opened.expires_at)


async def _counted(call: Call, method: str, attempt: Awaitable[T]) -> T:
    """The attempt's outcome; what became of it is counted for /metrics."""
    counts = call.deps.login_attempts
    try:
        found = await attempt
    except TooOften:
        counts[(method, "locked_out")] += 1
        raise
    except Unauthenticated:
        counts[(method, "refused")] += 1
        raise
    counts[(method, "code_wanted" if isinstance(found, logins.Challenged) else "opened")] += 1
    return found


@route("GET", "/login", permission=None, public=True, summary="How one can log in")
async def login_methods(call: Call) -> LoginMethods:
    return LoginMethods(password=True, oidc=call.deps.oidc is not None)


@route("POST", "/login", permission=None, public=True, summary="Log in by password", action="user.login", errors=(401,))
async def login(call: Call, body: PasswordLogin) -> LoginState:
    deps = call.deps
    visit = _visit(call)
    found = await _counted(call, "password", logins.login(deps.database, deps.login, deps.keyring, body, visit, deps.now()))
    if isinstance(found, logins.Challenged):
        return LoginState(challenge=found.challenge, expires_at=found.expires_at)
    _admit(call, found)
    return _state(found)


@route("POST", "/login/totp", permission=None, public=True, summary="Log in: the second factor, or a recovery code", action="user.login", errors=(401,))
async def login_totp(call: Call, body: CodeLogin) -> LoginState:
    deps = call.deps
    opened = await _counted(call, "code", logins.login_code(deps.database, deps.login, deps.keyring, body, _visit(call), deps.now()))
    _admit(call, opened)
    return _state(opened)


@route(
    "POST", "/login/setup", permission=None, public=True, summary="Set a password with the token that an administrator gave", action="user.set_password",
    errors=(401,),
)  # fmt: skip
async def login_setup(call: Call, body: Setup) -> None:
    await logins.set_up(call.deps.database, body, call.actor, call.deps.now())


def _provider(call: Call) -> Provider:
    if call.deps.oidc is None:
        raise NotFound("log-in", "through a provider (oidc.issuer is not set), so it")
    return call.deps.oidc


@route(
    "GET", "/login/oidc", permission=None, public=True, summary="Log in through the OpenID provider: sends the browser there", action="user.login",
    errors=(403, 404, 502),
)  # fmt: skip
async def login_oidc(call: Call, query: OidcStart) -> Redirect:
    deps, provider = call.deps, _provider(call)
    origin = browser.origin_of(deps, call.request)
    try:
        url, flow = await provider.begin(f"{origin}/api/v1/login/oidc/callback", query.return_to, deps.now())
    except PeerError as error:
        raise Problem(PROVIDER_FAILED, str(error)) from error
    call.answer_headers.add(hdrs.SET_COOKIE, browser.set_cookie(origin, browser.FLOW, oidc.seal(deps.keyring, flow), int(oidc.FLOW_KEPT.total_seconds())))
    return Redirect(url)


@route(
    "GET", "/login/oidc/callback", permission=None, public=True, summary="Where the provider sends the browser back to", action="user.login",
    errors=(401, 403, 404, 409, 502),
)  # fmt: skip
async def login_oidc_callback(call: Call, query: OidcAnswer) -> Redirect:
    deps, provider = call.deps, _provider(call)
    flow = oidc.opened(deps.keyring, browser.cookie_text(deps, call.request, browser.FLOW) or "", query.state, deps.now())
    if query.iss is not None and query.iss != provider.config.issuer:
        raise Unauthenticated("the answer is another provider's (iss)")
    if query.error is not None or query.code is None:
        raise Unauthenticated(f"the provider did not log you in: {(query.error or 'no code')[:100]}")
    try:
        identity = await provider.finish(flow, query.code, deps.now())
    except Unauthenticated as error:
        deps.login_attempts[("oidc", "refused")] += 1
        await oidc.refused(deps.database, _visit(call), str(error), issuer=provider.config.issuer)
        raise
    except PeerError as error:
        raise Problem(PROVIDER_FAILED, str(error)) from error
    opened = await _counted(call, "oidc", oidc.sign_in(deps.database, deps.login, provider.config, identity, _visit(call), deps.now()))
    _admit(call, opened)
    call.answer_headers.add(hdrs.SET_COOKIE, browser.set_cookie(browser.origin_of(deps, call.request), browser.FLOW, "", 0))
    return Redirect(flow.return_to)


@route("POST", "/logout", permission=None, summary="End this session", action="user.logout", errors=(404,))
async def logout(call: Call) -> None:
    await account.logout(call.deps.database, call.actor, call.deps.now())
    call.answer_headers.add(hdrs.SET_COOKIE, browser.set_cookie(browser.origin_of(call.deps, call.request), browser.SESSION, "", 0))


@route("GET", "/me", permission=None, summary="The user of this session", errors=(404,))
async def me_show(call: Call) -> Me:
    found = await account.me(call.deps.database, call.deps.login, call.actor, call.deps.now())
    text = browser.cookie_text(call.deps, call.request, browser.SESSION) or ""
    return Me(**msgspec.structs.asdict(found), csrf_token=browser.csrf_token(text))


@route("GET", "/me/sessions", permission=None, summary="The own sessions that are good", errors=(404,))
async def me_session_list(call: Call) -> SessionList:
    return SessionList(items=tuple(await account.sessions(call.deps.database, call.deps.login, call.actor, call.deps.now())))


@route("DELETE", "/me/sessions/{id}", permission=None, summary="End one of the own sessions", action="user.end_session", errors=(404,))
async def me_session_end(call: Call, id: int) -> None:
    await account.end_session(call.deps.database, call.actor, id, call.deps.now())


@route("POST", "/me/password", permission=None, summary="Set the own password; all other sessions end", action="user.set_password", errors=(404,))
async def me_password(call: Call, body: PasswordChange) -> None:
    await account.change_password(call.deps.database, call.deps.login, call.actor, body, call.deps.now())


@route("POST", "/me/totp", permission=None, summary="Begin to set up a second factor", action="user.enrol_totp", errors=(404,))
async def me_totp_enrol(call: Call, body: Proof) -> Enrolment:
    return await account.enrol_totp(call.deps.database, call.deps.login, call.deps.keyring, call.actor, body, call.deps.now())


@route(
    "POST",
    "/me/totp/confirm",
    permission=None,
    summary="Make the second factor count; recovery codes are shown this once",
    action="user.confirm_totp",
    errors=(404,),
)
async def me_totp_confirm(call: Call, body: TotpCode) -> RecoveryCodes:
    return await account.confirm_totp(call.deps.database, call.deps.login, call.deps.keyring, call.actor, body, call.deps.now())


@route("POST", "/me/totp/remove", permission=None, summary="Take the own second factor away", action="user.remove_totp", errors=(404,))
async def me_totp_remove(call: Call, body: Proof) -> None:
    await account.remove_totp(call.deps.database, call.deps.login, call.actor, body, call.deps.now())


ROUTES = (
    login_methods, login, login_totp, login_setup, login_oidc, login_oidc_callback, logout, me_show, me_session_list, me_session_end, me_password,
    me_totp_enrol, me_totp_confirm, me_totp_remove,
)  # fmt: skip
