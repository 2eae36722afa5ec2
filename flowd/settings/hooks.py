"""Reads ``[hooks.NAME]``: webhooks of other systems, and how each becomes an event."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from flowd.api.http.config import Hook, HookValue
from flowd.formats.typed import Meta, Struct, read_table
from flowd.settings.secrets import SecretsReader


class _ValueTable(Struct, forbid_unknown_fields=True):
    pointer: str
    default: str | int | float | bool | list[Any] | dict[str, Any] | None = None


_Payload = Annotated[
    str | dict[str, str | _ValueTable],
    Meta(description="a JSON Pointer, or a table of them by name"),
]

_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    # By default an id is of what the sender signs, and GitHub signs the body, not the headers.
    "github": {
        "id": "github:{body:sha256}",
        "type": "github.{header:X-GitHub-Event}",
        "source": "github",
        "header": "X-Hub-Signature-256",
        "prefix": "sha256=",
    },
    "stripe": {"id": "/id", "type": "stripe.{/type}", "source": "stripe", "header": "Stripe-Signature"},
    "standard-webhooks": {"id": "{header:webhook-id}", "type": "/type"},
    "hmac": {},
    "token": {},
}


class _HookTable(Struct, forbid_unknown_fields=True):
    kind: Literal["github", "standard-webhooks", "hmac", "stripe", "token"]
    secret_file: Annotated[str, Meta(description="a path")] | None = None
    secret_env: Annotated[str, Meta(description="a variable's name")] | None = None
    id: str | None = None
    type: str | None = None
    source: str | None = None
    occurred_at: str | None = None
    payload: _Payload | None = None
    when: Annotated[dict[str, Any], Meta(description='a table, like "/action" = ["published"]')] | None = None
    header: str | None = None
    algorithm: Literal["sha1", "sha256", "sha512"] | None = None
    prefix: str | None = None
    encoding: Literal["hex", "base64"] | None = None


def read_hook(name: str, members: Mapping[str, Any], where: str, secrets: SecretsReader) -> Hook:
    """Read a webhook, with its secrets.

    Args:
        where: The file, for messages.

    Raises:
        ValueError: Something in it cannot be used.
    """
    where = f"{where}: [hooks.{name}]"
    table = read_table(members, _HookTable, where)
    found = secrets.named(table.secret_file, table.secret_env, where)
    if table.kind == "standard-webhooks":
        found = [_standard_secret(secret, where) for secret in found]
    texts = ("id", "type", "source", "occurred_at", "header", "algorithm", "prefix", "encoding")
    given = {key: value for key in texts if (value := getattr(table, key)) is not None}
    given = {**_DEFAULTS[table.kind], **given}
    needed = ("id", "type") if table.kind == "standard-webhooks" else ("id", "type", "header")
    missing = [key for key in needed if not given.get(key)]
    if missing:
        raise ValueError(f"{where} needs {' and '.join(missing)}.")
    return Hook(
        name=name,
        kind=table.kind,
        secrets=tuple(found),
        payload=_payload(table.payload),
        when=None if table.when is None else {key: _values(value) for key, value in table.when.items()},
        **given,
    )


def _payload(given: str | dict[str, str | _ValueTable] | None) -> str | dict[str, HookValue] | None:
    if given is None or isinstance(given, str):
        return given
    return {
        name: HookValue(value) if isinstance(value, str) else HookValue(value.pointer, value.default)
        for name, value in given.items()
    }


def _values(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in (value if isinstance(value, list) else [value]))


def _standard_secret(secret: bytes, where: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(b"whsec_"), validate=True)
    except binascii.Error:
        raise ValueError(f"{where}: a Standard Webhooks secret is whsec_ and base64.") from None
