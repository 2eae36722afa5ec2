"""Where a step's secret is kept. Its value is read when an attempt starts, and by that attempt alone. No I/O."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from flowd.domain.flow import Flow


@dataclass(frozen=True, slots=True)
class SecretSource:
    """One place of a secret: exactly one of these is set.

    Attributes:
        file: The absolute path of a file that holds it.
        credential: The name of a systemd credential of flowd's unit.
        env: The name of a variable of flowd's own environment, which no step inherits then.
        command: A command line that prints it.
    """

    file: str | None = None
    credential: str | None = None
    env: str | None = None
    command: tuple[str, ...] | None = None


def asked_for(flows: Iterable[Flow]) -> Iterator[tuple[Flow, str, str]]:
    """Each secret that a step asks for, as the flow, the step's name and the secret's."""
    for flow in flows:
        for step in flow.steps:
            for asked in step.inputs.values():
                if asked.secret is not None:
                    yield flow, step.name, asked.secret


def unknown(name: str, known: Collection[str]) -> str:
    """That the settings have no such secret, and what to do.

    >>> unknown("npm", ["pypi"])
    'the settings have no [secrets.npm], only pypi; add it to .codex/flowd.toml, with file, credential, env or command'
    """
    others = f", only {', '.join(sorted(known))}" if known else ""
    remedy = "add it to .codex/flowd.toml, with file, credential, env or command"
    return f"the settings have no [secrets.{name}]{others}; {remedy}"
