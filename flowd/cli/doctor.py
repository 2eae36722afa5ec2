"""``flowd doctor``: checks everything that flowd depends on, and says what to do about what is wrong."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from flowd.cli import printing
from flowd.cli.exits import Exit
from flowd.cli.session import Session
from flowd.cli.verb import Verb

if TYPE_CHECKING:
    from flowd.doctor.checkup import Entry
    from flowd.doctor.finding import Finding

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(cls=Verb, short_help="Check everything that flowd depends on.")
@click.option("--repair", is_flag=True, help="Also do what is safe: remove stale files, end leftover processes.")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON, and nothing else, on stdout.")
@click.pass_obj
def doctor(session: Session, repair: bool, as_json: bool) -> int:
    """Check the installation, the workspace, its state, daemon and keeper, the database, limits and clocks, and say
    what to do about each finding. Works with and without a running daemon, and changes nothing.

    With --repair it does what is safe, and says exactly what it did: it removes a dead socket and its pointer, and
    output files whose content the database has, and ends processes whose runs have ended. It never touches the
    database.

    Exits with 1 if something does not work; what only deserves attention is no failure.

    \b
    Examples:
      flowd doctor
      flowd doctor --repair
      flowd doctor --json | jq '.findings[] | select(.level != "ok")'
    """
    from flowd.doctor import checkup  # noqa: PLC0415 - heavy

    findings = checkup.examine(session.place, os.environ, socket=session.chosen_socket)
    entries = checkup.repair(findings) if repair else map(checkup.Entry, findings)
    shown = _collect(entries, as_json=as_json)
    counts = {level: sum(entry.level == level for entry in shown) for level in _STYLES}
    if as_json:
        printing.print_json(
            {
                "workspace": str(session.place),
                "healthy": not counts["fail"],
                "counts": counts,
                "findings": [_shape(entry) for entry in shown],
            }
        )
    else:
        printing.line(_verdict(counts))
    return Exit.RUN_FAILED if counts["fail"] else Exit.GOOD


def _collect(entries: "Iterable[Entry]", *, as_json: bool) -> "list[Entry]":
    shown = []
    for entry in entries:
        shown.append(entry)
        if not as_json:
            draw(entry.finding, entry.repaired)
    return shown


def draw(finding: "Finding", repaired: str = "") -> None:
    """Print a finding, and what was done about it."""
    level = finding.level.value
    label = click.style(f"{level:4}", fg=_STYLES[level]) if printing.has_colours() else f"{level:4}"
    text = printing.clean(f"{finding.check:20} {' '.join(finding.found.split())}")
    click.echo(f"{label}  {text}".encode("utf-8", "backslashreplace"))
    if repaired:
        printing.line(f"{'':27}done: {repaired}")
    elif finding.remedy:
        printing.line(f"{'':27}→ {' '.join(finding.remedy.split())}")


def _shape(entry: "Entry") -> dict[str, Any]:
    finding = entry.finding
    shape: dict[str, Any] = {"check": finding.check, "level": finding.level.value, "found": finding.found}
    if finding.remedy:
        shape["remedy"] = finding.remedy
    if finding.repair is not None:
        shape["repairable"] = True
    if entry.repaired:
        shape["repaired"] = entry.repaired
    return shape


def _verdict(counts: dict[str, int]) -> str:
    if not counts["fail"] and not counts["warn"]:
        return f"All {counts['ok']} checks are fine."
    parts = [f"{counts['ok']} fine"]
    if counts["warn"]:
        parts.append(f"{counts['warn']} to look at")
    if counts["fail"]:
        parts.append(f"{counts['fail']} to mend")
    return ", ".join(parts) + "."
