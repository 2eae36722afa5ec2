"""The checkouts that are measured: this one, and maybe another revision, each installed into a virtual environment.

Both are installed as wheels in the same way and with the same versions of their dependencies, so that nothing but
flowd's own code differs. What is built lies in `.tools/bench`; `make clean` removes it.
"""

import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".tools" / "bench"


@dataclass(frozen=True)
class Subject:
    """An installed flowd. Only what it offers in public is driven: its command, its socket, its HTTP port.

    Attributes:
        label: What tables call it.
        bin_dir: Where its `flowd` and its `python` are.
    """

    label: str
    bin_dir: Path

    @property
    def flowd(self) -> str:
        """The command."""
        return str(self.bin_dir / "flowd")

    @property
    def python(self) -> str:
        """The interpreter that has this flowd, and its client, installed."""
        return str(self.bin_dir / "python")


def this_tree() -> Subject:
    """This checkout as it is now, uncommitted changes included. Its environment is kept, flowd installed anew."""
    environment = CACHE / "tree"
    print("installing this tree", file=sys.stderr, flush=True)
    is_new = not (environment / "bin" / "pip").exists()
    if is_new:
        venv.create(environment, with_pip=True, clear=True)
    _install(environment, ROOT)
    if not is_new:  # the same version number as before: pip would think that nothing is to be done
        _install(environment, ROOT, "--force-reinstall", "--no-deps")
    return Subject("this tree", environment / "bin")


def revision(name: str, same_as: Subject) -> Subject:
    """Another revision, built once and found again by its commit.

    Args:
        name: What git understands: a commit, a branch, a tag.
        same_as: Whose versions of the dependencies are taken.

    Raises:
        SystemExit: git does not know it.
    """
    found = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", check=False)
    if found.returncode:
        raise SystemExit(f"git knows no revision {name!r}")
    commit = found.stdout.strip()[:12]
    environment = CACHE / commit
    if not (environment / "bin" / "flowd").exists():
        print(f"installing {name} ({commit})", file=sys.stderr, flush=True)
        venv.create(environment, with_pip=True, clear=True)
        try:
            _install_commit(environment, commit, same_as)
        except BaseException:
            shutil.rmtree(environment)
            raise
    return Subject(name, environment / "bin")


def _install_commit(environment: Path, commit: str, same_as: Subject) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        checkout = Path(folder) / "checkout"
        versions = Path(folder) / "versions"
        frozen = _run(same_as.python, "-m", "pip", "freeze", "--exclude", "codex-flowd")
        versions.write_text(frozen.stdout, encoding="utf-8")
        _git("worktree", "add", "--detach", str(checkout), commit)
        try:
            _install(environment, checkout, "--constraint", str(versions))
        finally:
            _git("worktree", "remove", "--force", str(checkout))


def _install(environment: Path, checkout: Path, *options: str) -> None:
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run(*pip, *options, f"{checkout}[postgres]")


def _git(*arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    return _run("git", "-C", str(ROOT), *arguments, check=check)


def _run(*argv: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    finished = subprocess.run(argv, capture_output=True, text=True)
    if check and finished.returncode:
        raise SystemExit(f"{' '.join(argv)} failed:\n{finished.stderr}")
    return finished
