"""``POST …/bulk``: many operations of a resource in one request, each for itself: one that is refused keeps none of the others back."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from netd.domain import audit
from netd.domain.conversion import convert, faults
from netd.domain.inputs import ROW_ID_MAX
from netd.errors import Fault, OutsideScope
from netd.web.api import auth
from netd.web.api.problem import INTERNAL, INVALID, NOT_FOUND, Problem, ProblemDocument, problem_of, problem_of_input
from netd.web.api.requests import REQUEST_ID
from netd.web.api.route import UPLOADS, Call, Route, log_failure, route

MOST = 1000

Number = Annotated[int, Meta(ge=1, le=ROW_ID_MAX)]


class BulkItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One operation: ``do`` it, to the object ``id`` (none for a new one), with ``value`` as body, if it is still at version ``if_match``."""

    do: Annotated[str, Meta(max_length=64)]
    id: Number | None = None
    if_match: Annotated[int, Meta(ge=1)] | None = None
    value: dict[str, Any] = {}


class BulkOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Up to 1000 operations, done in this order."""

    items: Annotated[tuple[BulkItem, ...], Meta(min_length=1, max_length=MOST)]


class BulkResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one operation: ``status`` is what a request of its own would be answered, with its ``value`` or ``problem``."""

    status: int
    value: Any = None
    problem: ProblemDocument | None = None


class BulkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A result for each item, in its place."""

    done: int
    refused: int
    items: tuple[BulkResult, ...]


def bulk(path: str, permission: str, routes: Sequence[Route]) -> Route:
    """The bulk route of a resource; its operations are those of ``routes`` that change something, by the last word of their action."""
    operations = {
        each.action.rpartition(".")[2]: each for each in routes if each.method != "GET" and set(each.placeholders) <= {"id"} and each.body not in UPLOADS
    }

    noun = path.rpartition("/")[2].replace("-", "_")

    async def handler(call: Call, body: BulkOrder) -> BulkAnswer:
        results = tuple([await _one(call, operations, place, item) for place, item in enumerate(body.items)])
        done = sum(result.problem is None for result in results)
        return BulkAnswer(done=done, refused=len(results) - done, items=results)

    handler.__name__ = f"{noun}_bulk"
    summary = f"Many operations at once, each for itself: {', '.join(operations)}"
    return route("POST", f"{path}/bulk", permission=permission, action=f"{noun}.bulk", summary=summary)(handler)


async def _one(call: Call, operations: dict[str, Route], place: int, item: BulkItem) -> BulkResult:
    try:
        each = operations.get(item.do)
        if each is None:
            raise Problem(INVALID, f"there is no {item.do}", faults=[Fault("/do", f"there is no {item.do}; there are {', '.join(operations)}")])
        return await _done(call, each, item)
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            log_failure(call.request)
            problem = Problem(INTERNAL, "the log tells more under this request id")
        return BulkResult(status=problem.kind.status, problem=problem.document(f"{call.request.path}#/items/{place}", call.request[REQUEST_ID]))


async def _done(call: Call, each: Route, item: BulkItem) -> BulkResult:
    actor = call.actor
    if each.permission is not None:
        allowed = actor.allowed(each.permission)
        if allowed is None:
            await _refused(call, each)
            raise auth.refusal(actor, each.permission)
        actor = allowed
    arguments: dict[str, Any] = {}
    if "id" in each.placeholders:
        if item.id is None:
            raise Problem(INVALID, "which one?", faults=[Fault("/id", "is missing")])
        arguments["id"] = item.id
    elif item.id is not None:
        raise Problem(NOT_FOUND, "a new one has no id yet", faults=[Fault("/id", "is not for what makes a new one")])
    if each.body is not None:
        try:
            arguments["body"] = convert(item.value, each.body)
        except msgspec.ValidationError as error:
            found = [Fault("/value" + fault.where, fault.what) for fault in faults(item.value, each.body)]
            raise problem_of_input(error, found) from None
    try:
        value = await each.handler(Call(deps=call.deps, actor=actor, request=call.request, if_match=item.if_match), **arguments)
    except OutsideScope:
        await _refused(call, each)
        raise
    return BulkResult(status=each.status if each.returns is not None else 204, value=value)


async def _refused(call: Call, each: Route) -> None:
    await audit.refused(call.deps.database, call.actor, action=each.action, object_type="route", object_id=f"{each.method} {each.path}")
