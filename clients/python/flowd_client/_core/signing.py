"""Signatures of requests, as flowd's HTTP shim checks them."""

import hashlib
import hmac
import secrets
import time


def signed_v1(secret: bytes, body: bytes) -> dict[str, str]:
    """The reference system's signature: of the exact body and nothing else.

    >>> signed_v1(b"s3", b'{"id":"s1","type":"slow.ev","payload":{}}')["x-flow-signature-256"][:19]
    'sha256=0691652d72d5'
    """
    return {"x-flow-signature-256": f"sha256={hmac.digest(secret, body, 'sha256').hex()}"}


def signed_v2(secret: bytes, verb: str, target: str, body: bytes) -> dict[str, str]:
    """A signature of the whole request: method, path with query, time, a nonce and the body. Good for one sending."""
    timestamp, nonce = str(int(time.time())), secrets.token_hex(16)  # the server compares it with its own wall clock
    return signature_v2(secret, verb, target, body, timestamp=timestamp, nonce=nonce)


def signature_v2(secret: bytes, verb: str, target: str, body: bytes, *, timestamp: str, nonce: str) -> dict[str, str]:
    """As `signed_v2`, for a given moment and nonce."""
    text = "\n".join((verb, target, timestamp, nonce, hashlib.sha256(body).hexdigest()))
    return {
        "x-flow-signature-v2": f"sha256={hmac.digest(secret, text.encode(), 'sha256').hex()}",
        "x-flow-timestamp": timestamp,
        "x-flow-nonce": nonce,
    }
