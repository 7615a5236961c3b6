"""The OpenAPI 3.1 document, generated from the routes and the structs that validate.

Every operation lists the refusals that it can really give, so a client (and the contract's test) takes any other status for a defect.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import netd
from netd.web.api import schema
from netd.web.api.problem import CONTENT_TYPE, KINDS, ProblemDocument
from netd.web.api.route import CSV, UPLOADS, Download, Empty, Redirect, Route, is_versioned, places

SECURITY = "token"
SESSION = "session"

_TEXT = {"schema": {"type": "string"}}
_SECONDS = {"schema": {"type": "integer", "minimum": 1}, "required": True}
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {"description": "Finds the request again in log and audit; the caller's own, if it sent one", "required": True, **_TEXT},
    "WWW-Authenticate": {"description": "RFC 6750", "required": True, **_TEXT},
    "Retry-After": {"description": "Seconds", **_SECONDS},
    "ETag": {"description": "The version of the object, for If-Match", "required": True, **_TEXT},
    "Location": {"required": True, **_TEXT},
}
_ALSO = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document as plain values."""
    kinds: list[Any] = [ProblemDocument]
    for each in routes:
        kinds += [kind for kind in (each.query, each.body, each.returns) if kind not in (None, *UPLOADS, Download, Empty, Redirect)]
        kinds += each.placeholders.values()
    unique = list(dict.fromkeys(kinds))
    schemas, components = schema.components(unique)
    described = dict(zip(unique, schemas, strict=True))
    known = places(routes)
    paths: dict[str, dict[str, Any]] = {}
    for each in routes:
        operation = _operation(each, described, components)
        operation["responses"] = {
            **_successes(each, described, placed=known[each.path].holds),
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in refusals(each, known[each.path].versioned)},
        }
        if known[each.path].versioned and each.method != "GET":
            text = "The ETag of the version that is meant; 412 if the object has changed meanwhile"
            operation["parameters"].append({"name": "If-Match", "in": "header", "description": text, **_TEXT})
        paths.setdefault(each.full_path, {})[each.method.lower()] = operation
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
            "responses": _problems(described[ProblemDocument]),
            "headers": _HEADERS,
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
    }
    if each.public:
        operation["security"] = []
    parameters = [{"name": name, "in": "path", "required": True, "schema": described[kind]} for name, kind in each.placeholders.items()]
    parameters += _query_parameters(each, described, components)
    if each.takes_key:
        text = "Printable characters without blanks: sent again with the same key, the request is answered as before and does nothing"
        parameters.append({"name": "Idempotency-Key", "in": "header", "description": text, "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"}})
    if parameters:
        operation["parameters"] = parameters
    if each.body in UPLOADS:
        operation["requestBody"] = {"required": True, "content": {media_type: {"schema": {}} for media_type in each.body.media_types}}
    elif each.body is not None:
        required = bool(components[each.body.__name__].get("required"))
        operation["requestBody"] = {"required": required, "content": {"application/json": {"schema": described[each.body]}}}
    return operation


def refusals(each: Route, versioned: bool) -> list[int]:
    """The statuses of problems that the route can answer, in order. ``versioned``: its path has an ETag."""

    def found() -> Iterator[int]:
        yield from (422, 429, 500, 503, *each.errors)  # an unknown parameter is invalid everywhere
        changes, reads_body = each.method != "GET", each.body is not None or each.takes_key
        if not each.public:
            yield from (401, 403)  # what needs no permission is not for a subscriber's own token all the same
        if changes:
            yield 403
        if each.placeholders:
            yield 404
        if changes:
            yield from (409, 412)
        elif versioned:
            yield 412
        if reads_body:
            yield from (400, 408, 413, 415)

    return sorted(set(found()))


def _problems(schema_: dict[str, Any]) -> dict[str, Any]:
    """A response for each status that problems have."""
    made = {}
    for status in sorted({kind.status for kind in KINDS}):
        titles = dict.fromkeys(kind.title for kind in KINDS if kind.status == status)
        made[str(status)] = {
            "description": "; ".join(titles),
            "headers": _referred(("X-Request-ID", *_ALSO.get(status, ()))),
            "content": {CONTENT_TYPE: {"schema": schema_}},
        }
    return made


def _successes(each: Route, described: dict[Any, dict[str, Any]], *, placed: bool) -> dict[str, Any]:
    """What the route answers if all went well. ``placed``: what it makes can be asked for afterwards."""
    names = ["X-Request-ID"]
    if each.returns is Redirect:
        return {"302": {"description": each.summary, "headers": _referred([*names, "Location"])}}
    versioned = is_versioned(each.returns)
    if versioned:
        names.append("ETag")
    if (each.status == 201 and placed) or each.status == 202:
        names.append("Location")
    if each.returns is None:
        return {"204": {"description": "Done", "headers": _referred(names)}}
    if each.returns is Download:
        files: dict[str, Any] = {media_type: _file(media_type) for media_type in each.media_types}
        return {"200": {"description": each.summary, "headers": _referred(names), "content": files}}
    content: dict[str, Any] = {"application/json": {"schema": described[each.returns]}}
    if each.stream is not None:
        content["text/event-stream"] = _TEXT
    made = {str(each.status): {"description": each.summary, "headers": _referred(names), "content": content}}
    if each.awaited:
        made["200"] = {**made[str(each.status)], "description": "It was waited for (Prefer: wait) and has ended"}
    if versioned and each.method == "GET":
        made["304"] = {"description": "It is still the version of If-None-Match", "headers": _referred(names)}
    return made


def _referred(names: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _needs(each: Route) -> str:
    if each.permission:
        return f"Needs the permission `{each.permission}`."
    return "Needs no token." if each.public else "Any valid token or session."


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
