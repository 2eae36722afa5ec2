"""Fixtures of the suites that hold several implementations to one behaviour."""

from executor_rig import executor_rig, outcomes_in_box

__all__ = ["executor_rig", "outcomes_in_box"]
