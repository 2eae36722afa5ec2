"""Turns webhooks of other services into events: checks the signature, then fills in the configured templates.

A provider sends a webhook again when it got no response, so the event's id must come from the webhook: then the second
one is a duplicate. Every refusal says its reason to the sender and in the log.
"""

import hashlib
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flowd.api.http import hook_bodies, hook_proofs, templates
from flowd.api.http.call import Call
from flowd.api.http.config import Hook, HookValue
from flowd.api.http.guard import Headers, first
from flowd.api.http.refusals import Refusals
from flowd.api.http.responses import HttpError
from flowd.api.http.templates import NoValueError

log = logging.getLogger("flowd.api.hooks")

_SIGNS_BODY_ONLY = ("github", "hmac")


class IgnoredError(Exception):
    """The webhook is genuine, but does not meet the hook's ``when``. ``str(error)`` says why."""


class Hooks:
    """The configured webhooks."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._hooks: Mapping[str, Hook] = {}
        self._refusals: dict[str, Refusals] = {}
        self._refusals_of_none = Refusals(log, "hook refused")
        self.take(hooks)

    def take(self, hooks: Mapping[str, Hook]) -> None:
        """Have these from now on."""
        self._hooks = hooks
        self._refusals = {name: self._refusals.get(name) or Refusals(log, "hook refused", hook=name) for name in hooks}
        for name, hook in hooks.items():
            if hook.kind in _SIGNS_BODY_ONLY and "header:" in hook.id:
                log.warning(
                    "hook id is not signed",
                    extra={
                        "hook": name,
                        "problem": "The sender signs the body only, and the id is of a header: who has caught one "
                        "webhook can send it again under other ids. Take the id from the body, or {body:sha256}.",
                    },
                )

    def admit(self, name: str, headers: Headers) -> None:
        """Refuse, before the body is read, what its headers cannot prove.

        Raises:
            HttpError: Unknown hook, or no signature.
        """
        try:
            hook_proofs.announce(self._hook(name), headers)
        except HttpError as refusal:
            self._note(name, refusal)
            raise

    def event(self, call: Call) -> dict[str, Any]:
        """The event that a webhook becomes.

        Raises:
            HttpError: Unknown hook, wrong signature, no JSON, or no value where an id or a type is looked for.
            IgnoredError: It does not meet ``when``.
        """
        name = call.values["name"]
        try:
            hook = self._hook(name)
            hook_proofs.prove(hook, call.headers, call.body)
            made = _made(hook, call, hook_bodies.content(call))
        except HttpError as refusal:
            self._note(name, refusal)
            raise
        except IgnoredError as reason:
            log.info("hook ignored", extra={"hook": name, "reason": str(reason)})
            raise
        return made

    def _hook(self, name: str) -> Hook:
        hook = self._hooks.get(name)
        if hook is None:
            raise HttpError("not_found", f"There is no hook {name[:100]!r} here; flowd.toml has [hooks.NAME].")
        return hook

    def _note(self, name: str, refusal: HttpError) -> None:
        """Each hook has lines of its own, so that whoever guesses at one hides nothing of another."""
        if (refusals := self._refusals.get(name)) is not None:
            refusals.note(refusal.slug, reason=refusal.message)
        else:
            self._refusals_of_none.note(refusal.slug, hook=name[:100], reason=refusal.message)


def _made(hook: Hook, call: Call, body: Any) -> dict[str, Any]:
    def value_of(reference: str) -> str | None:
        if reference == templates.BODY_HASH:
            return hashlib.sha256(call.body).hexdigest()
        name = reference.removeprefix("header:").strip().lower()
        found = first(call.headers, name.encode())
        if found is None and name.startswith("webhook-"):
            found = first(call.headers, b"svix-" + name.removeprefix("webhook-").encode())
        return found

    for reference, accepted in (hook.when or {}).items():
        try:
            found = templates.render(reference, body, value_of)
        except NoValueError as missing:
            raise IgnoredError(f"{missing} is not there") from None
        if found not in accepted:
            raise IgnoredError(f"{reference} is {found[:100]!r}, not {' or '.join(map(repr, accepted))}")
    try:
        # An id with a gap in it would make duplicates of webhooks that have nothing in common.
        made: dict[str, Any] = {
            "id": templates.render(hook.id, body, value_of, takes_empty=False),
            "type": templates.render(hook.type, body, value_of, takes_empty=False),
        }
    except NoValueError as missing:
        raise HttpError("unmapped_hook", f"The webhook has no value for {missing}; see [hooks.{hook.name}].") from None
    # All else is optional, and left out where the webhook has none.
    for member, template in (("source", hook.source), ("occurredAt", hook.occurred_at)):
        if template is not None:
            with suppress(NoValueError):
                made[member] = templates.render(template, body, value_of)
    with suppress(NoValueError):
        made["payload"] = _payload(hook, body, value_of)
    return made


def _payload(hook: Hook, body: Any, value_of: templates.ValueOf) -> Any:
    if not isinstance(hook.payload, Mapping):
        return templates.value(hook.payload or "", body, value_of)
    members = {}
    for name, wanted in hook.payload.items():
        with suppress(NoValueError):
            members[name] = _member(wanted, body, value_of)
    return members


def _member(wanted: HookValue, body: Any, value_of: templates.ValueOf) -> Any:
    """A member of the payload. With a default, a null counts as absent."""
    try:
        found = templates.value(wanted.template, body, value_of)
    except NoValueError:
        if wanted.default is None:
            raise
        return wanted.default
    return wanted.default if found is None else found
