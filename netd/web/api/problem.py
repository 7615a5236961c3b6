"""Errors as ``application/problem+json`` (RFC 9457)."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple

import msgspec
from aiohttp import web

from netd.domain.conversion import pointer, validation_fault
from netd.domain.imports import ImportReport
from netd.domain.provision import ProvisionReport
from netd.errors import Conflict, Fault, InvalidInput, NotFound, OutsideScope, StoreError, StoreUnavailable, TooOften, Unauthenticated
from netd.model.control import ControlResult
from netd.web import codec

CONTENT_TYPE = "application/problem+json"


class ProblemFault(msgspec.Struct, frozen=True, omit_defaults=True):
    """``pointer``: JSON pointer into the body, or to the query parameter of that name; for a CSV file the line and column."""

    pointer: str
    detail: str


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"kind": "type"}):
    """RFC 9457 problem details. ``outcome`` tells of a NAS that did not do as asked, ``report`` and ``provision_report`` of an
    import of which nothing was kept."""

    kind: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: tuple[ProblemFault, ...] = ()
    outcome: ControlResult | None = None
    report: ImportReport | None = None
    provision_report: ProvisionReport | None = None


class Kind(NamedTuple):
    """One sort of problem: the end of its ``type`` URI, its HTTP status and its title."""

    slug: str
    status: int
    title: str


MALFORMED = Kind("malformed", 400, "The request is not well-formed")
UNAUTHORIZED = Kind("unauthorized", 401, "A valid token is needed")
FORBIDDEN = Kind("forbidden", 403, "This is not permitted")
NOT_FOUND = Kind("not-found", 404, "No such object")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "The method is not allowed here")
REQUEST_TIMEOUT = Kind("request-timeout", 408, "The request did not arrive in time")
CONFLICT = Kind("conflict", 409, "The change would break a rule")
NAS_REFUSED = Kind("nas-refused", 409, "The NAS refused")
PRECONDITION_FAILED = Kind("precondition-failed", 412, "The object has changed meanwhile")
TOO_LARGE = Kind("too-large", 413, "The body is too large")
UNSUPPORTED_MEDIA_TYPE = Kind("unsupported-media-type", 415, "The body's media type is not understood")
INVALID = Kind("invalid", 422, "The input is not valid")
TOO_MANY = Kind("too-many-requests", 429, "Too many requests")
INTERNAL = Kind("internal", 500, "netd failed")
PROVIDER_FAILED = Kind("provider-failed", 502, "The log-in provider did not do its part")
NAS_UNREACHABLE = Kind("nas-unreachable", 502, "The request could not be sent to the NAS")
UNAVAILABLE = Kind("unavailable", 503, "The database cannot be reached")
NAS_SILENT = Kind("nas-silent", 504, "The NAS did not answer")

KINDS = (
    MALFORMED,
    UNAUTHORIZED,
    FORBIDDEN,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    CONFLICT,
    NAS_REFUSED,
    PRECONDITION_FAILED,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID,
    TOO_MANY,
    INTERNAL,
    PROVIDER_FAILED,
    NAS_UNREACHABLE,
    UNAVAILABLE,
    NAS_SILENT,
)
_BY_STATUS = {kind.status: kind for kind in KINDS if kind is not NAS_REFUSED}


class Problem(Exception):
    """A refusal with a definite form; the middleware turns it into the answer."""

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        *,
        faults: Iterable[Fault] = (),
        headers: Mapping[str, str] | None = None,
        outcome: ControlResult | None = None,
        report: ImportReport | None = None,
        provision_report: ProvisionReport | None = None,
    ) -> None:
        super().__init__(detail or kind.title)
        self.kind = kind
        self.detail = detail or kind.title
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        self.outcome = outcome
        self.report = report
        self.provision_report = provision_report

    def document(self, instance: str, request_id: str) -> ProblemDocument:
        """What is told; ``instance`` is the path that was asked for."""
        return ProblemDocument(
            kind=f"/problems/{self.kind.slug}",
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            instance=instance,
            request_id=request_id,
            errors=tuple(ProblemFault(fault.where, fault.what) for fault in self.faults),
            outcome=self.outcome,
            report=self.report,
            provision_report=self.provision_report,
        )

    def answer(self, instance: str, request_id: str) -> web.Response:
        """The HTTP answer; ``instance`` is the path that was asked for."""
        document = self.document(instance, request_id)
        return web.Response(body=codec.encode(document), status=self.kind.status, content_type=CONTENT_TYPE, headers=self.headers)


CHALLENGE = 'Bearer realm="netd"'


def unauthorized(detail: str, *, error: str = "") -> Problem:
    """401 with the challenge of RFC 6750 section 3."""
    challenge = CHALLENGE + (f', error="{error}"' if error else "")
    return Problem(UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})


def problem_of(error: Exception) -> Problem | None:
    """The problem that ``error`` amounts to, or None if it is a defect of netd and nothing may be told of it."""
    match error:
        case Problem():
            return error
        case InvalidInput():
            return Problem(INVALID, "; ".join(fault.what for fault in error.faults[:3]), faults=error.faults)
        case NotFound():
            return Problem(NOT_FOUND, str(error))
        case Conflict(field="version"):  # only where the caller demanded one, by If-Match
            return Problem(PRECONDITION_FAILED, str(error))
        case Conflict():
            faults = (Fault(pointer(error.field), str(error)),) if error.field else ()
            return Problem(CONFLICT, str(error), faults=faults)
        case Unauthenticated():
            return Problem(UNAUTHORIZED, str(error), headers={"WWW-Authenticate": CHALLENGE})
        case TooOften():
            return Problem(TOO_MANY, str(error), headers={"Retry-After": str(error.retry_seconds)})
        case OutsideScope():
            return Problem(FORBIDDEN, str(error))
        case StoreUnavailable():
            return Problem(UNAVAILABLE, headers={"Retry-After": "5"})
        case StoreError():
            return None
        case web.HTTPException() if error.status >= 400:
            return _http_problem(error)
        case _:
            return None


def problem_of_input(error: msgspec.DecodeError, faults: Sequence[Fault] = ()) -> Problem:
    """The problem with a body, query or path that msgspec refused, with all its ``faults`` where they are known.

    Only for the caller's input: a row that does not decode is netd's fault.
    """
    if isinstance(error, msgspec.ValidationError):
        found = faults or (validation_fault(str(error)),)
        return Problem(INVALID, "; ".join(fault.what for fault in found[:3]), faults=found)
    return Problem(MALFORMED, f"the body is not JSON: {error}")


def _http_problem(error: web.HTTPException) -> Problem:
    """aiohttp's own refusals: no such path, wrong method, too large."""
    if error.status == 404:
        return Problem(NOT_FOUND, "there is nothing at this path")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(METHOD_NOT_ALLOWED, f"allowed here: {allowed}", headers={"Allow": allowed})
    kind = _BY_STATUS.get(error.status)
    if kind is None:
        status = HTTPStatus(error.status)
        kind = Kind(status.phrase.lower().replace(" ", "-"), error.status, status.phrase)
    return Problem(kind)
