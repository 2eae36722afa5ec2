"""What a local client asks its own engine."""

import pytest

from flowd.embedded.methods import plain


@pytest.mark.parametrize("method", ["flow.dispatch", "flow.replay", "flow.waitRun", "flow.waitEvent"])
def test_the_run_around_is_of_another_engine_and_is_not_told_to_this_one(method: str) -> None:
    given = {"event": {"id": "e", "type": "t"}, "wait": True, "causedBy": "run_1"}
    assert plain(method, given) == {"event": {"id": "e", "type": "t"}, "wait": True}
