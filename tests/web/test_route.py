import msgspec
import pytest

from netd.web.api import resources
from netd.web.api.route import Call, route


class Loose(msgspec.Struct):
    a: int = 1


def test_parameters_must_be_the_placeholders_of_the_path():
    with pytest.raises(TypeError, match="placeholders"):

        @route("GET", "/things/{id}", permission="plans:read", summary="x")
        async def thing_show(call: Call, number: int) -> None: ...


def test_input_must_forbid_unknown_fields():
    with pytest.raises(TypeError, match="forbid"):

        @route("GET", "/things", permission="plans:read", summary="x")
        async def thing_list(call: Call, query: Loose) -> None: ...


def test_a_change_needs_an_action():
    with pytest.raises(TypeError, match="action"):

        @route("POST", "/things", permission="plans:write", summary="x")
        async def thing_create(call: Call) -> None: ...


def test_a_permission_must_exist():
    with pytest.raises(TypeError, match="no permission"):

        @route("GET", "/things", permission="things:read", summary="x")
        async def thing_list(call: Call) -> None: ...


def test_the_signature_is_the_contract():
    @route("DELETE", "/things/{id}/{name}", permission="plans:write", summary="x", action="thing.delete")
    async def thing_delete(call: Call, id: int, name: str) -> None: ...

    assert thing_delete.pattern == "/api/v1/things/{id:[0-9]{1,18}}/{name}"
    assert (thing_delete.full_path, thing_delete.returns, thing_delete.body) == ("/api/v1/things/{id}/{name}", None, None)


def test_every_route_is_described_and_named_once():
    assert len({each.handler.__name__ for each in resources.ROUTES}) == len(resources.ROUTES)
    assert len({(each.method, each.path) for each in resources.ROUTES}) == len(resources.ROUTES)
    for each in resources.ROUTES:
        assert each.summary
        if each.method != "GET" and not each.public:
            assert each.permission is not None
            assert not each.permission.endswith(":read")
