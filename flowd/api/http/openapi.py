"""The API as an OpenAPI 3.1 document, from the types that check the parameters and the shapes of the wire."""

import inspect
import re
from typing import Any

import msgspec

import flowd
from flowd.api.http.routes import Route
from flowd.domain.event import MAX_ID_CHARS, MAX_TYPE_CHARS
from flowd_client import wire

Schema = dict[str, Any]

_REF = "#/components/schemas/{name}"
_NO_CONTROLS = r"^[^\x00-\x1f\x7f]+$"
_EVENT: Schema = {
    "type": "object",
    "required": ["id", "type"],
    "description": "Unknown members are kept.",
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS, "pattern": _NO_CONTROLS},
        "type": {"type": "string", "minLength": 1, "maxLength": MAX_TYPE_CHARS, "pattern": _NO_CONTROLS},
        "source": {"type": "string"},
        "occurredAt": {"type": "string"},
        "receivedAt": {"type": "string"},
        "payload": {},
    },
}
_OPTIONS: Schema = {
    "type": "object",
    "properties": {
        "wait": {"type": "boolean"},
        "timeoutMs": {"type": "integer", "minimum": 0, "maximum": 86_400_000},
        "steps": {"type": "array", "items": {"type": "string"}},
    },
}
_WAITING = [
    {"name": "wait", "in": "query", "schema": {"type": "string", "enum": ["true", "false"]},
     "description": "Answer when all runs have ended."},
    {"name": "timeoutMs", "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 86_400_000},
     "description": "How long to wait at most."},
]  # fmt: skip
_STREAM_PARAMETERS = ("topics", "runId", "eventId", "after", "places", "encoding")
_ANY_ROUTE = ("400", "401", "403", "404", "405", "408", "413", "415", "431", "500", "503")


def document(routes: list[Route]) -> Schema:
    """The whole document."""
    shapes = [wire.RunShape, wire.EventShape, wire.AttemptShape, *(route.shape for route in routes if route.shape)]
    unique = list(dict.fromkeys(shapes))
    _, components = msgspec.json.schema_components(unique, ref_template=_REF)
    components["Event"] = _EVENT
    components["Error"] = {
        "type": "object",
        "required": ["error", "slug"],
        "properties": {"error": {"type": "string"}, "slug": {"enum": [*wire.FAILURES, *wire.HTTP_FAILURES]}},
    }
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
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
    in_path = re.findall(r"{(\w+)}", route.path)
    found = [{"name": name, "in": "path", "required": True, "schema": properties.pop(name, _NAME)} for name in in_path]
    if route.method == "POST":
        return [*found, *(_WAITING if route.body in ("event", "options") and route.status == 202 else [])]
    found += [{"name": name, "in": "query", "schema": _of_query(schema)} for name, schema in properties.items()]
    if route.path == "/stream":
        found += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in _STREAM_PARAMETERS]
    if route.path.endswith("/output"):
        found.append(
            {"name": "follow", "in": "query", "schema": {"type": "string", "enum": ["1", "true", "0", "false"]}}
        )
    return found


_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 2048}


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
    match route.body:
        case "event":
            content = {"application/json": {"schema": {"$ref": _REF.format(name="Event")}}}
            content["application/cloudevents+json"] = {"schema": {"type": "object"}}
            return {"required": True, "content": content}
        case "options":
            return {"content": {"application/json": {"schema": _OPTIONS}}}
        case "none":
            return {"content": {"application/json": {"schema": {"type": "object"}}}}
        case "hook":
            return {"required": True, "content": {"application/json": {"schema": {}}}}
        case _:
            return None


def _responses(route: Route) -> dict[str, Schema]:
    error = {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}}
    found: dict[str, Schema] = {str(route.status): _success(route)}
    codes = [*_ANY_ROUTE, *(("409", "422", "429") if route.method == "POST" else ())]
    if route.path.endswith("/output"):
        found["206"] = found["200"]
        codes.append("416")
    found |= {code: {"description": "Refused.", "content": error} for code in sorted(codes)}
    return found


def _success(route: Route) -> Schema:
    if route.path.endswith("/output"):
        content: Schema = {"text/plain": {}, "application/octet-stream": {}}
        content["application/json"] = {"schema": {"type": "object"}}
    elif route.path == "/metrics":
        content = {"text/plain": {}}
    elif route.path == "/stream":
        content = {"text/event-stream": {}}
    else:
        content = {"application/json": {"schema": _answer_schema(route)}}
    return {"description": inspect.cleandoc(route.summary), "content": content}


def _answer_schema(route: Route) -> Schema:
    if route.shape is not None:
        return {"$ref": _REF.format(name=route.shape.__name__)}
    run, event = ({"$ref": _REF.format(name=name)} for name in ("RunShape", "EventShape"))
    if route.path in ("/runs", "/events"):
        name = route.path[1:]
        item = run if name == "runs" else event
        properties: Schema = {name: {"type": "array", "items": item}, "nextCursor": {"type": "string"}}
        return {"type": "object", "required": [name], "properties": properties}
    if route.path.startswith("/runs/{runId}"):
        return {"type": "object", "required": ["run"], "properties": {"run": run}}
    if route.path == "/events/{eventId}":
        runs = {"type": "array", "items": run}
        return {"type": "object", "required": ["event", "runs"], "properties": {"event": event, "runs": runs}}
    return {"type": "object"}
