from typing import Annotated

import msgspec
import pytest
from aiohttp import web

from netd.domain import inputs
from netd.domain.conversion import validation_fault
from netd.errors import Conflict, Fault, InvalidInput, NotFound, StoreError, StoreUnavailable
from netd.web import codec
from netd.web.api.problem import KINDS, problem_of, problem_of_input


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    mode: int


class Body(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    rates: dict[str, int] = {}
    locks: list[Inner] = []


@pytest.mark.parametrize(
    ("body", "pointer", "status"),
    [
        (b'{"name":1}', "/name", 422),
        (b"{}", "/name", 422),
        (b'{"name":"a","nme":1}', "/nme", 422),
        (b'{"name":"a","locks":[{"mode":1},{"mode":"x"}]}', "/locks/1/mode", 422),
        (b'{"name":"a","locks":[{"mode":1},{}]}', "/locks/1/mode", 422),
        (b'{"name":"a","locks":[{"mode":1,"a/b":1}]}', "/locks/0/a~1b", 422),
        (b'{"name":"a","rates":{"x":"y"}}', "/rates/*", 422),
        (b"[]", "", 422),
        (b'"x"', "", 422),
    ],
)
def test_a_fault_of_the_input_is_pointed_at(body, pointer, status):
    with pytest.raises(msgspec.DecodeError) as caught:
        codec.decode(body, Body)
    problem = problem_of_input(caught.value)
    assert problem.kind.status == status
    assert [fault.where for fault in problem.faults] == [pointer]
    assert " - at " not in problem.faults[0].what


@pytest.mark.parametrize("body", [b"{", b'{"name":"a"} x', b"\xff", b'{"name":NaN}'])
def test_what_is_not_json_is_malformed(body):
    with pytest.raises(msgspec.DecodeError) as caught:
        codec.decode(body, Body)
    assert problem_of_input(caught.value).kind.status == 400


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (inputs.Label, "", "is empty"),
        (inputs.Label, "x" * 65, "has more than 64 characters"),
        (inputs.Label, " x", "begins or ends with a blank, or has a control character in it"),
        (inputs.Note, "a\0", "has a control character in it"),
        (Annotated[str, msgspec.Meta(min_length=6)], "x", "has less than 6 characters"),
        (Annotated[int, msgspec.Meta(ge=1)], 0, "must be at least 1"),
        (Annotated[int, msgspec.Meta(le=5)], 6, "must be at most 5"),
        (Annotated[float, msgspec.Meta(ge=1)], 0.5, "must be at least 1"),
        (Annotated[float, msgspec.Meta(le=0.25)], 0.5, "must be at most 0.25"),
        (Annotated[float, msgspec.Meta(gt=0)], 0.0, "must be more than 0"),
        (Annotated[str, msgspec.Meta(pattern=inputs.TAG)], "a b", inputs.PATTERN_WORDS[inputs.TAG]),
        (Annotated[tuple[int, ...], msgspec.Meta(max_length=1)], [1, 2], "has more than 1 items"),
        (Body, {}, "is missing"),
        (Body, {"name": "a", "nme": 1}, "is not known here"),
        (Body, {"name": 1}, "Expected `str`, got `int`"),
    ],
)
def test_a_fault_is_told_in_words(kind, value, words):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, kind)
    assert validation_fault(str(caught.value)).what == words


def test_text_that_is_no_fault_of_a_member_points_at_the_whole():
    assert validation_fault("something else") == Fault("", "something else")


@pytest.mark.parametrize(
    ("error", "status", "pointers"),
    [
        (InvalidInput([Fault("/a", "x"), Fault("/b", "y")]), 422, ["/a", "/b"]),
        (NotFound("plan", 7), 404, []),
        (Conflict("taken", "name"), 409, ["/name"]),
        (Conflict("taken"), 409, []),
        (StoreUnavailable("host db.example refused"), 503, []),
        (web.HTTPNotFound(), 404, []),
        (web.HTTPMethodNotAllowed("PUT", ["GET", "POST"]), 405, []),
        (web.HTTPRequestEntityTooLarge(1, 2), 413, []),
        (web.HTTPUnsupportedMediaType(), 415, []),
        (web.HTTPBadRequest(), 400, []),
        (web.HTTPExpectationFailed(), 417, []),
    ],
)
def test_errors_have_their_status(error, status, pointers):
    problem = problem_of(error)
    assert problem is not None
    assert problem.kind.status == status
    assert [fault.where for fault in problem.faults] == pointers


@pytest.mark.parametrize("error", [ValueError("secret"), StoreError("column x"), KeyError("x"), msgspec.ValidationError("a row that does not decode")])
def test_a_defect_is_no_problem_that_is_told(error):
    assert problem_of(error) is None


def test_the_database_address_is_not_told():
    problem = problem_of(StoreUnavailable("host db.example refused"))
    assert problem is not None
    assert "db.example" not in problem.detail
    assert problem.headers["Retry-After"]


def test_the_answer_is_a_problem_document():
    problem = problem_of(Conflict("taken", "name"))
    assert problem is not None
    answer = problem.answer("/api/v1/plans", "r1")
    assert (answer.status, answer.content_type) == (409, "application/problem+json")
    assert isinstance(answer.body, bytes)
    assert msgspec.json.decode(answer.body) == {
        "type": "/problems/conflict", "title": "The change would break a rule", "status": 409, "detail": "taken", "instance": "/api/v1/plans",
        "request_id": "r1", "errors": [{"pointer": "/name", "detail": "taken"}],
    }  # fmt: skip


def test_slugs_are_unique():
    assert len({kind.slug for kind in KINDS}) == len(KINDS)
