"""/api/docs: the OpenAPI document as pages for people. HTML made here, one stylesheet and one script of netd's own; nothing is fetched from elsewhere."""

import asyncio
import gzip
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

from aiohttp import hdrs, web

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS: Final = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"}
_ASSETS: Final = {"reference.css": "text/css", "reference.js": "text/javascript"}
_BODY_METHODS: Final = frozenset(("post", "patch", "put"))
_FORMATS: Final = {
    "date-time": "2026-11-01T12:00:00Z", "date": "2026-11-01", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1", "ipv4-prefix": "192.0.2.0/24",
    "ipv6-prefix": "2001:db8::/48",
}  # fmt: skip


def add_reference(app: web.Application, document: Mapping[str, Any]) -> None:
    """Register /api/docs and what it shows itself with. The page is made when somebody first asks for it."""

    @cache
    def made() -> tuple[bytes, bytes]:
        plain = page(document).encode()
        return plain, gzip.compress(plain)

    async def show(request: web.Request) -> web.Response:
        plain, small = await asyncio.to_thread(made)  # it takes longer than RADIUS should wait
        headers = {**_HEADERS, hdrs.VARY: hdrs.ACCEPT_ENCODING}
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            return web.Response(body=small, content_type="text/html", charset="utf-8", headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})
        return web.Response(body=plain, content_type="text/html", charset="utf-8", headers=headers)

    app.router.add_get("/api/docs", show)
    for name, media_type in _ASSETS.items():
        app.router.add_get(f"/api/docs/{name}", _asset(Path(__file__).with_name(name).read_bytes(), media_type))


def _asset(data: bytes, media_type: str) -> Any:
    async def send(request: web.Request) -> web.Response:
        return web.Response(body=data, content_type=media_type, charset="utf-8", headers=_HEADERS)

    return send


def page(document: Mapping[str, Any]) -> str:
    """The whole reference as one HTML page."""
    title = f"{document['info']['title']} {document['info']['version']}"
    by_tag: dict[str, list[str]] = {tag["name"]: [] for tag in document["tags"]}
    index: dict[str, list[str]] = {tag: [] for tag in by_tag}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            (tag,) = operation["tags"]
            by_tag[tag].append(_operation(document, path, method, operation))
            label = f"<b>{method.upper()}</b> {_breakable(path.removeprefix('/api/v1'))}"
            index[tag].append(f'<li class="{method}"><a href="#{_name(operation["operationId"])}">{label}</a></li>')
    schemas = document["components"]["schemas"]
    return "\n".join((
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>',
        '<link rel="stylesheet" href="/api/docs/reference.css"><script src="/api/docs/reference.js" defer></script></head><body>',
        f'<nav><h1>{escape(title)}</h1><input id="search" type="search" placeholder="Path, word or permission" aria-label="Search">',
        *(f"<section><h2>{escape(tag)}</h2><ul>{''.join(items)}</ul></section>" for tag, items in index.items()),
        '<section><h2><a href="#problems">Refusals</a></h2><h2><a href="#schemas">Schemas</a></h2></section></nav>',
        f"<main>{_INTRODUCTION}",
        *(f"<section><h2>{escape(tag)}</h2>{''.join(operations)}</section>" for tag, operations in by_tag.items()),
        f'<section><h2 id="problems">Refusals</h2>{_problems(document["components"]["responses"])}</section>',
        f'<section><h2 id="schemas">Schemas</h2>{"".join(_component(name, schemas[name]) for name in sorted(schemas))}</section></main></body></html>',
    ))  # fmt: skip


_INTRODUCTION = """<p>Machines read the same at <a href="/api/openapi.json">/api/openapi.json</a> (OpenAPI 3.1). Send a token with each request:
<code>Authorization: Bearer …</code>. Examples take it, and where netd is, from <code>$NETD_TOKEN</code> and <code>$NETD_URL</code>.</p>"""


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    parts = [f"<p>{_words(operation['description'])}</p>"]
    if parameters := operation.get("parameters"):
        asked = ((_code(each["name"]), escape(each["in"]), _type(each["schema"]), _notes(each)) for each in parameters)
        parts.append(_table("Parameters", ("Name", "In", "Type", ""), asked))
    if body := operation.get("requestBody"):
        sent = ((_code(media), _type(content["schema"]) or "the file as it is") for media, content in body["content"].items())
        parts.append(_table("Body", ("Content-Type", "Schema"), sent))
    responses = operation["responses"]
    parts.append(_table("Answers", ("Status", "Meaning", "Schema"), (_answer(status, each) for status, each in responses.items() if "$ref" not in each)))
    refusals = ", ".join(f'<a href="#problem-{status}">{status}</a>' for status, each in responses.items() if "$ref" in each)
    parts.append(f"<p>Refusals: {refusals}</p>")
    parts.append(f"<h4>Example</h4><pre>{escape(curl(document, path, method, operation))}</pre>")
    head = f'<span class="method">{method.upper()}</span> <code>{_breakable(path)}</code> <span class="what">{_words(operation["summary"])}</span>'
    return f'<details class="operation {method}" id="{_name(operation["operationId"])}"><summary>{head}</summary>{"".join(parts)}</details>'


def _answer(status: str, response: Mapping[str, Any]) -> tuple[str, str, str]:
    shown = ", ".join(f"{_type(content['schema'])} <small>{escape(media)}</small>" for media, content in response.get("content", {}).items())
    return _code(status), _words(response["description"]), shown


def _problems(responses: Mapping[str, Any]) -> str:
    """What each status of a refusal means; all have the same form."""
    answers = [_answer(status, response) for status, response in responses.items()]
    rows = [f'<tr><td id="problem-{status}">{code}</td><td>{told}</td></tr>' for status, (code, told, _) in zip(responses, answers, strict=True)]
    form = answers[0][2]
    return f"<p>A refusal is a {form}. Its <code>errors</code> name all that is wrong with the input.</p><table><tbody>{''.join(rows)}</tbody></table>"


def curl(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    """A command line that calls the operation, with values of the right form in all that is required."""
    schemas = document["components"]["schemas"]
    parameters = operation.get("parameters", ())
    target = re.sub(r"{(\w+)}", lambda m: str(_sample(schemas, next(p["schema"] for p in parameters if p["name"] == m[1]))), path)
    needed = [f"{each['name']}={_sample(schemas, each['schema'])}" for each in parameters if each["in"] == "query" and each.get("required")]
    words = ["curl"] + ([] if method == "get" else [f"-X {method.upper()}"])
    if "security" not in operation:
        words.append('-H "Authorization: Bearer $NETD_TOKEN"')
    if method in _BODY_METHODS and "requestBody" in operation:
        media, content = next(iter(operation["requestBody"]["content"].items()))  # the first of several will do
        words.append(f"-H 'Content-Type: {media}'")
        words.append(f"-d '{json.dumps(_sample(schemas, content['schema']), ensure_ascii=False)}'" if media == "application/json" else "--data-binary @FILE")
    return " ".join([*words, f'"$NETD_URL{target}{"?" + "&".join(needed) if needed else ""}"'])


def _sample(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """A value of the schema's form: of an object the required members, or the first one."""
    if "$ref" in schema:
        return _sample(schemas, schemas[schema["$ref"].rpartition("/")[2]])
    for known in ("examples", "enum"):
        if known in schema:
            return schema[known][0]
    if "anyOf" in schema:
        return _sample(schemas, next((each for each in schema["anyOf"] if each.get("type") != "null"), {}))
    match schema.get("type"):
        case "object":
            members = schema.get("properties", {})
            return {name: _sample(schemas, members[name]) for name in schema.get("required") or list(members)[:1]}
        case "array":
            items: Mapping[str, Any] = schema.get("items") or next(iter(schema.get("prefixItems", ())), {})
            return [_sample(schemas, items)] if schema.get("minItems", 1) else []
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
        case _:
            return _FORMATS.get(schema.get("format", ""), "text")


def _component(name: str, schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = (
        (_code(member), _type(of), _words(" ".join(filter(None, ("required" * (member in required), of.get("description", "")))))) for member, of in
        schema.get("properties", {}).items()
    )  # fmt: skip
    told = f"<p>{_words(schema['description'])}</p>" if "description" in schema else ""
    table = _table("", ("Member", "Type", ""), rows) if "properties" in schema else f"<p>{_type(schema)}</p>"
    return f'<details class="schema" id="schema-{_name(name)}"><summary><code>{escape(schema.get("title", name))}</code></summary>{told}{table}</details>'


_LIMITS = (("minimum", "≥ {}"), ("maximum", "≤ {}"), ("minLength", "at least {} characters"), ("maxLength", "up to {} characters"), ("minItems", "at least {}"),
           ("maxItems", "up to {}"), ("pattern", "{}"))  # fmt: skip


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in words, with links to those it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{_name(name)}">{escape(name)}</a>'
    if "enum" in schema:
        return " | ".join(_code(json.dumps(each)) for each in schema["enum"])
    if "anyOf" in schema:
        own = [escape(str(schema["type"]))] if "type" in schema and not any("type" in each or "$ref" in each for each in schema["anyOf"]) else []
        return " ".join([*own, " | ".join(_type(each) for each in schema["anyOf"])])
    if schema.get("type") == "array":
        inner = _type(schema["items"]) if schema.get("items") else ", ".join(_type(each) for each in schema.get("prefixItems", ()))
        return f"array of {inner or 'anything'}{_limits(schema)}"
    return escape(" ".join(str(schema[key]) for key in ("type", "format") if key in schema)) + _limits(schema)


def _limits(schema: Mapping[str, Any]) -> str:
    told = [_code(words.format(schema[key])) if key == "pattern" else escape(words.format(schema[key])) for key, words in _LIMITS if key in schema]
    return f" <small>{', '.join(told)}</small>" if told else ""


def _notes(parameter: Mapping[str, Any]) -> str:
    alternatives = [parameter, parameter["schema"], *parameter["schema"].get("anyOf", ())]
    told = ["required"] if parameter.get("required") else []
    told += [each["description"] for each in alternatives if "description" in each]
    if (default := parameter["schema"].get("default")) is not None:
        told.append(f"default `{json.dumps(default)}`")
    return _words("; ".join(told))


def _table(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    return f"{f'<h4>{escape(title)}</h4>' if title else ''}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _words(text: str) -> str:
    """Prose; what stands in backticks as code."""
    return re.sub(r"`+([^`]+)`+", r"<code>\1</code>", escape(text))


def _breakable(path: str) -> str:
    return escape(path).replace("/", "/<wbr>")


def _name(text: str) -> str:
    """Fit for an anchor."""
    return re.sub(r"[^\w-]", "_", text)
