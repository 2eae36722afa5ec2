"""The composition root: settings in, parts out. The only place that chooses implementations."""

from flowd.wiring.engine import assemble
from flowd.wiring.executor import refuse_other_executor
from flowd.wiring.notifiers import notifiers
from flowd.wiring.parts import Parts, build

__all__ = ["Parts", "assemble", "build", "notifiers", "refuse_other_executor"]
