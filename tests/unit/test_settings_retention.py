"""What ``[retention]`` may say, and what is said of what it may not."""

from pathlib import Path

import pytest

from flowd.domain.retention import Rule, told
from flowd.settings.sources import load
from flowd.settings.values import Settings, SettingsError

DAY_MS = 86_400_000


def settings_of(folder: Path, text: str) -> Settings:
    (folder / ".codex").mkdir(exist_ok=True)
    (folder / ".codex/flowd.toml").write_text(text, encoding="utf-8")
    return load(folder, {}, {}, folder / "home")


def test_rules_come_in_their_order_and_the_table_itself_last(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        '[retention]\nmax_age = "90d"\nmax_bytes = "5GB"\n'
        '[[retention.rules]]\nflow = "nightly"\nstatus = "completed"\nmax_events = 100\n'
        '[[retention.rules]]\nstatus = "failed"\nmax_age = "52w"\n',
    )
    assert settings.retention == (
        Rule("nightly", "completed", max_events=100),
        Rule(status="failed", max_age_ms=364 * DAY_MS),
        Rule(max_age_ms=90 * DAY_MS, max_bytes=5 * 10**9),
    )
    assert settings.origins["retention"].endswith("flowd.toml")
    assert told(settings.retention) == [
        "nightly completed: 100 events",
        "failed: 364d",
        "everything else: 90d, 5,000,000,000 bytes",
    ]


def test_nothing_is_forgotten_where_nobody_says(tmp_path: Path) -> None:
    assert settings_of(tmp_path, "").retention == ()
    only = settings_of(tmp_path, '[[retention.rules]]\nflow = "nightly"\nmax_age = "1m"\n')
    assert only.retention == (Rule("nightly", max_age_ms=60_000), Rule())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[retention]", "limits nothing: give max_age"),
        ('[retention]\nmax_age = "90"', 'max_age must be how long, like "90d" or "12h"'),
        ("[retention]\nmax_age = 90", "max_age must be how long"),
        ('[retention]\nmax_age = "59s"', "at least a minute"),
        ('[retention]\nmax_age = "0d"', "at least a minute"),
        ('[retention]\nmax_bytes = "5 gigs"', 'max_bytes must be a size, like "5GB"'),
        ("[retention]\nmax_events = 0", "max_events must be"),
        ("[retention]\nmax_rows = 5", "has no setting 'max_rows'"),
        ('[[retention.rules]]\nmax_age = "5d"', "needs flow, status or both"),
        ('[[retention.rules]]\nstatus = "blocked"\nmax_age = "5d"', "status must be one of completed, failed"),
        ('[[retention.rules]]\nflow = ""\nmax_age = "5d"', "a flow's name"),
        ("retention = 5", "[retention] must be a table"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(tmp_path, text)
    assert said in caught.value.message
    assert "flowd.toml" in caught.value.message
