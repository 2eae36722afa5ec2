"""What protects the keeper from the out-of-memory killer is taken off for each fork, and only where there is any."""

from pathlib import Path

import pytest

from flowd.keeper.oom import Protection


def test_a_protection_is_off_for_the_fork_and_on_again(tmp_path: Path) -> None:
    score = tmp_path / "oom_score_adj"
    score.write_text("-500\n")
    protection = Protection(str(score))
    protection.take_off()
    assert score.read_text().startswith("0")
    protection.put_on()
    assert score.read_text().startswith("-500")


@pytest.mark.parametrize("own", ["0\n", "300\n"])
def test_what_is_no_protection_is_left_to_steps(tmp_path: Path, own: str) -> None:
    score = tmp_path / "oom_score_adj"
    score.write_text(own)
    protection = Protection(str(score))
    protection.take_off()
    protection.put_on()
    assert score.read_text() == own


def test_where_the_system_has_no_such_thing_nothing_happens(tmp_path: Path) -> None:
    protection = Protection(str(tmp_path / "none"))
    protection.take_off()
    protection.put_on()
    assert list(tmp_path.iterdir()) == []
