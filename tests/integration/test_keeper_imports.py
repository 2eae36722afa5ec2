"""The keeper process must not break because of anything but itself."""

import subprocess
import sys
from pathlib import Path

import flowd

LOADED = """
import sys
sys.path.insert(0, sys.argv[1])
import flowd.keeper.main
print(*(name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names))
"""


def test_the_keeper_imports_the_standard_library_and_its_own_package_alone() -> None:
    source = Path(flowd.__file__).parents[1]
    argv = [sys.executable, "-I", "-S", "-c", LOADED, str(source)]
    loaded = set(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split())
    assert "flowd.keeper.main" in loaded
    assert {name for name in loaded if not name.startswith("flowd.keeper")} == {"__main__", "flowd"}
