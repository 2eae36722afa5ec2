"""What is allowed in a trigger, and may match nothing. Told where somebody asks for a check."""

import json
from collections.abc import Iterator, Mapping

from flowd.domain.finding import Finding
from flowd.domain.flow import Flow
from flowd.domain.step import Step

_OF_AN_EVENT = frozenset({"id", "type", "source", "occurredAt", "receivedAt", "payload"})
_KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "number": (int, float),
    "integer": (int, float),
    "null": (type(None),),
}


def trigger_doubts(flow: Flow) -> Iterator[Finding]:
    """Findings about triggers that no event matches, as far as that is cheaply known."""
    for step in flow.steps:
        if step.trigger is None:
            continue
        if step.trigger.type != step.trigger.type.strip():
            message = f'step "{step.name}": trigger type "{step.trigger.type}" has a blank at an end, which counts'
            meant = step.trigger.type.strip()
            yield flow.doubt(flow.place(step.name, "trigger", "type"), "blank-in-type", message, suggestion=meant)
        for sentence in _schema(step):
            message = f'step "{step.name}": schema {step.trigger.schema} {sentence}'
            yield flow.doubt(flow.place(step.name, "trigger", "schema"), "never-matches", message)


def _schema(step: Step) -> Iterator[str]:
    check = step.trigger.check if step.trigger is not None else None
    if check is None or check.source is None:
        return
    schema = json.loads(check.source.documents[check.source.path].decode("utf-8-sig"))
    properties = schema.get("properties")
    known = frozenset(properties) if isinstance(properties, dict) else frozenset()
    if "payload" in known and len(known & _OF_AN_EVENT) > 1:
        yield "describes an event, and is asked about its payload alone; move what stands under payload to the top"
    elif why := why_never(schema):
        yield f"fits no payload: {why}"


def why_never(schema: Mapping[str, object], at: str = "$") -> str | None:
    """Why nothing fits a schema; None where that is not plain to see.

    >>> why_never({"required": ["tag"], "properties": {"tga": {}}, "additionalProperties": False})
    '$ requires tag, which its additionalProperties forbids'
    >>> why_never({"properties": {"n": {"type": "integer", "minimum": 5, "maximum": 1}}, "required": ["n"]})
    '$.n has a minimum of 5 and a maximum of 1'
    >>> why_never({"properties": {"n": {"enum": []}}}) is None
    True
    """
    properties, required = schema.get("properties"), schema.get("required")
    properties = properties if isinstance(properties, dict) else {}
    required = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    is_closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    forbidden = [name for name in required if is_closed and name not in properties]
    # Another type than an object's fits whatever these keywords say.
    if required and schema.get("type", "object" if at == "$" else None) == "object":
        if forbidden:
            return f"{at} requires {forbidden[0]}, which its additionalProperties forbids"
        below = (
            why_never(properties[name], f"{at}.{name}") for name in required if isinstance(properties.get(name), dict)
        )
        if why := next(filter(None, below), None):
            return why
        if never := next((name for name in required if properties.get(name) is False), None):
            return f"{at} requires {never}, whose schema is false"
    return _values(schema, at)


def _values(schema: Mapping[str, object], at: str) -> str | None:
    kinds, choices = schema.get("type"), schema.get("enum")
    if choices == []:
        return f"{at} has an empty enum"
    types = _KINDS.get(kinds) if isinstance(kinds, str) else None
    if types and isinstance(choices, list) and not any(isinstance(choice, types) for choice in choices):
        return f"no value in the enum of {at} is of its type, {kinds}"
    if types and "const" in schema and not isinstance(schema["const"], types):
        return f"the const of {at} is not of its type, {kinds}"
    for low, high in (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")):
        least, most = schema.get(low), schema.get(high)
        if isinstance(least, int | float) and isinstance(most, int | float) and least > most and types is not None:
            return f"{at} has a {low} of {least} and a {high} of {most}"
    return None
