"""Results that are given, in place of running the steps that said them."""

from collections.abc import Mapping

from flowd.domain.definition import Definition
from flowd.domain.launching import Command, StepContext
from flowd.domain.result import TOKEN
from flowd.domain.run import Run
from flowd.ports import Runners

_SAYS = "/bin/cat"


class GivenResults:
    """What steps are taken to have said. They are not started; a process that prints it stands in for each.

    Attributes:
        results: The results' JSON, by flow and step.
    """

    def __init__(self) -> None:
        self.results: Mapping[tuple[str, str], str] = {}

    def has(self, run: Run) -> bool:
        """Whether the run's result is given."""
        return (run.flow_name, run.step_name) in self.results

    def around(self, runners: Runners) -> Runners:
        """Runners that give these results, and ask others for all other steps."""
        return _GivingRunners(self, runners)


class _GivingRunners:
    def __init__(self, given: GivenResults, runners: Runners) -> None:
        self._given = given
        self._runners = runners

    async def command(self, definition: Definition, context: StepContext) -> Command:
        result = self._given.results.get((definition.flow_name, definition.step_name))
        if result is None:
            return await self._runners.command(definition, context)
        return Command(argv=(_SAYS,), cwd="/", env={}, stdin=TOKEN + result.encode() + b"\n")
