"""The OpenAPI 3.1 document, generated from the routes and the structs that validate."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

import netd
from netd.web.api import schema
from netd.web.api.problem import CONTENT_TYPE, ProblemDocument
from netd.web.api.route import CSV, UPLOADS, Download, Empty, Redirect, Route

SECURITY = "token"
SESSION = "session"


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document as plain values."""
    kinds: list[Any] = [ProblemDocument]
    for each in routes:
        kinds += [kind for kind in (each.query, each.body, each.returns) if kind not in (None, *UPLOADS, Download, Empty, Redirect)]
        kinds += each.placeholders.values()
    unique = list(dict.fromkeys(kinds))
    schemas, components = schema.components(unique)
    described = dict(zip(unique, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in routes:
        paths.setdefault(each.full_path, {})[each.method.lower()] = _operation(each, described, components)
    for kind in {each.query for each in routes} - {Empty}:
        components.pop(described[kind]["$ref"].rpartition("/")[2], None)  # shown as parameters instead
    return {
        "openapi": "3.1.0",
        "info": {"title": "netd control API", "version": netd.__version__, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "security": [{SECURITY: []}, {SESSION: []}],
        "tags": [{"name": name} for name in dict.fromkeys(_tag(each) for each in routes)],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {"Problem": {"description": "What went wrong (RFC 9457)", "content": {CONTENT_TYPE: {"schema": described[ProblemDocument]}}}},
            "securitySchemes": {
                SECURITY: {"type": "http", "scheme": "bearer", "description": "A token made by `netd token create`"},
                SESSION: {"type": "apiKey", "in": "cookie", "name": "__Host-netd_session", "description": "A user's session; changes need X-CSRF-Token, too"},
            },
        },
    }


def _tag(each: Route) -> str:
    names = [name for name in each.path.split("/") if name and not name.startswith("{")]
    return "/".join(names[:2]) if names[0] == "radius" else names[0]


def _operation(each: Route, described: dict[Any, dict[str, Any]], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": each.handler.__name__,
        "summary": each.summary,
        "description": _needs(each),
        "tags": [_tag(each)],
        "responses": {str(_status(each)): _response(each, described), "default": {"$ref": "#/components/responses/Problem"}},
    }
    if each.awaited:
        operation["responses"]["200"] = {**_response(each, described), "description": "It was waited for (Prefer: wait) and has ended"}
    if each.public:
        operation["security"] = []
    parameters = [{"name": name, "in": "path", "required": True, "schema": described[kind]} for name, kind in each.placeholders.items()]
    parameters += _query_parameters(each, described, components)
    if each.method in ("PATCH", "DELETE") and "id" in each.placeholders:
        text = "The ETag of the version to change; 412 if the object has changed meanwhile"
        parameters.append({"name": "If-Match", "in": "header", "description": text, "schema": {"type": "string"}})
    if parameters:
        operation["parameters"] = parameters
    if each.body in UPLOADS:
        operation["requestBody"] = {"required": True, "content": {media_type: _file(media_type) for media_type in each.body.media_types}}
    elif each.body is not None:
        required = bool(components[each.body.__name__].get("required"))
        operation["requestBody"] = {"required": required, "content": {"application/json": {"schema": described[each.body]}}}
    return operation


def _status(each: Route) -> int:
    if each.returns is Redirect:
        return 302
    return each.status if each.returns is not None else 204


def _needs(each: Route) -> str:
    if each.permission:
        return f"Needs the permission `{each.permission}`."
    return "Needs no token." if each.public else "Any valid token or session."


def _response(each: Route, described: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    if each.returns is None:
        return {"description": "Done"}
    if each.returns is Redirect:
        return {"description": each.summary, "headers": {"Location": {"schema": {"type": "string"}}}}
    if each.returns is Download:
        return {"description": each.summary, "content": {media_type: _file(media_type) for media_type in each.media_types}}
    content: dict[str, Any] = {"application/json": {"schema": described[each.returns]}}
    if each.stream is not None:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {"description": each.summary, "content": content}


def _file(media_type: str) -> dict[str, Any]:
    if media_type == CSV or media_type.endswith("ndjson"):
        return {"schema": {"type": "string"}}
    return {"schema": {"type": "string", "format": "binary"}}


def _query_parameters(each: Route, described: dict[Any, dict[str, Any]], components: dict[str, Any]) -> list[dict[str, Any]]:
    if each.query is Empty:
        return []
    struct = components[re.sub(r"^.*/", "", described[each.query]["$ref"])]
    required = set(struct.get("required", ()))
    return [{"name": name, "in": "query", "required": name in required, "schema": of} for name, of in struct["properties"].items()]


def encode(routes: Sequence[Route]) -> bytes:
    """The document as served."""
    return msgspec.json.encode(document(routes))
