"""Finds the values of a step's inputs when it starts: in its event, in what it needs, and among the secrets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from flowd.domain.definition import Definition
from flowd.domain.inputs import Input, MissingInputError, look_up
from flowd.domain.launching import SpawnError, StepContext
from flowd.runners.secrets import SecretError, StepSecrets


@dataclass(frozen=True, slots=True)
class Inputs:
    """The values.

    Attributes:
        secret_variables: The names of those variables whose values are masked in what the step prints.
    """

    env: Mapping[str, str]
    args: tuple[str, ...]
    secret_variables: tuple[str, ...] = ()


def has_inputs(definition: Definition) -> bool:
    """Whether anything of a step is looked up."""
    return bool(definition.inputs) or any(isinstance(arg, Input) for arg in definition.args)


def has_secrets(definition: Definition) -> bool:
    """Whether a step is given a secret, whose source may take long."""
    return any(asked.secret is not None for asked in definition.inputs.values())


def find_inputs(definition: Definition, context: StepContext, secrets: StepSecrets) -> Inputs:
    """Look everything up. May take long: a secret may be the output of a command.

    Raises:
        SpawnError: Something is not there. The message names it.
    """
    finder = _Finder(definition, context, secrets)
    env = {name: finder.find(asked, f"{name} in [steps.env]") for name, asked in definition.inputs.items()}
    args = tuple(
        arg if isinstance(arg, str) else finder.find(arg, f"argument {number}")
        for number, arg in enumerate(definition.args, start=1)
    )
    return Inputs(env, args, tuple(name for name, asked in definition.inputs.items() if asked.secret is not None))


class _Finder:
    """The values of one attempt."""

    def __init__(self, definition: Definition, context: StepContext, secrets: StepSecrets) -> None:
        self._label = definition.label
        self._secrets = secrets
        self._event = json.loads(context.event_json)
        self._results = {need.step_name: json.loads(need.result) for need in context.needs if need.result is not None}

    def find(self, asked: Input, what: str) -> str:
        try:
            if asked.secret is not None:
                return self._secrets.read(asked.secret)
            value = look_up(asked, self._event, self._results)
        except (MissingInputError, SecretError) as error:
            raise SpawnError(f"{self._label}: {what}: {error}") from None
        if "\0" in value:
            raise SpawnError(f"{self._label}: {what} has a NUL character, which no process can be given")
        return value
