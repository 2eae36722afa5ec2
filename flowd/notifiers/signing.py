"""Signs notices as Standard Webhooks has it: https://www.standardwebhooks.com."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

_PREFIX = "whsec_"


def read_secret(text: str) -> bytes:
    """A secret as it is written.

    >>> read_secret("whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=")
    b'secret-secret-secret'

    Raises:
        ValueError: It is none; the message holds nothing of it.
    """
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a Standard Webhooks secret is whsec_ and base64") from None
    if len(secret) < 8:
        raise ValueError("a Standard Webhooks secret has 24 bytes or more; make one: openssl rand -base64 32")
    return secret


def headers(notice_id: str, at_s: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """What tells a receiver which notice it is, and whose; without secrets, no signature is among it."""
    found = {"webhook-id": notice_id, "webhook-timestamp": str(at_s)}
    if secrets:
        signed = f"{notice_id}.{at_s}.".encode() + body
        found["webhook-signature"] = " ".join(_signature(signed, secret) for secret in secrets)
    return found


def _signature(signed: bytes, secret: bytes) -> str:
    return f"v1,{base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()}"
