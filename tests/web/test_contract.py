"""schemathesis, which nobody here wrote, asks every route what its description allows and what it forbids; the answers must be as described.

`make soak` looks longer (CONTRACT_EXAMPLES, CONTRACT_SEED) and asks for every boundary besides.
"""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from netd.errors import NotFound
from netd.web.api import resources
from netd.web.api.openapi import refusals
from netd.web.api.route import places
from tests.web.running import Api

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "2"))
SEED = os.environ.get("CONTRACT_SEED", "1")
PHASES = os.environ.get("CONTRACT_PHASES", "fuzzing")
SECONDS = int(os.environ.get("CONTRACT_SECONDS", "800"))

LEFT_OUT = {
    "positive_data_acceptance": "what a schema cannot say (there is such a plan, this range is free) is refused with 422",
    "unsupported_method": "tests/web/test_app.py asks for 405 and Allow",
    "ignored_auth": "tests/web/test_app.py asks every route without and with bad tokens",
}
"""Checks that are not asked for, and why."""


async def schemathesis(api: Api, token: str, *more: str) -> tuple[int, str]:
    """Its exit code and report on the running API."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"), "run", f"{api.url}/api/openapi.json", "--header", f"Authorization: Bearer {token}",
        "--phases", PHASES, "--max-examples", str(EXAMPLES), "--seed", SEED, "--exclude-checks", ",".join(LEFT_OUT), "--continue-on-failure",
        "--generation-database", "none", "--no-shrink", "--no-color", "--warnings", "off", "--request-timeout", "120", "--suppress-health-check", "all",
        *more,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("contract.py"))},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd="/tmp",
    )  # fmt: skip
    try:
        told, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError:
        process.kill()
        raise
    return process.returncode or 0, told.decode()


@pytest.mark.timeout(SECONDS + 30)
async def test_every_answer_is_as_described(api: Api):
    code, told = await schemathesis(api, api.tokens["admin"])
    assert code == 0, told
    asked = re.search(r"Tested: +(\d+)", told)
    assert asked is not None and int(asked[1]) == len(resources.ROUTES), told


async def test_a_route_that_breaks_its_word_is_found(api: Api):
    """An answer that lacks a member, and one of an undescribed status: both are told, so that a green run means something."""
    by_name = {each.handler.__name__: each for each in resources.ROUTES}
    whoami, permissions = by_name["whoami"], by_name["permission_list"]
    kept = whoami.handler, permissions.handler

    async def without_grants(call):
        return {"tenant_id": "one", "name": "x", "role": "x"}

    async def absent(call):
        raise NotFound("permission", 1)

    object.__setattr__(whoami, "handler", without_grants)
    object.__setattr__(permissions, "handler", absent)
    try:
        code, told = await schemathesis(api, api.tokens["admin"], "--include-path", whoami.full_path, "--include-path", permissions.full_path)
    finally:
        object.__setattr__(whoami, "handler", kept[0])
        object.__setattr__(permissions, "handler", kept[1])
    assert code == 1, told
    assert "'grants'" in told or '"grants"' in told, told
    assert "Undocumented" in told, told


def test_statuses_follow_from_the_route():
    """Those that schemathesis cannot provoke are described all the same, and nothing is described that cannot be."""
    known = places(resources.ROUTES)
    by_name = {each.handler.__name__: refusals(each, known[each.path].versioned) for each in resources.ROUTES}
    assert by_name["plan_update"] == [400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 429, 500, 503]
    assert by_name["plan_list"] == [401, 403, 422, 429, 500, 503]
    assert by_name["plan_show"] == [401, 403, 404, 412, 422, 429, 500, 503]
    assert by_name["whoami"] == [401, 403, 422, 429, 500, 503]
    assert by_name["login_methods"] == [422, 429, 500, 503]
    assert {502, 504} <= set(by_name["session_disconnect"])
