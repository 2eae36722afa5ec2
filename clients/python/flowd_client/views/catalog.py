"""The flow packages, and what they say to an event, as a client sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowd_client.views import reading


@dataclass(frozen=True)
class StepView:
    """A step of a flow. Without ``trigger_type`` no event starts it."""

    name: str
    runner: str | None
    script: str | None
    timeout_ms: int | None
    trigger_type: str | None
    schema: str | None
    cwd: str | None


@dataclass(frozen=True)
class FlowView:
    """A flow in force. ``state`` is ``ok``, or ``stale``: its files are broken, an earlier definition is kept."""

    name: str
    version: float | None
    root: str | None
    origin: str | None
    state: str
    description: str | None
    package_hash: str | None
    steps: tuple[StepView, ...]
    warnings: tuple[str, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True)
class BrokenView:
    """A package that cannot be used as it is on disk; ``is_stale`` when an earlier definition stays in force."""

    name: str
    root: str | None
    origin: str | None
    file: str
    line: int | None
    error: str
    remedy: str
    is_stale: bool

    def sentence(self) -> str:
        """File, line, error and remedy in one line, as compilers write it."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.error}. {self.remedy}".rstrip()


@dataclass(frozen=True)
class ShadowedView:
    """A package that another one of the same name hides."""

    name: str
    root: str
    by: str


@dataclass(frozen=True)
class CatalogView:
    """All flow packages."""

    flows: tuple[FlowView, ...]
    broken: tuple[BrokenView, ...]
    shadowed: tuple[ShadowedView, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True)
class SchemaErrorView:
    """Why a payload does not fit: where (``$.a[0]``), which keyword, and a sentence."""

    path: str
    keyword: str
    message: str


@dataclass(frozen=True)
class VerdictView:
    """What one step says to an event. ``reason``: matched, no_trigger, type or schema."""

    flow: str
    step: str
    matches: bool
    reason: str
    trigger_type: str | None
    schema: str | None
    errors: tuple[SchemaErrorView, ...]


@dataclass(frozen=True)
class ExplainView:
    """What every step says to an event, and the packages that could not be asked."""

    event_id: str | None
    type: str | None
    matched: int
    steps: tuple[VerdictView, ...]
    broken: tuple[BrokenView, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)


def read_catalog(answer: object) -> CatalogView:
    """The catalog from the answer of flow.listFlows or daemon.reload."""
    source = reading.members(answer)
    return CatalogView(
        flows=tuple(_flow(item) for item in reading.items(source, "flows")),
        broken=tuple(_broken(item) for item in reading.items(source, "broken")),
        shadowed=tuple(
            ShadowedView(
                reading.text(item, "name") or "", reading.text(item, "root") or "", reading.text(item, "by") or ""
            )
            for item in reading.items(source, "shadowed")
        ),
        raw=source,
    )


def read_explain(answer: object) -> ExplainView:
    """The verdicts from the answer of flow.explain."""
    source = reading.members(answer)
    return ExplainView(
        event_id=reading.text(source, "eventId"),
        type=reading.text(source, "type"),
        matched=reading.number(source, "matched") or 0,
        steps=tuple(_verdict(item) for item in reading.items(source, "steps")),
        broken=tuple(_broken(item) for item in reading.items(source, "broken")),
        raw=source,
    )


def _flow(source: dict[str, Any]) -> FlowView:
    version = source.get("version")
    return FlowView(
        name=reading.text(source, "name") or "",
        version=version if isinstance(version, int | float) else None,
        root=reading.text(source, "root"),
        origin=reading.text(source, "origin"),
        state=reading.text(source, "state") or "ok",
        description=reading.text(source, "description"),
        package_hash=reading.text(source, "packageHash"),
        steps=tuple(_step(item) for item in reading.items(source, "steps")),
        warnings=reading.texts(source, "warnings"),
        raw=source,
    )


def _step(source: dict[str, Any]) -> StepView:
    return StepView(
        name=reading.text(source, "name") or "",
        runner=reading.text(source, "runner"),
        script=reading.text(source, "script"),
        timeout_ms=reading.number(source, "timeoutMs"),
        trigger_type=reading.text(source, "triggerType"),
        schema=reading.text(source, "schema"),
        cwd=reading.text(source, "cwd"),
    )


def _broken(source: dict[str, Any]) -> BrokenView:
    return BrokenView(
        name=reading.text(source, "name") or "",
        root=reading.text(source, "root"),
        origin=reading.text(source, "origin"),
        file=reading.text(source, "file") or "",
        line=reading.number(source, "line"),
        error=reading.text(source, "error") or "",
        remedy=reading.text(source, "remedy") or "",
        is_stale=reading.flag(source, "stale"),
    )


def _verdict(source: dict[str, Any]) -> VerdictView:
    return VerdictView(
        flow=reading.text(source, "flow") or "",
        step=reading.text(source, "step") or "",
        matches=reading.flag(source, "matches"),
        reason=reading.text(source, "reason") or "",
        trigger_type=reading.text(source, "triggerType"),
        schema=reading.text(source, "schema"),
        errors=tuple(
            SchemaErrorView(
                reading.text(item, "path") or "$",
                reading.text(item, "keyword") or "",
                reading.text(item, "message") or "",
            )
            for item in reading.items(source, "errors")
        ),
    )
