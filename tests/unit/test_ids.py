"""Ids: the reference system's own vectors."""

import pytest

from flowd.domain.ids import attempt_id, replay_run_id, run_id, unit_name


@pytest.mark.parametrize(
    ("event", "flow", "step", "expected"),
    [
        ("e1", "demo", "raw", "run_16439a6acab8"),
        ("s1", "slow", "s", "run_56e5df399c59"),
        ("a/b:c d", "demo", "raw", "run_7a7da781d395"),
        ("1", "a", "s", "run_ba5a81bad56d"),
        (
            "patch:upstream.release:openai/codex:rust-v1.2.3",
            "openai-codex-bindings",
            "regenerate-bindings",
            "run_54c044d12105",
        ),
    ],
)
def test_run_ids_are_the_reference_systems(event: str, flow: str, step: str, expected: str) -> None:
    assert run_id(event, flow, step) == expected


def test_replay_ids_hash_the_nonce_and_end_in_replay() -> None:
    assert replay_run_id("e1", "demo", "raw", "1700000000000:0.5") == "run_4cd8114f42ef_replay"


def test_units_are_named_as_the_reference_system_names_them() -> None:
    assert unit_name("run_af8a4654f5aa") == "codex-flow-run-af8a4654f5aa-b746a815ec"


def test_the_first_attempt_has_its_runs_id() -> None:
    assert [attempt_id("run_1", number) for number in (1, 2)] == ["run_1", "run_1:2"]
