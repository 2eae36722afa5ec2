"""Reads CloudEvents 1.0 as flow events. Owns `cloudevents`, whose rules for attributes apply; imported when one comes.

``id``, ``type`` and ``source`` keep their names, ``time`` becomes ``occurredAt``, ``data`` the ``payload``, and the
extension ``notbefore`` ``notBefore``, for names of attributes have small letters; all other attributes, extensions
included, stay beside them as members of the event. flowd knows events by their id alone,
while a CloudEvent is known by source and id together: the event's id is both, with a space between them, which no
source contains.
"""

import base64
import binascii
import hashlib
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from flowd.api.http.call import Call, decoded
from flowd.api.http.guard import Headers, first
from flowd.api.http.responses import HttpError
from flowd.domain.event import MAX_ID_CHARS

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
SPEC_VERSION = "1.0"
_OWN = frozenset({"id", "type", "source", "time", "data", "data_base64"})


def is_one(call: Call) -> bool:
    """Whether a request carries a CloudEvent."""
    return call.media_type.startswith("application/cloudevents") or is_binary(call.headers)


def is_binary(headers: Headers) -> bool:
    """Whether a request carries its CloudEvent in headers, of which no signature tells."""
    return first(headers, b"ce-specversion") is not None


def plain_identity(event: object) -> str | None:
    """The identity of a CloudEvent that was sent as plain JSON; None for every other event.

    Who has caught a signed CloudEvent can send it with another Content-Type: that is not signed.
    """
    if not isinstance(event, dict) or event.get("specversion") != SPEC_VERSION:
        return None
    source, event_id = event.get("source"), event.get("id")
    return identity(source, event_id) if isinstance(source, str) and isinstance(event_id, str) else None


def identity(source: str, event_id: str) -> str:
    """The id of the flow event that a CloudEvent becomes. A source that leaves no room stands there as its hash.

    >>> identity("/sensors/7", "1")
    '/sensors/7 1'
    """
    joined = f"{source} {event_id}"
    if len(joined) <= MAX_ID_CHARS:
        return joined
    return f"sha256:{hashlib.sha256(source.encode()).hexdigest()} {event_id}"


def event(call: Call) -> dict[str, Any]:
    """The flow event in a request, under the CloudEvent's own id.

    Raises:
        HttpError: ``unsupported_media_type`` for a batch or another format than JSON, ``bad_request`` for what breaks
            the specification.
    """
    if call.media_type == BATCH:
        raise HttpError(
            "unsupported_media_type", "Send CloudEvents one at a time: each is accepted or refused by itself."
        )
    if call.media_type == STRUCTURED:
        attributes, data = _structured(decoded(call.body))
    elif call.media_type.startswith("application/cloudevents"):
        raise HttpError("unsupported_media_type", f"Send CloudEvents as {STRUCTURED}, or in binary mode.")
    else:
        attributes, data = _binary(call)
    _check(attributes, data)
    kept = {name: value for name, value in attributes.items() if name not in _OWN and value is not None}
    made = {**kept, "id": attributes["id"], "type": attributes["type"], "source": attributes["source"]}
    if attributes.get("time") is not None:
        made["occurredAt"] = attributes["time"].upper()
    if "notbefore" in made:
        made["notBefore"] = made.pop("notbefore")
    return {**made, "payload": {} if data is None else data}


def _structured(value: Any) -> tuple[dict[str, Any], Any]:
    if not isinstance(value, dict):
        raise HttpError("bad_request", "A structured CloudEvent is a JSON object.")
    attributes = {name: item for name, item in value.items() if name not in ("data", "data_base64")}
    if "data_base64" not in value:
        return attributes, value.get("data")
    try:
        data = base64.b64decode(value["data_base64"], validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise HttpError("bad_request", "data_base64 is not base64.") from None
    return attributes, _data(data, str(attributes.get("datacontenttype", "")))


def _binary(call: Call) -> tuple[dict[str, Any], Any]:
    attributes: dict[str, Any] = {}
    for name, value in call.headers:
        if name.startswith(b"ce-"):
            # Percent-encoded UTF-8, says the HTTP binding in 3.1.3.2.
            attributes.setdefault(name[3:].decode("latin-1"), unquote(value.decode("latin-1"), errors="replace"))
    if call.media_type:
        attributes["datacontenttype"] = call.header(b"content-type")
    return attributes, _data(call.body, call.media_type) if call.body else None


def _data(data: bytes, media_type: str) -> Any:
    kind = media_type.partition(";")[0].strip().lower()
    if kind in ("", "application/json", "text/json") or kind.endswith("+json"):
        return decoded(data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}


def _check(attributes: dict[str, Any], data: Any) -> None:
    from cloudevents.core.exceptions import CloudEventValidationError  # noqa: PLC0415 - few send CloudEvents
    from cloudevents.core.v1.event import CloudEvent  # noqa: PLC0415

    if attributes.get("specversion") != SPEC_VERSION:
        raise HttpError("bad_request", "flowd takes CloudEvents of specversion 1.0.")
    for name in ("id", "source", "type"):
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise HttpError("bad_request", f"Not a CloudEvent of version 1.0: see {name}.", attributes=name)
    checked = {name: value for name, value in attributes.items() if value is not None}
    try:
        if "time" in checked:
            # RFC 3339 takes both cases of T and Z, and JavaScript's dates are read by upper-case ones only.
            checked["time"] = datetime.fromisoformat(checked["time"].upper())
        CloudEvent(checked, data)
    except CloudEventValidationError as error:
        names = ", ".join(sorted(error.errors))
        raise HttpError("bad_request", f"Not a CloudEvent of version 1.0: see {names}.", attributes=names) from None
    except (AttributeError, TypeError, ValueError):
        raise HttpError("bad_request", "Not a CloudEvent of version 1.0: time is not an RFC 3339 timestamp.") from None
