"""[steps.labels]: strict, because runs with a label that was misread would never be found."""

import pytest

from flowd.catalog.manifest import Manifest, parse
from flowd.catalog.table import ManifestError

HEAD = 'name = "rel"\nversion = 1\n'
STEP = '[[steps]]\nname = "build"\nrunner = "exec"\nscript = "x"\n'


def read(labels: str) -> Manifest:
    return parse(f"{HEAD}{STEP}[steps.labels]\n{labels}\n".encode())


def test_labels_are_pointers_into_the_event_by_name() -> None:
    manifest = read('repo = "/payload/repo"\n"git.branch-1" = "/type"\nwhole = ""')
    assert manifest.steps[0].labels == {"repo": "/payload/repo", "git.branch-1": "/type", "whole": ""}
    assert manifest.warnings == ()


def test_a_step_has_none_unless_it_says_so() -> None:
    assert parse(f"{HEAD}{STEP}".encode()).steps[0].labels == {}
    assert read("").steps[0].labels == {}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ('repo = "payload/repo"', '"payload/repo", which is no JSON Pointer: it does not begin with "/"'),
        ('repo = "/a~2b"', 'it has a "~" that is neither'),
        ("repo = 1", "label repo must be a string, got 1"),
        ('repo = ["/payload/repo"]', "label repo must be a string, got an array"),
        ('"a=b" = "/a"', 'labels has the invalid name "a=b"'),
        ('"" = "/a"', "labels has the invalid name"),
        (f'{"a" * 64} = "/a"', "labels has the invalid name"),
    ],
)
def test_a_mistake_is_an_error_at_its_line(labels: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(f'fine = "/type"\n{labels}')
    assert message in caught.value.message
    assert 'step "build"' in caught.value.message
    assert caught.value.line == HEAD.count("\n") + STEP.count("\n") + 3
    assert caught.value.remedy.endswith(".")


def test_a_step_has_16_labels_at_most() -> None:
    assert len(read("\n".join(f'l{n} = "/type"' for n in range(16))).steps[0].labels) == 16
    with pytest.raises(ManifestError, match="more than 16"):
        read("\n".join(f'l{n} = "/type"' for n in range(17)))


def test_a_table_of_another_kind_is_an_error() -> None:
    with pytest.raises(ManifestError, match="labels must be a table"):
        parse(f'{HEAD}{STEP}labels = ["/payload/repo"]\n'.encode())
