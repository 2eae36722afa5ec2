"""All that is doubtful in the flows of a workspace, for its settings and for the machine that the check runs on."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from flowd.catalog.doubts import doubts
from flowd.catalog.named_files import SCRIPT_CODES
from flowd.catalog.schedule_doubts import schedule_doubts
from flowd.catalog.schema_doubts import trigger_doubts
from flowd.catalog.watch_doubts import watch_doubts
from flowd.domain import definition, hosts
from flowd.domain.finding import Finding, Severity, in_order
from flowd.domain.flow import MANIFEST, BrokenPackage, Flow, Snapshot
from flowd.domain.secrets import asked_for
from flowd.domain.secrets import unknown as unknown_secret
from flowd.domain.step import Runner
from flowd.runners import module_names
from flowd.runners.trial import Trial
from flowd.settings.values import Settings


def checked(snapshot: Snapshot, workspace: Path, settings: Settings | None) -> Snapshot:
    """The same snapshot, whose flows have all findings. Starts no process, and runs nothing of the workspace.

    Args:
        settings: The workspace's; None where they cannot be read: then nothing is said of secrets and of labels.
    """
    overrides = {} if settings is None else settings.interpreters
    trial = Trial(workspace=workspace, environ=os.environ, overrides=overrides)
    flows = (
        flow.with_findings(
            (
                *doubts(flow),
                *trigger_doubts(flow),
                *schedule_doubts(snapshot, flow),
                *watch_doubts(snapshot, flow, workspace),
                *_unstartable(flow, trial),
                *_hiding_modules(flow),
                *(() if settings is None else _elsewhere(flow, settings.all_labels)),
                *(() if settings is None else _missing_secrets(flow, settings)),
            )
        )
        for flow in snapshot.flows
    )
    broken = (_checked_draft(package, trial) for package in snapshot.broken)
    return replace(snapshot, flows=tuple(flows), broken=tuple(broken))


def _checked_draft(package: BrokenPackage, trial: Trial) -> BrokenPackage:
    """A broken package with what is doubtful in the steps that are right by themselves."""
    draft = package.draft
    if draft is None:
        return package
    found = (*doubts(draft), *trigger_doubts(draft), *_unstartable(draft, trial))
    return replace(package, findings=in_order((*package.findings, *found)))


def findings(snapshot: Snapshot) -> tuple[Finding, ...]:
    """All that a snapshot has to tell, in order."""
    return in_order(
        (
            *(finding for flow in snapshot.flows if not flow.stale for finding in flow.findings),
            *(finding for package in snapshot.broken for finding in package.findings or package.errors()),
            *(
                Finding(
                    f"{hidden.root}/{MANIFEST}",
                    "shadowed",
                    Severity.WARNING,
                    f"{hidden.name} is hidden by the package of the same name in {hidden.by}",
                    "Remove one of the two, or give it another name.",
                )
                for hidden in snapshot.shadowed
            ),
        )
    )


def _unstartable(flow: Flow, trial: Trial) -> Iterator[Finding]:
    """What keeps steps from starting on this machine."""
    for step in flow.steps:
        told = {finding.line for finding in flow.findings if finding.code in SCRIPT_CODES}
        for problem in trial.problems(definition.of(flow, step)):
            place = flow.place(step.name, problem.key)
            span = flow.where(*place)
            if problem.key == "script" and span is not None and span[0] in told:
                continue
            message = f'step "{step.name}": {problem.message}'
            yield flow.doubt(place, f"unusable-{problem.key}", message, problem.remedy, problem.suggestion)


def _hiding_modules(flow: Flow) -> Iterator[Finding]:
    """Each file or folder in the place of a module that a Python step beside it may import."""
    looked_at: set[str] = set()
    for step in flow.steps:
        script = os.path.realpath(os.path.join(flow.root, step.script))
        folder = os.path.dirname(script)
        if step.runner is not Runner.PYTHON or folder in looked_at:
            continue
        looked_at.add(folder)
        for path, module, whose in module_names.hidden_by(folder):
            what = "the script" if path == script else os.path.relpath(path, os.path.realpath(flow.root))
            message = (
                f'step "{step.name}": {what} has the name of {whose}\'s module {module}, and is imported in its place'
            )
            yield flow.doubt(flow.place(step.name, "script"), "hidden-module", message, "Give it another name.")


def _elsewhere(flow: Flow, labels: frozenset[str]) -> Iterator[Finding]:
    """Each step that this host cannot run."""
    for step in flow.steps:
        if lacked := hosts.missing(step.runs_on, labels):
            message = f'step "{step.name}": {hosts.lacking_sentence(lacked)}'
            yield flow.doubt(flow.place(step.name, "runs_on"), "other-host", message)


def _missing_secrets(flow: Flow, settings: Settings) -> Iterator[Finding]:
    """Each secret that a step asks for, and that the settings do not name."""
    for _, step, name in asked_for([flow]):
        if name not in settings.secrets:
            message = f'step "{step}": {unknown_secret(name, settings.secrets)}'
            variables = next(each.inputs for each in flow.steps if each.name == step)
            variable = next(key for key, asked in variables.items() if asked.secret == name)
            yield flow.doubt(flow.place(step, "env", variable), "unknown-secret", message)
