"""Reads what webhooks carry: JSON, whatever the sender calls it, or a form."""

from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from flowd.api.http.call import Call, decoded
from flowd.api.http.responses import HttpError

_FORM = "application/x-www-form-urlencoded"
_FORM_MEMBER = "payload"
"""Where GitHub, Gitea and Slack put their JSON when they send a form."""

_CALLED_JSON = ("", "application/json", "text/json", "text/plain")
"""Amazon SNS calls its JSON text. The sender has proven itself by now, so no web page gets in this way."""

_MAX_FIELDS = 1000


def content(call: Call) -> Any:
    """The webhook's content as JSON would have it. A form without ``payload`` is an object of texts.

    What is JSON is no form, whatever it is called: a sender signs its body and not its Content-Type, and with another
    one a text in it could pass for the form's ``payload``.

    Raises:
        HttpError: ``unsupported_media_type`` or ``bad_request``.
    """
    kind = call.media_type
    if kind in _CALLED_JSON or kind.endswith("+json"):
        return decoded(call.body)
    if kind == _FORM:
        return _form(call.body) if (found := _object(call.body)) is None else found
    raise HttpError("unsupported_media_type", f"A webhook is JSON or a form ({_FORM}); this one is {kind[:100]!r}.")


def _object(body: bytes) -> Any:
    """A JSON object or array; None for everything else."""
    if body.lstrip()[:1] not in (b"{", b"["):
        return None
    with suppress(HttpError):
        return decoded(body)
    return None


def _form(body: bytes) -> Any:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise HttpError("bad_request", f"The body is not a form in UTF-8: {error}.") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return decoded(fields[_FORM_MEMBER].encode()) if _FORM_MEMBER in fields else fields
