"""The API described to machines, from the same types that check it."""

import inspect
from typing import TYPE_CHECKING, Any

import msgspec

import flowd
from flowd_client import wire

if TYPE_CHECKING:
    from flowd.api.methods import Method


def document(table: "dict[str, Method]") -> dict[str, Any]:
    """An OpenRPC 1.3 document."""
    kinds = [method.params for method in table.values()]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    del schemas
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "flowd",
            "version": flowd.__version__,
            "description": f"Protocol {wire.PROTOCOL_VERSION}. JSON-RPC 2.0, one value a line, or with LSP headers.",
        },
        "methods": [_method(name, method, components) for name, method in sorted(table.items())],
        "components": {
            "schemas": components,
            "errors": {
                slug: {"code": failure.code, "message": failure.meaning, "data": {"slug": slug}}
                for slug, failure in wire.FAILURES.items()
            },
        },
    }


def _method(name: str, method: "Method", components: dict[str, Any]) -> dict[str, Any]:
    schema = components[method.params.__name__]
    required = set(schema.get("required", ()))
    return {
        "name": name,
        "summary": method.summary,
        "description": inspect.getdoc(method.params) or "",
        "paramStructure": "either",
        "params": [
            {"name": key, "required": key in required, "schema": value}
            for key, value in schema.get("properties", {}).items()
        ],
        "result": {"name": "result", "schema": {"type": "object"}},
    }
