"""Words for what views say: JSON of any size and depth."""

import json
from typing import Any

from flowd.page.words import SHOWN, in_short, pretty


def test_json_is_indented() -> None:
    assert pretty({"a": [1]}) == '{\n  "a": [\n    1\n  ]\n}'
    assert pretty("ä") == '"ä"'


def test_large_json_is_not_indented_and_shown_in_part() -> None:
    large = list(range(100_000))
    assert "\n" not in pretty(large)
    assert json.loads(pretty(large)) == large
    shown = in_short(large)
    assert shown.startswith("[0, 1, 2")
    assert len(shown) < SHOWN + 100
    assert shown.endswith(f"(of {len(pretty(large))} characters)")


def test_deep_json_is_shown() -> None:
    deep: Any = 1
    for _ in range(800):
        deep = [deep]
    assert json.loads(pretty(deep)) == deep
