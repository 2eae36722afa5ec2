"""Checks the tasks of the workspace, which another program may run, or nobody."""

from collections.abc import Iterator

from flowd.catalog.scan import scan_once
from flowd.catalog.workspace_tasks import FILE, read_tasks, untold
from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.domain.flow import BrokenPackage


def check(scene: Scene) -> Iterator[Finding]:
    """A finding for each that comes to nothing; nothing where there is no such file."""
    settings = scene.settings
    tasks = read_tasks(settings.workspace)
    if tasks is None:
        return
    if isinstance(tasks, BrokenPackage):
        told = fail if settings.workspace_tasks else warn
        yield told("tasks", f"broken: {tasks.sentence()}", "Mend it; until then none of its tasks is run.")
        return
    snapshot = scan_once(settings.workspace, is_vouched=settings.is_vouched)
    found = list(untold(tasks, is_on=settings.workspace_tasks, snapshot=snapshot))
    for sentence in found:
        yield warn("tasks", sentence, "Leave it to another scheduler, or see docs/time.md.")
    if not found:
        yield ok("tasks", f"{FILE} has {len(tasks.schedules)} of kind flow with a schedule")
