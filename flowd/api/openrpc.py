"""The API as an OpenRPC document, made of the same types that check parameters and make results."""

import inspect
from typing import Any

import msgspec

import flowd
from flowd.api.method import Method
from flowd.api.shapes import View
from flowd_client import wire
from flowd_client.methods import METHODS

Schema = dict[str, Any]

REF = "#/components/schemas/{name}"


def document(table: dict[str, Method]) -> Schema:
    """An OpenRPC 1.3 document."""
    views = [method.view for method in table.values() if method.view is not None]
    components = schemas([*(method.params for method in table.values()), *views])
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "flowd",
            "version": flowd.__version__,
            "description": f"Protocol {wire.PROTOCOL_VERSION}. JSON-RPC 2.0, one value a line, or with LSP headers.",
        },
        "methods": [_described(name, method, components) for name, method in sorted(table.items())],
        "components": {
            "schemas": components,
            "errors": {
                slug: {"code": failure.code, "message": failure.meaning, "data": {"slug": slug}}
                for slug, failure in wire.FAILURES.items()
            },
        },
    }


def result_schema(view: type[View] | None) -> Schema:
    """The schema of a result, as a reference where it is a view."""
    return {"type": "object"} if view is None else {"$ref": REF.format(name=view.__name__)}


def schemas(types: list[Any]) -> Schema:
    """The JSON Schemas of types and of all that they refer to, by name."""
    _, components = msgspec.json.schema_components(list(dict.fromkeys(types)), ref_template=REF)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    views = {view.__name__ for view in _all_views(View)}
    for name in views & components.keys():
        components[name]["properties"] = {
            member: _present(schema) for member, schema in components[name]["properties"].items()
        }
    return components


def _all_views(base: type[View]) -> list[type[View]]:
    return [view for kind in base.__subclasses__() for view in (kind, *_all_views(kind))]


def _present(schema: Schema) -> Schema:
    """The schema of a member of a view where it is there: a member that is unknown is absent, never null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return rest if not options else {**rest, **(options[0] if len(options) == 1 else {"anyOf": options})}


def _described(name: str, method: Method, components: Schema) -> Schema:
    schema = components[method.params.__name__]
    required = set(schema.get("required", ()))
    return {
        "name": name,
        "summary": METHODS[name].summary,
        "description": inspect.getdoc(method.params) or "",
        "paramStructure": "either",
        "params": [
            {"name": key, "required": key in required, "schema": value}
            for key, value in schema.get("properties", {}).items()
        ],
        "result": {"name": "result", "schema": result_schema(method.view)},
    }
