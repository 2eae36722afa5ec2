"""A key of ``flow.toml`` in ``flowd.toml``, or the other way round, is told where it belongs."""

from pathlib import Path

import pytest

from flowd.catalog.manifest import parse
from flowd.catalog.shapes import FlowTable, StepTable
from flowd.formats.typed import fields_of
from flowd.settings.files import check_text
from flowd.settings.tables import Tables

PACKAGE = 'name = "rel"\nversion = 1\n{}\n[[steps]]\nname = "build"\nrunner = "exec"\nscript = "b"\n'
OF_PACKAGES = {*fields_of(FlowTable), *fields_of(StepTable)}
OF_HOSTS_TOO = {"name", "labels"}  # these lead to [host], which is nearer
OF_STEPS_TOO = {"env"}  # [environment] is what a settings file has for it


@pytest.mark.parametrize("key", sorted(fields_of(Tables)))
def test_a_setting_in_a_package_leads_to_the_settings_file(key: str) -> None:
    found = parse(PACKAGE.format(f"{key} = 1").encode(), "/f/flow.toml").findings
    leads = [one.remedy for one in found if one.code == "unknown-key"]
    assert leads
    assert all(lead and ".codex/flowd.toml" in lead for lead in leads)


@pytest.mark.parametrize("key", sorted(OF_PACKAGES - OF_HOSTS_TOO - OF_STEPS_TOO))
def test_a_key_of_a_package_in_the_settings_file_leads_to_the_package(key: str) -> None:
    (found,) = check_text(Path("/f/flowd.toml"), f"{key} = 1".encode()).findings
    assert found.suggestion is None
    assert "its flow.toml" in (found.remedy or "")
