"""Checks that a webhook comes from who shares its secret, in the ways that senders have for it."""

import base64
import hmac
import time
from collections.abc import Iterable

from flowd.api.http.config import Hook
from flowd.api.http.guard import Headers, first
from flowd.api.http.responses import HttpError

_TOLERANCE_S = 300
"""Of a signed timestamp, either way; the libraries of Standard Webhooks and of Stripe use the same."""

_STANDARD_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_SVIX_HEADERS = ("svix-id", "svix-timestamp", "svix-signature")


def announce(hook: Hook, headers: Headers) -> None:
    """Refuse, by the headers alone, what cannot be proven: before its body is read.

    Raises:
        HttpError: ``invalid_signature``.
    """
    match hook.kind:
        case "standard-webhooks":
            _standard_headers(headers)
        case "token":
            _prove_token(hook, headers)
        case _:
            _given(hook, headers)


def prove(hook: Hook, headers: Headers, body: bytes) -> None:
    """Let a webhook pass, or refuse it.

    Raises:
        HttpError: ``invalid_signature`` or ``stale_signature``.
    """
    match hook.kind:
        case "standard-webhooks":
            _prove_standard(hook, headers, body)
        case "stripe":
            _prove_stripe(hook, headers, body)
        case "token":
            _prove_token(hook, headers)
        case _:
            _prove_hmac(hook, headers, body)


def _given(hook: Hook, headers: Headers) -> str:
    given = first(headers, hook.header.lower().encode())
    if given is None:
        message = f"The webhook has no header {hook.header}. Set the secret at its sender, too."
        raise HttpError("invalid_signature", message, headers=_challenge(hook))
    return given


def _challenge(hook: Hook) -> dict[str, str]:
    """Amazon SNS, for one, sends its password only to who has asked for one."""
    return {"www-authenticate": 'Basic realm="flowd"'} if hook.prefix == "Basic " else {}


def _prove_token(hook: Hook, headers: Headers) -> None:
    given = _given(hook, headers)
    texts = (base64.b64encode(secret) if hook.encoding == "base64" else secret for secret in hook.secrets)
    if not _is_any(given.encode("latin-1"), (hook.prefix.encode() + text for text in texts)):
        message = f"The secret in {hook.header} is another one than flowd's."
        raise HttpError("invalid_signature", message, headers=_challenge(hook))


def _prove_hmac(hook: Hook, headers: Headers, body: bytes) -> None:
    given = _given(hook, headers)
    if not given.startswith(hook.prefix):
        raise HttpError("invalid_signature", f"The signature in {hook.header} does not begin with {hook.prefix!r}.")
    signature = given.removeprefix(hook.prefix)
    if hook.encoding == "hex":
        signature = signature.lower()  # some senders write it in capitals
    digests = (hmac.digest(secret, body, hook.algorithm) for secret in hook.secrets)
    texts = (base64.b64encode(digest) if hook.encoding == "base64" else digest.hex().encode() for digest in digests)
    if not _is_any(signature.encode("latin-1"), texts):
        message = f"The signature in {hook.header} does not match: the sender has another secret."
        raise HttpError("invalid_signature", message)


def _prove_stripe(hook: Hook, headers: Headers, body: bytes) -> None:
    """``t=SECONDS,v1=HEX[,v1=HEX]`` of ``t.body``, as https://docs.stripe.com/webhooks says."""
    pairs = [part.strip().partition("=") for part in _given(hook, headers).split(",")]
    timestamp = next((value for name, _, value in pairs if name == "t"), "")
    seconds = _seconds(timestamp, f"t in {hook.header}")
    signed = timestamp.encode() + b"." + body
    expected = [hmac.digest(secret, signed, "sha256").hex().encode() for secret in hook.secrets]
    if not any(_is_any(value.lower().encode("latin-1"), expected) for name, _, value in pairs if name == "v1"):
        message = f"No v1 signature in {hook.header} matches: the sender has another secret."
        raise HttpError("invalid_signature", message)
    _check_age(seconds, f"t in {hook.header}")


def _standard_headers(headers: Headers) -> tuple[str, str, str]:
    for names in (_STANDARD_HEADERS, _SVIX_HEADERS):
        message_id, timestamp, signature = (first(headers, name.encode()) for name in names)
        if message_id and timestamp and signature:
            if "." in message_id:  # where it ends and the timestamp begins is signed with full stops
                message = f"{names[0]} has a full stop in it, which Standard Webhooks rules out."
                raise HttpError("invalid_signature", message)
            return message_id, timestamp, signature
    wanted = f"{', '.join(_STANDARD_HEADERS)} (or svix-id, svix-timestamp, svix-signature)"
    raise HttpError("invalid_signature", f"The webhook lacks one of {wanted}.")


def _prove_standard(hook: Hook, headers: Headers, body: bytes) -> None:
    """As https://github.com/standard-webhooks says: ``id.timestamp.body``, any of several ``v1,`` signatures."""
    message_id, timestamp, given = _standard_headers(headers)
    seconds = _seconds(timestamp, "The webhook's timestamp")
    signed = f"{message_id}.{timestamp}.".encode("latin-1") + body
    expected = [b"v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")) for secret in hook.secrets]
    if not any(_is_any(signature, expected) for signature in given.encode("latin-1").split()):
        raise HttpError("invalid_signature", "No signature of the webhook matches: the sender has another secret.")
    _check_age(seconds, "The webhook's timestamp")


def _seconds(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise HttpError("invalid_signature", f"{what} is not Unix seconds.")
    return int(text)


def _check_age(seconds: int, what: str) -> None:
    if abs(time.time() - seconds) > _TOLERANCE_S:  # the sender's clock is a wall clock, too
        message = f"{what} is more than {_TOLERANCE_S} s from the daemon's clock. Check both clocks."
        raise HttpError("stale_signature", message)


def _is_any(given: bytes, expected: Iterable[bytes]) -> bool:
    """Whether it is one of them; the time does not tell which."""
    fits = False
    for one in expected:
        fits |= hmac.compare_digest(one, given)
    return fits
