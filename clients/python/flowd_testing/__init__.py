"""Tests of flow packages with pytest: runs a step, or a whole round, as the processes that they are, by flowd's engine.

The plugin is found by pytest itself, and gives a test the package that is around it::

    def test_it_greets(flow_package):
        run = flow_package.step("hello", flow_package.event(name="Ada"))
        assert run.status == "completed"
        assert run.message == "Hello, Ada!"

No daemon is started, and none is spoken to. Names are imported on first use: every run of pytest imports this.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowd_testing._errors import FlowPackageError
    from flowd_testing._package import FlowPackage
    from flowd_testing._reports import RoundReport, StepReport

__all__ = ["FlowPackage", "FlowPackageError", "RoundReport", "StepReport"]
_HOMES = {
    "FlowPackage": "_package",
    "FlowPackageError": "_errors",
    "RoundReport": "_reports",
    "StepReport": "_reports",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
