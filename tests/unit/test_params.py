"""Parameters of the API that are not what they should be: what the refusal says."""

import doctest
from types import ModuleType

import pytest

from flowd.api import event_methods, params
from flowd.api.shapes.events import Replay
from flowd.api.shapes.questions import ResolveRun
from flowd.api.shapes.queue import Paused
from flowd.api.shapes.updates import Subscribe
from flowd.domain.errors import InvalidParamsError


@pytest.mark.parametrize(
    ("kind", "members", "told"),
    [
        (
            ResolveRun,
            {"runId": "run_1", "status": "yes"},
            "Invalid enum value 'yes' - at '$.status'. It may be completed, changed, failed, skipped.",
        ),
        (
            Subscribe,
            {"topics": ["run", "all"]},
            "Invalid enum value 'all' - at '$.topics[1]'. It may be event, run, flow, output.",
        ),
        (Paused, {"flwo": "rel"}, "Object contains unknown field 'flwo'. Did you mean 'flow'?"),
        (Replay, {"eventId": "e", "stepss": ["a"]}, "Object contains unknown field 'stepss'. Did you mean 'steps'?"),
        (Replay, {"eventId": "e", "form": ["a"]}, "Object contains unknown field 'form'. Did you mean 'from'?"),
        (ResolveRun, {"runId": "r", "because": "x"}, "Object contains unknown field 'because'."),
        (ResolveRun, {"status": "failed"}, "Object missing required field 'runId'."),
    ],
)
def test_a_value_that_is_none_of_those_allowed_is_refused_with_them(
    kind: type[params.Params], members: dict[str, object], told: str
) -> None:
    with pytest.raises(InvalidParamsError) as refused:
        params.convert(members, kind)
    assert refused.value.message == told


@pytest.mark.parametrize("module", [params, event_methods])
def test_doctests(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed
