"""[concurrency], [steps.concurrency] and priority: strict, because a key that is misread would let runs collide."""

import pytest

from flowd.catalog.concurrency import with_limit_warnings
from flowd.catalog.manifest import Manifest, parse
from flowd.catalog.precedence import Found, assemble
from flowd.catalog.table import ManifestError
from flowd.domain.concurrency import Concurrency
from flowd.domain.flow import Flow, Origin, Snapshot
from flowd.domain.step import Runner, Step

HEAD = 'name = "rel"\nversion = 1\n'
STEP = '[[steps]]\nname = "build"\nrunner = "exec"\nscript = "x"\n'


def read(concurrency: str) -> Manifest:
    return parse(f"{HEAD}{STEP}[steps.concurrency]\n{concurrency}\n".encode())


def test_every_member_is_read_of_steps_and_of_flows() -> None:
    asked = 'key = ["/payload/repo", "/source"]\ngroup = "checkout"\nlimit = 3\non_busy = "latest"'
    manifest = parse(f"{HEAD}{STEP}priority = -5\n[steps.concurrency]\n{asked}\n[concurrency]\n{asked}\n".encode())
    (step,) = manifest.steps
    wanted = Concurrency("checkout", ("/payload/repo", "/source"), 3, "latest")
    assert (step.concurrency, manifest.concurrency, step.priority) == (wanted, wanted, -5)
    assert manifest.warnings == ()


def test_an_empty_table_is_one_key_for_all_and_none_is_no_key() -> None:
    assert read("").steps[0].concurrency == Concurrency(None, (), 1, "queue")
    bare = parse(f"{HEAD}{STEP}".encode())
    assert (bare.steps[0].concurrency, bare.concurrency, bare.steps[0].priority) == (None, None, 0)


@pytest.mark.parametrize(
    ("concurrency", "message"),
    [
        ('key = "/payload/repo"', 'concurrency.key must be a list, got "/payload/repo"'),
        ("key = [1]", "concurrency.key must hold strings, got 1"),
        ('key = ["payload/repo"]', '"payload/repo" is no JSON Pointer: it does not begin with "/"'),
        ('key = ["/a~2b"]', '"/a~2b" is no JSON Pointer: it has a "~"'),
        (f"key = {['/a'] * 21}", "more than 20 pointers"),
        ('group = " "', 'group must be a non-blank string, got " "'),
        ("limit = 0", "limit must be 1..100000, got 0"),
        ("limit = true", "got true"),
        ('on_busy = "drop"', 'concurrency.on_busy "drop" is unknown'),
        ('on_busy = ["queue"]', "concurrency.on_busy an array is unknown"),
        ('on_busy = "replace"; limit = 2', '"replace" goes with limit = 1 only, got 2'),
        ("max = 1", 'unknown key "max"'),
    ],
)
def test_a_mistake_is_an_error_at_its_line(concurrency: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(concurrency.replace("; ", "\n"))
    assert message in caught.value.message
    assert 'step "build"' in caught.value.message
    assert caught.value.line == HEAD.count("\n") + STEP.count("\n") + 2
    assert caught.value.remedy.endswith(".")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}concurrency = 1\n{STEP}", "concurrency must be a table, got 1"),
        (f"{HEAD}{STEP}priority = 1001\n", "priority must be -1000..1000, got 1001"),
        (f'{HEAD}{STEP}priority = "high"\n', 'priority must be -1000..1000, got "high"'),
    ],
)
def test_other_kinds_of_values_are_errors(text: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(text.encode())
    assert message in caught.value.message


def flow(name: str, step: Concurrency | None = None, whole: Concurrency | None = None) -> Flow:
    steps = (Step("build", Runner.EXEC, "x", concurrency=step),)
    return Flow(name, 1, f"/{name}", Origin.SOURCE, steps, "sha256:0", concurrency=whole)


def test_of_two_limits_of_a_group_the_smallest_counts_and_the_larger_is_told() -> None:
    flows = (flow("a", Concurrency("g", limit=3)), flow("b", Concurrency("g", limit=2)), flow("c", None))
    warned = with_limit_warnings(flows)
    assert Snapshot(warned).key_limits == {("step", "g"): 2}
    (warning,) = warned[0].warnings
    assert warning == 'group "g" of steps has limit 3 here and 2 in flow b; the smallest, 2, counts for all'
    assert (warned[1], warned[2]) == (flows[1], flows[2])


def test_a_snapshot_of_packages_has_the_warnings() -> None:
    flows = flow("a", Concurrency("g", limit=3)), flow("b", Concurrency("g"))
    (first, second) = assemble(Found(flow=one) for one in flows).flows
    assert ("the smallest, 1, counts for all" in first.warnings[0], second.warnings) == (True, ())


def test_groups_of_steps_and_of_flows_are_two_name_spaces_and_own_groups_are_named_by_their_owner() -> None:
    flows = (flow("a", Concurrency("g", limit=3), Concurrency("g")), flow("b", Concurrency(limit=4), Concurrency()))
    assert with_limit_warnings(flows) == flows
    assert Snapshot(flows).key_limits == {("step", "g"): 3, ("flow", "g"): 1, ("step", "b/build"): 4, ("flow", "b"): 1}
