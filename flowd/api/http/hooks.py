"""Turns webhooks of other services into events: checks the signature, then fills in the configured templates.

A provider sends a webhook again when it got no response, so the event's id must come from the webhook: then the second
one is a duplicate. Every refusal says its reason to the sender and in the log.
"""

import base64
import hmac
import logging
import time
from collections.abc import Mapping
from typing import Any

from flowd.api.http import templates
from flowd.api.http.call import Call
from flowd.api.http.config import Hook
from flowd.api.http.responses import HttpError
from flowd.api.http.templates import NoValueError

log = logging.getLogger("flowd.api.hooks")

_TOLERANCE_S = 300
"""Of a Standard Webhooks timestamp, either way; the specification's libraries use the same."""


class IgnoredError(Exception):
    """The webhook is genuine, but does not meet the hook's ``when``. ``str(error)`` says why."""


class Hooks:
    """The configured webhooks."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._hooks = hooks

    def event(self, call: Call) -> dict[str, Any]:
        """The event that a webhook becomes.

        Raises:
            HttpError: Unknown hook, wrong signature, no JSON, or a value missing where the configuration looks for one.
            IgnoredError: It does not meet ``when``.
        """
        name = call.values["name"]
        hook = self._hooks.get(name)
        try:
            if hook is None:
                raise HttpError("not_found", f"There is no hook {name[:100]!r} here; flowd.toml has [hooks.NAME].")
            _prove(hook, call)
            made = _made(hook, call, call.json())
        except HttpError as refusal:
            log.warning("hook refused", extra={"hook": name[:100], "slug": refusal.slug, "reason": refusal.message})
            raise
        except IgnoredError as reason:
            log.info("hook ignored", extra={"hook": name, "reason": str(reason)})
            raise
        return made


def _made(hook: Hook, call: Call, body: Any) -> dict[str, Any]:
    def header_of(name: str) -> str | None:
        return call.header(name.lower().encode())

    for reference, accepted in (hook.when or {}).items():
        try:
            found = templates.render(reference, body, header_of)
        except NoValueError as missing:
            raise IgnoredError(f"{missing} is not there") from None
        if found not in accepted:
            raise IgnoredError(f"{reference} is {found[:100]!r}, not {' or '.join(map(repr, accepted))}")
    try:
        # An id with a gap in it would make duplicates of webhooks that have nothing in common.
        made: dict[str, Any] = {
            "id": templates.render(hook.id, body, header_of, takes_empty=False),
            "type": templates.render(hook.type, body, header_of, takes_empty=False),
        }
        for member, template in (("source", hook.source), ("occurredAt", hook.occurred_at)):
            if template is not None:
                made[member] = templates.render(template, body, header_of)
        made["payload"] = _payload(hook, body, header_of)
    except NoValueError as missing:
        raise HttpError("unmapped_hook", f"The webhook has no value for {missing}; see [hooks.{hook.name}].") from None
    return made


def _payload(hook: Hook, body: Any, header_of: templates.HeaderOf) -> Any:
    if isinstance(hook.payload, Mapping):
        return {name: templates.value(template, body, header_of) for name, template in hook.payload.items()}
    return templates.value(hook.payload or "", body, header_of)


def _prove(hook: Hook, call: Call) -> None:
    match hook.kind:
        case "github":
            _prove_hmac(hook, call, header="X-Hub-Signature-256", prefix="sha256=")
        case "hmac":
            _prove_hmac(hook, call, header=hook.header, prefix=hook.prefix)
        case "standard-webhooks":
            _prove_standard(hook, call)


def _prove_hmac(hook: Hook, call: Call, *, header: str, prefix: str) -> None:
    given = call.header(header.lower().encode())
    if given is None:
        raise HttpError("invalid_signature", f"The webhook has no header {header}. Set the secret at its sender, too.")
    fits = False
    for secret in hook.secrets:
        digest = hmac.digest(secret, call.body, hook.algorithm)
        text = base64.b64encode(digest).decode() if hook.encoding == "base64" else digest.hex()
        fits |= hmac.compare_digest(f"{prefix}{text}".encode(), given.encode("latin-1"))
    if not fits:
        raise HttpError(
            "invalid_signature", f"The signature in {header} does not match: the sender has another secret."
        )


def _prove_standard(hook: Hook, call: Call) -> None:
    """As https://github.com/standard-webhooks says: ``id.timestamp.body``, any of several ``v1,`` signatures."""
    message_id, timestamp, given = (
        call.header(name) for name in (b"webhook-id", b"webhook-timestamp", b"webhook-signature")
    )
    if not message_id or not timestamp or not given:
        raise HttpError("invalid_signature", "The webhook lacks webhook-id, webhook-timestamp or webhook-signature.")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        raise HttpError("invalid_signature", "webhook-timestamp is not Unix seconds.")
    signed = f"{message_id}.{timestamp}.".encode("latin-1") + call.body
    expected = [b"v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")) for secret in hook.secrets]
    fits = False
    for signature in given.encode("latin-1").split():
        for one in expected:
            fits |= hmac.compare_digest(one, signature)
    if not fits:
        raise HttpError(
            "invalid_signature", "No signature in webhook-signature matches: the sender has another secret."
        )
    if abs(time.time() - int(timestamp)) > _TOLERANCE_S:  # the sender's clock is a wall clock, too
        raise HttpError(
            "stale_signature",
            f"webhook-timestamp is more than {_TOLERANCE_S} s from the daemon's clock. Check both clocks.",
        )
