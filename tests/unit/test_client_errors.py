"""The error tree: every slug of the wire has its class, and a stranger's error is still told."""

import copy
import pickle

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


def of_the_client() -> list[errors.FlowClientError]:
    return [
        errors.DaemonNotRunningError("m", socket_path="/s"),
        errors.UntrustedDaemonError("/s", uid=7),
        errors.ConnectionLostError("flow.replay"),
        errors.TimedOutError("flow.replay", 1.5),
        errors.BadAnswerError("m"),
        errors.LocalFlowClientUnsupportedStateError("getRun"),
        errors.DaemonRunningError("/state", socket_path="/s"),
        errors.UnavailableModeError("m"),
    ]


def test_every_slug_of_the_client_has_a_class() -> None:
    made = of_the_client()
    assert {error.slug for error in made} == set(wire.CLIENT_FAILURES)
    assert not any(isinstance(error, CallError) for error in made)


def all_errors() -> list[errors.FlowClientError]:
    """One of each class, as it is raised."""
    slugs = [*wire.FAILURES, *wire.HTTP_FAILURES]
    refusals = [errors.of_answer({"code": -1, "message": "m", "data": {"slug": slug, "n": [1]}}) for slug in slugs]
    return [*of_the_client(), *refusals, errors.FlowClientError("connection_lost", "m")]


def classes_below(kind: type) -> set[type]:
    return {kind}.union(*(classes_below(below) for below in kind.__subclasses__()))


def test_every_error_is_the_same_after_another_process_has_sent_it() -> None:
    made = all_errors()
    assert {type(error) for error in made} == classes_below(errors.FlowClientError)
    for error in made:
        error.add_note("from a worker")
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(error, protocol))
            assert (type(again), again.args, vars(again)) == (type(error), error.args, vars(error))
        assert vars(copy.deepcopy(error)) == vars(error)


@pytest.mark.parametrize("error", [None, "no", [], {}, {"code": "x"}, {"code": -1, "message": 7, "data": "text"}])
def test_a_strangers_error_is_still_told(error: object) -> None:
    told = errors.of_answer(error)
    assert told.message
    assert told.slug == "internal"


def test_codes_of_json_rpc_have_slugs_without_data() -> None:
    assert errors.of_answer({"code": -32601, "message": "Method not found"}).slug == "method_not_found"
