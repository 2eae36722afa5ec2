"""Turns exceptions into wire errors. Codes and statuses of the slugs are in `flowd_client.wire.FAILURES`."""

import logging
import secrets
from typing import Any

from flowd.domain.errors import FlowdError
from flowd_client import wire

log = logging.getLogger("flowd.api")


def error_of(slug: str, message: str, **details: object) -> dict[str, Any]:
    """A JSON-RPC error object."""
    return {"code": wire.FAILURES[slug].code, "message": message, "data": {"slug": slug, **details}}


def error_from(exception: Exception, *, method: str) -> dict[str, Any]:
    """The error to respond with. A deliberate one says what is wrong; any other is logged, and only its id is told."""
    if isinstance(exception, FlowdError):
        return error_of(exception.slug, exception.message, **exception.details)
    error_id = secrets.token_hex(6)
    log.error("unexpected error", extra={"error_id": error_id, "method": method}, exc_info=exception)
    return error_of("internal", f"A fault in flowd. Its log has the details under {error_id}.", errorId=error_id)
