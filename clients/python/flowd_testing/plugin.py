"""The fixtures. Imports nothing that a run of pytest without them would pay for."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flowd_testing import FlowPackage


@pytest.fixture
def make_flow_package(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> "Callable[[str | Path], FlowPackage]":
    """Makes a `flowd_testing.FlowPackage` of the folder of any package; a relative path begins at pytest's rootdir."""
    from flowd_testing import FlowPackage  # noqa: PLC0415 - when a test asks for it

    def make(path: str | Path) -> FlowPackage:
        return FlowPackage(pytestconfig.rootpath / path, tmp_path_factory.mktemp("workspace"))

    return make


@pytest.fixture
def flow_package(
    request: pytest.FixtureRequest, make_flow_package: "Callable[[str | Path], FlowPackage]"
) -> "FlowPackage":
    """The flow package that the test's file lies in, with a scratch workspace of its own for each test."""
    folder = next((folder for folder in request.path.parents if (folder / "flow.toml").is_file()), None)
    if folder is None:
        raise LookupError(
            f"{request.path} lies in no flow package: neither its folder nor one above has a flow.toml."
            ' Ask for make_flow_package and give it the folder: make_flow_package("flows/hello").'
        )
    return make_flow_package(folder)
