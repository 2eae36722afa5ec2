"""The bench's tables: what rounds come to."""

from bench.figures import Figure, Results, markdown, plain


def results(*rounds: tuple[str, int, Figure]) -> Results:
    table = Results(["tree", "rev"])
    for label, number, figure in rounds:
        table.add(label, number, figure)
    return table


def test_a_row_tells_medians_with_their_spread_and_ratios_round_by_round():
    found = results(
        ("tree", 1, Figure("rate", 100.0, "/s", {"xargs": 200.0})),
        ("rev", 1, Figure("rate", 50.0, "/s", {"xargs": 200.0})),
        ("rev", 2, Figure("rate", 200.0, "/s", {"xargs": 400.0})),
        ("tree", 2, Figure("rate", 300.0, "/s", {"xargs": 400.0})),
    )
    assert found.header() == ["", "tree", "rival", "tree / rival", "rev", "rev / rival", "tree / rev"]
    assert found.rows() == [
        [
            "rate",
            "200 /s (100 to 300)",
            "xargs: 300 /s",
            "0.62 x (0.50 to 0.75)",
            "125 /s (50.0 to 200)",
            "0.38 x (0.25 to 0.50)",
            "1.75 x (1.50 to 2.00)",
        ]
    ]


def test_a_rival_that_is_not_installed_is_said_to_be():
    found = results(("tree", 1, Figure("rate", 2.0, "/s", {"xargs": 4.0, "tsp": None})))
    assert [row[:4] for row in found.rows()] == [
        ["rate", "2.00 /s", "xargs: 4.00 /s", "0.50 x"],
        ["", "", "tsp: not installed", ""],
    ]


def test_rounds_that_failed_on_one_side_are_not_compared():
    found = results(
        ("tree", 1, Figure("rate", 10.0, "/s")),
        ("rev", 2, Figure("rate", 20.0, "/s")),
    )
    assert found.rows() == [["rate", "10.0 /s", "", "", "20.0 /s", "", ""]]
    only_rev = results(("rev", 1, Figure("rate", 20.0, "/s")))
    assert only_rev.rows() == [["rate", "failed", "", "", "20.0 /s", "", ""]]


def test_tables_are_printed_for_a_terminal_and_to_be_pasted():
    assert markdown(["", "tree"], [["rate", "1 /s"]]) == "|  | tree |\n| --- | --- |\n| rate | 1 /s |"
    assert plain(["", "tree"], [["rate", "1 /s"]]) == "      tree\nrate  1 /s"
