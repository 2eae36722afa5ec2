"""The error tree: every slug of the wire has its class, and a stranger's error is still told."""

import pytest

from flowd_client import errors, wire
from flowd_client.errors import CallError, ConflictError, InvalidCallError, NotFoundError, RefusedError


@pytest.mark.parametrize("slug", wire.FAILURES)
def test_every_slug_of_the_daemon_becomes_a_call_error_with_its_code(slug: str) -> None:
    error = errors.of_answer({"code": wire.FAILURES[slug].code, "message": "m", "data": {"slug": slug, "n": 1}})
    assert (error.slug, error.code, error.data["n"]) == (slug, wire.FAILURES[slug].code, 1)
    expected = {400: InvalidCallError, 404: NotFoundError, 409: ConflictError, 429: RefusedError}
    kind = expected.get(wire.FAILURES[slug].http_status)
    if slug != "method_not_found" and kind is not None:
        assert type(error) is kind


def test_every_slug_of_the_client_has_a_class() -> None:
    made = [
        errors.DaemonNotRunningError("m", socket_path="/s"),
        errors.ConnectionLostError("flow.replay"),
        errors.TimedOutError("flow.replay", 1.5),
        errors.BadAnswerError("m"),
        errors.LocalFlowClientUnsupportedStateError("getRun"),
        errors.DaemonRunningError("/state", socket_path="/s"),
        errors.UnavailableModeError("m"),
    ]
    assert {error.slug for error in made} == set(wire.CLIENT_FAILURES)
    assert not any(isinstance(error, CallError) for error in made)


@pytest.mark.parametrize("error", [None, "no", [], {}, {"code": "x"}, {"code": -1, "message": 7, "data": "text"}])
def test_a_strangers_error_is_still_told(error: object) -> None:
    told = errors.of_answer(error)
    assert told.message
    assert told.slug == "internal"


def test_codes_of_json_rpc_have_slugs_without_data() -> None:
    assert errors.of_answer({"code": -32601, "message": "Method not found"}).slug == "method_not_found"
