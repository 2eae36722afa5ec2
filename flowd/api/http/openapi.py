"""The API over HTTP as an OpenAPI 3.1 document, made of the same types that check parameters and make results."""

import re
from typing import Any

import msgspec

import flowd
from flowd.api import openrpc
from flowd.api.http.cloud_events import STRUCTURED
from flowd.api.http.responses import JSON
from flowd.api.http.route import Route
from flowd.domain.event import MAX_ID_CHARS, MAX_TYPE_CHARS
from flowd_client import wire

Schema = dict[str, Any]

_NO_CONTROLS = r"^[^\x00-\x1f\x7f]+$"
_EVENT: Schema = {
    "type": "object",
    "required": ["id", "type"],
    "description": "Unknown members are kept. notBefore, an instant with its offset and a year ahead at most: its runs "
    "start then.",
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS, "pattern": _NO_CONTROLS},
        "type": {"type": "string", "minLength": 1, "maxLength": MAX_TYPE_CHARS, "pattern": _NO_CONTROLS},
        "source": {"type": "string"},
        "occurredAt": {"type": "string"},
        "receivedAt": {"type": "string"},
        "payload": {},
    },
}
_WAITING = [
    {"name": "wait", "in": "query", "schema": {"type": "string", "enum": ["true", "false"]},
     "description": "Respond when all runs have ended."},
    {"name": "timeoutMs", "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 86_400_000},
     "description": "How long to wait at most."},
]  # fmt: skip
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 2048}
_BYTES = "application/octet-stream"
_ANY_ROUTE = ("400", "401", "403", "404", "405", "408", "413", "415", "431", "500", "503")


def document(routes: list[Route]) -> Schema:
    """The whole document."""
    components = openrpc.schemas([route.gives for route in routes if route.gives is not None])
    components["Event"] = _EVENT
    components["Error"] = {
        "type": "object",
        "required": ["error", "slug"],
        "properties": {"error": {"type": "string"}, "slug": {"enum": [*wire.FAILURES, *wire.HTTP_FAILURES]}},
    }
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.verb.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "flowd", "version": flowd.__version__, "summary": "Events in, supervised runs out."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "signatureV1": {"type": "apiKey", "in": "header", "name": "x-flow-signature-256"},
                "signatureV2": {"type": "apiKey", "in": "header", "name": "x-flow-signature-v2"},
            },
        },
        "security": [{}, {"bearer": []}, {"apiKey": []}, {"signatureV1": []}, {"signatureV2": []}],
    }


def _operation(route: Route) -> Schema:
    described: Schema = {
        "operationId": re.sub(r"\W+", "_", route.name).strip("_").lower(),
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.scope is not None:
        described["x-flowd-scope"] = route.scope
    body = _body(route)
    if body is not None:
        described["requestBody"] = body
    return described


def _parameters(route: Route) -> list[Schema]:
    properties = _properties(route)
    found = [
        {"name": name, "in": "path", "required": True, "schema": properties.pop(name, _NAME)}
        for name in _placeholders(route)
    ]
    if route.verb == "POST":
        return [*found, *(_WAITING if "wait" in properties else [])]
    if route.media == "text/event-stream":
        properties = {name: {"type": "string"} for name in properties}
    found += [{"name": name, "in": "query", "schema": _of_query(schema)} for name, schema in properties.items()]
    if route.media == _BYTES:
        flag = {"type": "string", "enum": ["1", "true", "0", "false"]}
        found.append({"name": "follow", "in": "query", "schema": flag})
    return found


def _placeholders(route: Route) -> list[str]:
    return re.findall(r"{(\w+)}", route.path)


def _properties(route: Route) -> dict[str, Schema]:
    if route.takes is None:
        return {}
    _, components = msgspec.json.schema_components([route.takes])
    return dict(components[route.takes.__name__].get("properties", {}))


def _of_query(schema: Schema) -> Schema:
    """A query has no null and no defaults to send; what takes text as well as numbers is text."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    if len(options) > 1:
        return {"type": "string"}
    return {key: value for key, value in options[0].items() if key != "default"}


def _body(route: Route) -> Schema | None:
    """The body of a POST: an event, or the parameters that are not in the path, or whatever a webhook sends."""
    if route.verb == "GET":
        return None
    if route.takes is None:
        return {"required": True, "content": {JSON: {"schema": {}}}}
    properties = _properties(route)
    if "event" in properties:
        event = {"schema": {"$ref": openrpc.REF.format(name="Event")}}
        return {"required": True, "content": {JSON: event, STRUCTURED: {"schema": {"type": "object"}}}}
    options = {name: _of_query(schema) for name, schema in properties.items() if name not in _placeholders(route)}
    whole = {"type": "object", "properties": options, "additionalProperties": False}
    return {"content": {JSON: {"schema": whole}}}


def _responses(route: Route) -> dict[str, Schema]:
    error = {JSON: {"schema": {"$ref": openrpc.REF.format(name="Error")}}}
    found: dict[str, Schema] = {str(route.status): _success(route)}
    codes = [*_ANY_ROUTE, *(("409", "422", "429") if route.verb == "POST" else ())]
    if route.media == _BYTES:
        found["206"] = found["200"]
        codes.append("416")
    found |= {code: {"description": "Refused.", "content": error} for code in sorted(codes)}
    return found


def _success(route: Route) -> Schema:
    content: Schema = {route.media: {}}
    if route.media == _BYTES:
        content["text/plain"] = {}
    if route.media in (JSON, _BYTES):
        content[JSON] = {"schema": openrpc.result_schema(route.gives)}
    return {"description": route.summary, "content": content}
