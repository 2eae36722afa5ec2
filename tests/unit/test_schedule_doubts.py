"""What `flowd validate` and the doctor doubt in a schedule that can be used."""

import json
from pathlib import Path

from flowd.catalog.scan import scan_once
from flowd.catalog.schedule_doubts import schedule_doubts

HEAD = 'name = "%s"\nversion = 1\n'
SCHEDULE = '[[schedules]]\nname = "night"\ncron = "@daily"\ntype = "go"\npayload = %s\n'
STEP = '[[steps]]\nname = "%s"\nrunner = "exec"\nscript = "x"\n[steps.trigger]\ntype = "go"\n'
SCHEMA = 'schema = "s.json"\n'


def package(workspace: Path, name: str, text: str) -> None:
    folder = workspace / "flows" / name
    folder.mkdir(parents=True)
    (folder / "flow.toml").write_text(HEAD % name + text)
    (folder / "x").touch(mode=0o755)
    (folder / "s.json").write_text(json.dumps({"type": "object", "required": ["folder"]}))


def told(workspace: Path) -> dict[str, list[str]]:
    snapshot = scan_once(workspace)
    assert not snapshot.broken
    return {flow.name: [finding.text() for finding in schedule_doubts(snapshot, flow)] for flow in snapshot.flows}


def test_a_payload_that_no_step_takes_is_told(tmp_path: Path) -> None:
    package(tmp_path, "a", SCHEDULE % "{}" + STEP % "pack" + SCHEMA)
    (said,) = told(tmp_path)["a"]
    assert said == (
        'schedule "night": its events start nothing, as its payload does not fit the schema of step "pack": '
        '"folder" is a required property ($)'
    )


def test_the_step_of_another_flow_is_named_with_it(tmp_path: Path) -> None:
    package(tmp_path, "a", SCHEDULE % "{}" + STEP.replace("go", "else") % "a")
    package(tmp_path, "b", STEP % "pack" + SCHEMA)
    assert 'the schema of step "b/pack"' in told(tmp_path)["a"][0]


def test_a_payload_that_fits_or_that_one_step_takes_is_not(tmp_path: Path) -> None:
    package(
        tmp_path, "fits", SCHEDULE.replace("go", "fit") % '{ folder = "x" }' + STEP.replace("go", "fit") % "a" + SCHEMA
    )
    package(tmp_path, "one", SCHEDULE % "{}" + STEP % "a" + SCHEMA + STEP % "b")
    package(
        tmp_path, "none", SCHEDULE.replace("go", "nobody") % "{}" + STEP.replace("go", "else") % "a"
    )  # a warning of its own
    assert told(tmp_path) == {"fits": [], "one": [], "none": []}
