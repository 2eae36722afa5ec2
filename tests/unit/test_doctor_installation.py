"""What `flowd doctor` says of the installation."""

from pathlib import Path

import pytest

from flowd.doctor import installation


def test_a_client_that_is_installed_beside_flowd_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.check for finding in installation.check()] == ["python", "flowd"]
    about = tmp_path / "codex_flowd_client-9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.4\nName: codex-flowd-client\nVersion: 9\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    *_, found = installation.check()
    assert found.check == "client"
    assert "codex-flowd-client 9 is installed beside codex-flowd" in found.found
    assert "pip uninstall codex-flowd-client" in str(found.remedy)
