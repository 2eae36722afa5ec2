"""What `flowd validate` doubts in a package that can be used."""

import doctest

import pytest

from flowd.catalog import doubts
from flowd.catalog.manifest import parse
from flowd.domain.flow import Flow

HEAD = 'name = "rel"\nversion = 1\n'
STEP = '[[steps]]\nname = "build"\nrunner = "exec"\nscript = "b"\n'
TRIGGER = '[steps.trigger]\ntype = "t"\n'


def told(text: str) -> list[str]:
    read = parse(text.encode())
    flow = Flow(
        name=read.name, version=read.version, root="/r", origin="workspace", steps=read.steps, package_hash="",
        concurrency=read.concurrency,
    )  # fmt: skip
    return [finding.text() for finding in doubts.doubts(flow)]


@pytest.mark.parametrize("more", ["", "needs = []\n"])
def test_a_step_without_trigger_and_needs_is_told(more: str) -> None:
    assert told(HEAD + STEP + more) == ['step "build": no event starts it, as it has no [steps.trigger] and no needs']


def test_a_step_that_something_starts_is_not() -> None:
    assert told(HEAD + STEP + TRIGGER + STEP.replace("build", "test") + 'needs = ["build"]\n') == []


@pytest.mark.parametrize(
    ("more", "what", "word"),
    [
        ('env = { X = "$HOME/x" }\n', "env variable X", "$HOME"),
        ('env = { PATH = "/opt/bin:${PATH}" }\n', "env variable PATH", "${PATH}"),
        ('args = ["--run", "$FLOWD_RUN_ID"]\n', "argument 2", "$FLOWD_RUN_ID"),
        ('args = ["~/x"]\n', "argument 1", "~/"),
    ],
)
def test_a_text_that_only_a_shell_would_change_is_told(more: str, what: str, word: str) -> None:
    (said,) = told(HEAD + STEP + more + TRIGGER)
    assert said.startswith(f'step "build": {what} is handed over as it stands: no shell puts anything in for "{word}"')


@pytest.mark.parametrize(
    "more",
    [
        'args = ["-ec", "echo/$HOME"]\n',
        'args = [".[$key]", "^a$", "$1", "$$", "US$", "/x/~/y", "$ref", "a $HOME b"]\n',
        'args = [{ pointer = "/payload/a~1b" }]\n',
        'env = { GIT_SSH_COMMAND = "ssh -i $HOME/.ssh/key" }\n',
    ],
)
def test_what_is_no_variable_or_is_for_a_shell_is_not(more: str) -> None:
    assert told(HEAD + STEP + more + TRIGGER) == []


@pytest.mark.parametrize(
    ("more", "who"),
    [
        ('[steps.env]\nT = { pointer = "/paylod/x" }\n', 'step "build": '),
        ('args = [{ pointer = "/paylod/x" }]\n', 'step "build": '),
        ('[steps.concurrency]\nkey = ["/paylod/x"]\n', 'step "build": '),
        ('[steps.labels]\nx = "/paylod/x"\n', 'step "build": '),
        ('[concurrency]\nkey = ["/paylod/x"]\n', ""),
    ],
)
def test_a_misspelled_member_of_the_event_is_told_wherever_a_pointer_is(more: str, who: str) -> None:
    trigger = "" if more.startswith("[concurrency") else TRIGGER
    text = HEAD + (STEP + more + trigger if trigger else STEP + TRIGGER + more)
    (said,) = told(text)
    assert said.startswith(f"{who}the pointer '/paylod/x' leads")
    assert said.endswith("did you mean /payload/x?")
    assert told(text.replace("/paylod", "/payload")) == []
    assert told(text.replace("/paylod", "/repository")) == []  # senders may add members


def test_doctests() -> None:
    results = doctest.testmod(doubts)
    assert results.attempted
    assert not results.failed
