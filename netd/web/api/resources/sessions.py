"""/radius/sessions"""

from netd.domain import sessions
from netd.domain.paging import Page
from netd.domain.sessions import SessionQuery, SessionTerms, WhoHadQuery
from netd.model.control import ControlResult, Outcome
from netd.model.session import Session, WhoHad
from netd.web.api.problem import NAS_REFUSED, NAS_SILENT, NAS_UNREACHABLE, Kind, Problem
from netd.web.api.route import Call, route

REFUSALS: dict[Outcome, Kind] = {"nak": NAS_REFUSED, "timeout": NAS_SILENT, "error": NAS_UNREACHABLE}


@route("GET", "/radius/sessions", permission="sessions:read", summary="List sessions, newest first; without `state` the open ones", query=SessionQuery)
async def session_list(call: Call, query: SessionTerms) -> Page[Session]:
    return await sessions.page(call.deps.database, call.actor, query)


@route(
    "GET",
    "/radius/sessions/who-had",
    permission="sessions:read",
    summary="Whose an address was at a moment; doubtful and contradicting answers are all shown, marked",
)
async def session_who_had(call: Call, query: WhoHadQuery) -> WhoHad:
    return await sessions.who_had(call.deps.database, call.actor, query, call.deps.now())


@route("GET", "/radius/sessions/{id}", permission="sessions:read", summary="Show a session, open or closed")
async def session_show(call: Call, id: int) -> Session:
    return await sessions.get(call.deps.database, call.actor, id)


@route(
    "POST", "/radius/sessions/{id}/disconnect", permission="radius:disconnect", action="session.disconnect", errors=(502, 504),
    summary="Ask the NAS to end a session: 200 only if it said yes; 409 it refused, 504 it did not answer, 502 it could not be asked",
)  # fmt: skip
async def session_disconnect(call: Call, id: int) -> ControlResult:
    """Whatever the NAS said stands in the answer: as the whole of it for 200, as member ``outcome`` of the problem else."""
    return answered(await sessions.disconnect(call.deps.database, call.actor, call.deps.control, id))


def answered(result: ControlResult) -> ControlResult:
    """What the NAS said, if it did as asked. Raises Problem."""
    if result.outcome == "ack":
        return result
    raise Problem(REFUSALS[result.outcome], _told(result), outcome=result)


def _told(result: ControlResult) -> str:
    match result.outcome:
        case "nak":
            return f"the NAS refused: {result.error_cause_name or result.error_cause or 'no cause given'}"
        case "timeout":
            return f"the NAS did not answer {result.attempts} requests; whether the session goes on is unknown"
        case _:
            return f"the request could not be sent: {result.detail}"


ROUTES = (session_list, session_who_had, session_show, session_disconnect)
