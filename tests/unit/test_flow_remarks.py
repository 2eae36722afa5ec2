"""What `flowd flows` and `flowd reload` say of packages is what was found in them."""

from flowd.api import json
from flowd.api.shapes.catalog import catalog_view
from flowd.catalog.package import broken_by
from flowd.cli.flows import remarks
from flowd.domain.finding import Finding, Severity
from flowd.domain.flow import Flow, Origin, Snapshot
from flowd_client.views.catalog import read_catalog

FILE = "/w/flows/a/flow.toml"
FINDINGS = (
    Finding(FILE, "unknown-key", Severity.WARNING, 'unknown key "x" is ignored', None, None, 3, 1, 2),
    Finding(FILE, "unknown-value", Severity.ERROR, 'runner "sh" is unknown', "Use one of exec.", "exec", 5, 10, 14),
    Finding(FILE, "missing-key", Severity.ERROR, "script is missing", 'Add script = "a".', None, 4, 3, 8),
)


def test_all_errors_of_a_broken_package_are_told_with_their_places() -> None:
    snapshot = Snapshot(broken=(broken_by(FINDINGS, "/w/flows/a", Origin.SOURCE, "a"),))
    view = read_catalog(json.decode(json.encode(catalog_view(snapshot))))
    assert list(remarks(view)) == [
        f'broken a: {FILE}:4:3: script is missing. Add script = "a".',
        f'broken a: {FILE}:5:10: runner "sh" is unknown; did you mean exec? Use one of exec.',
    ]
    assert [finding.severity for finding in view.broken[0].findings] == ["warning", "error", "error"]
    assert view.broken[0].sentences() == tuple(error.sentence() for error in snapshot.broken[0].errors())


def test_a_broken_package_of_an_older_daemon_has_one_sentence() -> None:
    broken = {"name": "a", "file": FILE, "line": 4, "error": "no", "remedy": "Mend it.", "stale": False}
    view = read_catalog({"flows": [], "broken": [broken], "shadowed": []})
    assert list(remarks(view)) == [f"broken a: {FILE}:4: no. Mend it."]


def test_doubts_of_a_flow_come_in_the_order_of_lines_with_what_was_meant() -> None:
    flow = Flow("a", 1, "/w/flows/a", Origin.SOURCE, (), "").with_findings(
        (
            Finding(FILE, "wrong-type", Severity.WARNING, "late", "Write it.", None, 9, 1, 2),
            Finding(FILE, "unknown-key", Severity.WARNING, "early", None, "needs", 3, 1, 2),
            Finding(FILE, "unknown-key", Severity.WARNING, "both", "Write it.", "needs", 4, 1, 2),
        )
    )
    view = read_catalog(json.decode(json.encode(catalog_view(Snapshot(flows=(flow,))))))
    assert list(remarks(view)) == [
        "warning a: line 3: early; did you mean needs?",
        "warning a: line 4: both; did you mean needs? Write it",
        "warning a: line 9: late. Write it",
    ]
