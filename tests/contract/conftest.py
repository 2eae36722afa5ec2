"""Fixtures of the suites that hold several implementations to one behaviour."""

from pathlib import Path

import pytest
from executor_rig import executor_rig, outcomes_in_box
from store_rig import OPENERS, Stores

__all__ = ["executor_rig", "outcomes_in_box"]


@pytest.fixture(params=OPENERS)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    """Every kind of store, on a folder of the test's own."""
    return Stores(OPENERS[request.param], tmp_path)
