"""/radius/test/auth and /radius/postauth: what would be, and what was answered."""

from typing import Annotated

import msgspec
from msgspec import Meta

from netd.domain import attempts
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.ports import Verdict
from netd.model.attempt import Attempt
from netd.web.api.route import Call, route


class AuthTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An Access-Request to be thought through. Without ``password`` it is taken as right; ``nas`` is a name, else the tenant's first."""

    username: Annotated[str, Meta(min_length=1, max_length=253)]
    password: Annotated[str, Meta(max_length=128)] | None = None
    nas: Annotated[str, Meta(min_length=1, max_length=64)] | None = None

    def __repr__(self) -> str:
        return f"AuthTest(username={self.username!r}, nas={self.nas!r})"


@route(
    "POST", "/radius/test/auth", permission="radius:test", summary="What would be answered to this log-in now? No attempt is counted", errors=(404,),
    action="radius.test_auth",
)  # fmt: skip
async def auth_test(call: Call, body: AuthTest) -> Verdict:
    return await attempts.try_out(call.deps.database, call.actor, call.deps.probe, body.username, body.password, body.nas)


@route("GET", "/radius/postauth", permission="subscribers:read", summary="The answers to Access-Requests, newest first", query=attempts.AttemptQuery)
async def attempt_list(call: Call, query: ListQuery) -> Page[Attempt]:
    return await attempts.page(call.deps.database, call.actor, query)


ROUTES = (auth_test, attempt_list)
