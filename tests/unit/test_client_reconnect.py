"""How long a client asks again, by the failures that it sees and a clock that is passed in."""

import pytest

from flowd_client._core.reconnect import ReconnectPolicy
from flowd_client.errors import ConnectionLostError, DaemonNotRunningError, FlowClientError


def lost(cause: FlowClientError | None = None) -> ConnectionLostError:
    error = ConnectionLostError("flow.dispatch")
    error.__cause__ = cause
    return error


def asks_again(policy: ReconnectPolicy, error: FlowClientError, now_s: float, *, begun_s: float | None = None) -> bool:
    try:
        policy.pause_s(error, now_s if begun_s is None else begun_s, now_s)
    except FlowClientError:
        return False
    return True


def test_a_daemon_that_was_never_there_is_not_waited_for() -> None:
    assert not asks_again(ReconnectPolicy(10, "flow.dispatch"), DaemonNotRunningError("nobody"), 0)


def test_one_that_hangs_up_at_once_may_be_dying_and_is_asked_again_for_a_second() -> None:
    policy = ReconnectPolicy(10, "flow.dispatch")
    assert asks_again(policy, lost(), 0)
    assert asks_again(policy, lost(), 0.9)
    assert not asks_again(policy, lost(), 1.0)


def test_one_that_was_dying_and_is_gone_is_waited_for() -> None:
    policy = ReconnectPolicy(10, "flow.dispatch")
    assert asks_again(policy, lost(), 0)
    assert asks_again(policy, lost(DaemonNotRunningError("nobody")), 0.5)
    assert asks_again(policy, DaemonNotRunningError("nobody"), 9.9)
    assert not asks_again(policy, DaemonNotRunningError("nobody"), 10)


def test_a_restart_that_is_lost_again_at_once_is_a_restart_still() -> None:
    policy = ReconnectPolicy(10, "flow.dispatch")
    assert asks_again(policy, lost(DaemonNotRunningError("nobody")), 0)
    assert asks_again(policy, lost(), 2)


def test_a_connection_that_held_for_a_while_starts_the_time_anew() -> None:
    policy = ReconnectPolicy(10, "flow.dispatch")
    assert asks_again(policy, lost(), 0, begun_s=-5)
    assert asks_again(policy, lost(), 12, begun_s=3)


def test_what_does_not_pass_is_raised_as_it_is() -> None:
    error = FlowClientError("run_not_found", "No run r.")
    with pytest.raises(FlowClientError) as raised:
        ReconnectPolicy(10, "flow.dispatch").pause_s(error, 0, 0)
    assert raised.value is error
