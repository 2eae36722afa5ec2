"""The settings: their types, their defaults, and what follows from them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from flowd.api.http.config import HttpConfig
from flowd.domain import hosts
from flowd.domain.errors import StateError
from flowd.domain.finding import Finding
from flowd.domain.queueing import MAX_WAITING
from flowd.domain.retention import Rule
from flowd.domain.secrets import SecretSource
from flowd.domain.trees import MAX_EVENTS
from flowd.formats.typed import About, Meta, Struct
from flowd.notifiers.config import NotifierConfig
from flowd.settings.store import StoreAddress
from flowd_client.discovery import REHEARSAL

MIB = 1024 * 1024
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

DEFAULT_WHERE_MANAGED = "default under systemd"
"""The origin of ``on_stop`` where nobody set it and systemd manages the daemon."""

SECRETS = ("FLOWD_HTTP_SECRET", "FLOWD_HTTP_TOKEN", "FLOWD_STORE", "CODEX_FLOW_BACKEND_SECRET")
"""Environment variables that steps never see."""

_PRIVATE = (
    *SECRETS, "CREDENTIALS_DIRECTORY", "FLOWD_MARK", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS",
    "LISTEN_PID", "LISTEN_FDNAMES", "INVOCATION_ID", "JOURNAL_STREAM", "MANAGERPID", "SYSTEMD_EXEC_PID",
    "FLOWD_DEBUG_HANG", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", REHEARSAL,
)  # fmt: skip
"""Secrets, and what systemd and tests say to the daemon alone."""


class SettingsError(StateError):
    """A setting has a value that cannot be used. Names the setting, where it came from, and what it may be."""


class WorkspaceAwayError(SettingsError):
    """The workspace is not there. It may come by itself: a mount that is late, a release that is being exchanged."""

    def __init__(self, workspace: Path) -> None:
        super().__init__(f"The workspace {workspace} is not a folder. Make it, or name another with -w.")
        self.workspace = workspace


class Simple(Struct, frozen=True, kw_only=True):
    """The settings that are one value each, with their types and defaults."""

    max_parallel: Annotated[
        int,
        Meta(ge=1, le=10_000),
        About(
            "Steps that run at the same time; the rest are queued in order.",
            default="twice the cores, at least 4",
            example="8",
            flag="--max-parallel",
        ),
    ] = max(4, 2 * _CORES)
    max_queued: Annotated[
        int,
        Meta(ge=1, le=10_000_000),
        About("Runs that may be ready and wait for a place; then events are refused with `queue_full`."),
    ] = 100_000
    max_waiting: Annotated[
        int,
        Meta(ge=1, le=100_000_000),
        About(
            "Runs that may wait for something else (others, a person, a time, a pause, a key), likewise. What is owed "
            "to runs, such as retries, answers and `next`, may be twice as much."
        ),
    ] = MAX_WAITING
    max_tree_events: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        About("Events in a tree: one, what its runs cause, what theirs cause, and so on."),
    ] = MAX_EVENTS
    max_payload_bytes: Annotated[int, Meta(ge=1024, le=64 * MIB), About("Of an event's payload as JSON.")] = 4 * MIB
    max_check_ms: Annotated[
        int,
        Meta(ge=1, le=60_000),
        About("Milliseconds of CPU time that the costly schema checks of one event may take, in all."),
    ] = 200
    max_output_bytes: Annotated[
        int, Meta(ge=64 * 1024, le=1 << 40), About("Of each stream of an attempt; more ends it.")
    ] = 64 * MIB
    shared_output_bytes: Annotated[
        int,
        Meta(ge=128 * 1024, le=1 << 40),
        About(
            "Of each stream of an attempt, for the other hosts of a shared store to read: of more, its beginning and "
            "its end."
        ),
    ] = 16 * MIB
    rescan_interval_s: Annotated[
        float, Meta(ge=1, le=3600), About("Seconds between looks at the packages that no notification asks for.")
    ] = 10.0
    on_stop: Annotated[
        Literal["finish", "cancel", "keep"],
        About(
            "What a first SIGTERM does to running steps: let them `finish`, `cancel` them, or `keep` them running for "
            "the next daemon.",
            default='`"finish"`; `"keep"` under systemd',
        ),
    ] = "finish"
    orphan_grace_s: Annotated[
        float,
        Meta(ge=0, le=7 * 86_400),
        About(
            "How many seconds steps run on without any daemon; 0 is for ever. With the executor `systemd` they run to "
            "their own ends."
        ),
    ] = 600.0
    executor: Annotated[
        Literal["direct", "systemd", "systemd-run"],
        Meta(description="direct or systemd"),
        About(
            "Who starts steps: `direct` is flowd's keeper, `systemd` makes each attempt a transient unit. "
            "`systemd-run` is the TypeScript system's name for the latter.",
            flag="--executor",
            variables=("CODEX_FLOW_BACKEND_EXECUTOR",),
        ),
    ] = "direct"
    cgroup: Annotated[
        str,
        Meta(
            pattern="^(auto|off|/.*)$",
            description="auto, off, or the absolute path of a cgroup (version 2) that flowd may use",
        ),
        About(
            "A cgroup v2 for each step: `auto` where one is delegated to flowd's unit, `off`, or below this one.",
            example='"/sys/fs/cgroup/flowd"',
        ),
    ] = "auto"
    log_format: Annotated[
        Literal["auto", "pretty", "json", "journal"],
        About("The log on stderr; `auto` is pretty on a terminal, else JSON lines.", flag="--log-format"),
    ] = "auto"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], About("The least that is logged.")] = "info"
    workspace_tasks: Annotated[
        bool,
        About(
            "Send the events of tasks of kind `flow` in `.codex/workspace.toml`, which another scheduler may run: "
            "[Time](time.md#tasks-of-a-workspace)."
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set.

    Attributes:
        max_parallel: Steps that run at the same time; the rest are queued.
        max_queued: Runs that may wait for nothing but a place; then events are refused.
        max_waiting: Runs that may wait for something else: others, a person, a time, a key; then events are refused.
        max_tree_events: Of a tree: an event, what its runs cause, what theirs cause, and so on.
        max_payload_bytes: Of an event's payload as JSON.
        max_check_ms: CPU time that the costly schema checks of an event may take, in all.
        max_output_bytes: Of each stream of an attempt; more ends it.
        shared_output_bytes: Of each stream of an attempt, for other hosts to read: of more, its beginning and its end.
        on_stop: What a first SIGTERM does to running steps: let them ``finish``, ``cancel`` them, or ``keep`` them
            running for the next daemon; by default ``keep`` where systemd manages us, else ``finish``.
        executor: Who starts steps: ``direct`` is the keeper, ``systemd`` makes each a unit of its own.
        cgroup: Whether the keeper gives each step a cgroup: ``auto`` where one is delegated to flowd's own unit,
            ``off``, or below the cgroup of this path.
        orphan_grace_s: How long steps go on without any daemon before they are ended; 0 is for ever.
        workspace_tasks: Send the events of ``.codex/workspace.toml``, whose tasks another scheduler may run.
        interpreters: By runner name, instead of looking on PATH.
        inherit: Names of environment variables that steps inherit; None is all but flowd's own secrets: a
            ``GITHUB_TOKEN`` in the daemon's environment is in every step's.
        redact: Names of environment variables whose values are masked in every view.
        secrets: Where the secrets of steps are kept, by name.
        notifiers: Who is told of failures and questions outside of flowd.
        withhold: Patterns of names of environment variables that steps do not inherit.
        store: The store that several hosts share; None for the one in the state folder.
        host: What this host is called among them.
        labels: What it is labelled with beside ``host:NAME``, see `all_labels`.
        retention: How long what has ended is kept; empty: for ever.
        http: The HTTP shim; None where nobody asked for it.
        named_by_workspace: Runners whose interpreter the workspace's own file names.
        is_vouched: Whose the workspace and its packages are does not matter, see `flowd.settings.sources.load`.
        origins: By setting, where its value came from.
        link: The link behind which the workspace is, where it may be changed to another one.
        table: Every setting as a file spells it, JSON-ready, see `flowd.settings.shown`.
        doubts: What the files have that is taken, and may not be meant.
        closed: The user's settings file, where a folder above it cannot be entered: it counts as absent.
    """

    workspace: Path
    state_dir: Path
    socket: Path
    max_parallel: int
    max_queued: int
    max_waiting: int
    max_tree_events: int
    max_payload_bytes: int
    max_check_ms: int
    max_output_bytes: int
    shared_output_bytes: int
    rescan_interval_s: float
    on_stop: str
    orphan_grace_s: float
    executor: str
    cgroup: str
    log_format: str
    log_level: str
    workspace_tasks: bool
    interpreters: Mapping[str, str]
    inherit: tuple[str, ...] | None
    redact: tuple[str, ...]
    withhold: tuple[str, ...]
    secrets: Mapping[str, SecretSource]
    notifiers: tuple[NotifierConfig, ...]
    store: StoreAddress | None
    host: str
    labels: tuple[str, ...]
    retention: tuple[Rule, ...]
    http: HttpConfig | None
    named_by_workspace: frozenset[str]
    is_vouched: bool
    origins: Mapping[str, str]
    closed: Path | None = None
    link: Path | None = None
    doubts: tuple[Finding, ...] = ()
    table: tuple[dict[str, Any], ...] = ()

    @property
    def link_sentence(self) -> str | None:
        """What it means that the workspace is behind a link, as a sentence; None where it is not, or the state is
        elsewhere."""
        if self.link is None or not self.state_dir.is_relative_to(self.workspace):
            return None
        return (
            f"{self.link} is a link to {os.readlink(self.link)}, and the state lies behind it, in {self.state_dir}: "
            "when the link is changed, flowd has forgotten every event, and runs it again if it is sent again"
        )

    @property
    def link_remedy(self) -> str | None:
        """The setting that keeps the state where it is."""
        return None if self.link is None else f"Set FLOWD_STATE_DIR, {self.link.parent / 'flowd-state'} say."

    @property
    def closed_sentence(self) -> str | None:
        """What a closed folder means, as a sentence; None where there is none."""
        if self.closed is None:
            return None
        return f"{self.closed} cannot be looked at, because a folder above it is closed: it sets nothing"

    @property
    def all_labels(self) -> frozenset[str]:
        """The labels of this host: a step runs here that requires no others."""
        return hosts.labels_of(self.host, self.labels)

    @property
    def max_frame_bytes(self) -> int:
        """The size of the largest message on the control socket: a payload, escaped, and what is around it."""
        return self.max_payload_bytes + MIB


def is_managed(environ: Mapping[str, str]) -> bool:
    """Whether systemd started this process (or the wrapper that did), and starts the next one.

    ``INVOCATION_ID`` alone is not enough: what is started from a terminal window inherits the terminal's. systemd 248
    and later say in ``SYSTEMD_EXEC_PID`` whom they mean.
    """
    if environ.get("NOTIFY_SOCKET"):
        return True
    meant = environ.get("SYSTEMD_EXEC_PID")
    return bool(environ.get("INVOCATION_ID")) and meant in (None, str(os.getpid()), str(os.getppid()))


def step_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """What steps inherit: the daemon's environment, or the named part of it, less flowd's own secrets, what systemd
    says to the daemon alone, what says how to reach a shared store, and what the settings withhold."""
    inherited = environ if settings.inherit is None else {n: environ[n] for n in settings.inherit if n in environ}
    private = {*_PRIVATE, *(settings.http.private if settings.http is not None else ())}
    private |= {source.env for source in settings.secrets.values() if source.env is not None}
    if settings.store is not None:
        private |= {name for name in environ if name.startswith("PG")}  # what libpq reads, its password among it
    if (runtime := environ.get("RUNTIME_DIRECTORY")) and runtime == environ.get("XDG_RUNTIME_DIR"):
        private.add("XDG_RUNTIME_DIR")  # our unit's own folder, and no user's
    return {
        name: value
        for name, value in inherited.items()
        if name not in private and not any(fnmatchcase(name, pattern) for pattern in settings.withhold)
    }
