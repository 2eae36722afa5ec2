"""Reads ``[hooks.NAME]``: webhooks of other systems, and how each becomes an event."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from flowd.api.http.config import Hook, HookValue
from flowd.formats.typed import About, Meta, Problem, Struct
from flowd.settings.secrets import SecretsReader


class ValueTable(Struct, forbid_unknown_fields=True):
    """A member of a payload that has a default."""

    pointer: Annotated[str, About("A template, as for `id`.")]
    default: Annotated[
        str | int | float | bool | list[Any] | dict[str, Any] | None,
        About("In place of what is absent or null.", default="it is left out"),
    ] = None


_Payload = Annotated[
    str | dict[str, str | ValueTable],
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


class HookTable(Struct, forbid_unknown_fields=True):
    """``[hooks.NAME]``."""

    kind: Annotated[
        Literal["github", "standard-webhooks", "hmac", "stripe", "token"],
        About(
            "Who sends it, and so how it proves itself; `hmac` and `token` are for everybody else.", example='"github"'
        ),
    ]
    secret_file: Annotated[
        Annotated[str, Meta(description="a path")] | None, About("A file with the secrets, one a line.")
    ] = None
    secret_env: Annotated[
        Annotated[str, Meta(description="a variable's name")] | None,
        About("A variable of the daemon's environment with one. No step inherits it."),
    ] = None
    id: Annotated[
        str | None,
        About(
            "The event's id, as a template: text with `{/json/pointer}`, `{header:NAME}` and `{body:sha256}` in it, or "
            "one of these bare.",
            default="that of its `kind`",
            example='"{header:X-Delivery}"',
        ),
    ] = None
    type: Annotated[
        str | None, About("The event's type, likewise.", default="that of its `kind`", example='"shop.{/kind}"')
    ] = None
    source: Annotated[str | None, About("The event's source, likewise.", example='"shop"')] = None
    occurred_at: Annotated[str | None, About("When it happened, likewise.", example='"/created"')] = None
    payload: Annotated[
        _Payload | None,
        About(
            "One template, or a table of them by name.", default="the whole body", example='{ tag = "/release/tag" }'
        ),
    ] = None
    when: Annotated[
        Annotated[dict[str, Any], Meta(description='a table, like "/action" = ["published"]')] | None,
        About(
            "Templates with the values that they may have; everything else is ignored.",
            default="everything",
            example='{ "/action" = ["published"] }',
        ),
    ] = None
    header: Annotated[
        str | None,
        About("With the signature, or with the secret itself for `token`.", default="that of its `kind`"),
    ] = None
    algorithm: Annotated[
        Literal["sha1", "sha256", "sha512"] | None, About("Of the signature.", default='`"sha256"`')
    ] = None
    prefix: Annotated[str | None, About("Of the header's value before the signature.", default="none")] = None
    encoding: Annotated[Literal["hex", "base64"] | None, About("Of the signature.", default='`"hex"`')] = None

    def problems(self) -> Iterator[Problem]:
        """What it lacks."""
        if self.secret_file is None and self.secret_env is None:
            yield Problem("needs secret_file (a path) or secret_env (a variable's name)")
        given = {"id": self.id, "type": self.type, "header": self.header}
        needed = ("id", "type") if self.kind == "standard-webhooks" else ("id", "type", "header")
        missing = [key for key in needed if not (given[key] or _DEFAULTS[self.kind].get(key))]
        if missing:
            yield Problem(f"needs {' and '.join(missing)}")


def read_hook(name: str, table: HookTable, where: str, secrets: SecretsReader) -> Hook:
    """Make a webhook of its table, with its secrets.

    Args:
        where: The file, for messages.

    Raises:
        ValueError: A secret cannot be used.
    """
    where = f"{where}: [hooks.{name}]"
    found = secrets.named(table.secret_file, table.secret_env, where)
    if table.kind == "standard-webhooks":
        found = [_standard_secret(secret, where) for secret in found]
    texts = ("id", "type", "source", "occurred_at", "header", "algorithm", "prefix", "encoding")
    given = {key: value for key in texts if (value := getattr(table, key)) is not None}
    return Hook(
        name=name,
        kind=table.kind,
        secrets=tuple(found),
        payload=_payload(table.payload),
        when=None if table.when is None else {key: _values(value) for key, value in table.when.items()},
        **{**_DEFAULTS[table.kind], **given},
    )


def _payload(given: str | dict[str, str | ValueTable] | None) -> str | dict[str, HookValue] | None:
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
