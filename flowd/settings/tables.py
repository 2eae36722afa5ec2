"""The shape of a settings file: everything that it may say. The reader, ``status --config``, the JSON Schema and the
reference of the settings are made of it."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from flowd.formats.typed import About, Meta, Problem, Rule, Struct
from flowd.settings import store as settings_store
from flowd.settings.hooks import HookTable
from flowd.settings.host import HostTable
from flowd.settings.http_tables import HttpTable
from flowd.settings.notify import NotifyTable, name_of
from flowd.settings.retention import RetentionTable
from flowd.settings.step_secrets import SecretTable
from flowd.settings.values import Simple

_Program = Annotated[str, Meta(description='the path of a program, like "/usr/local/bin/bun"')]
_Name = Annotated[str, Meta(min_length=1)]
_NAMES = Meta(description="a list of names of environment variables")
_PATTERNS = Meta(description='a list of names of environment variables, or patterns of them like "*_TOKEN"')
_PATH = Meta(min_length=1, description="a path")


def _second_names(notifiers: list[dict[str, object]]) -> Iterator[Problem]:
    """Two notifiers of one name."""
    seen: set[str] = set()
    for number, members in enumerate(notifiers):
        name = name_of(members)
        if name in seen:
            yield Problem(f"is the second one called {name}: give each a name of its own", (number,))
        seen.add(name)


class Runners(Struct, forbid_unknown_fields=True):
    """``[runners]``: interpreters that are not looked for on PATH."""

    python: Annotated[
        _Program | None,
        About("Python.", default="looked for on PATH", example='"/usr/bin/python3"', variables=("FLOWD_PYTHON",)),
    ] = None
    bun: Annotated[
        _Program | None,
        About(
            "Bun.",
            default="looked for on PATH",
            example='"/usr/local/bin/bun"',
            variables=("FLOWD_BUN", "CODEX_FLOW_BACKEND_BUN"),
        ),
    ] = None
    node: Annotated[
        _Program | None,
        About("Node.", default="looked for on PATH", example='"/usr/bin/node"', variables=("FLOWD_NODE",)),
    ] = None


class Environment(Struct, forbid_unknown_fields=True):
    """``[environment]``: what steps inherit, what is kept from them, and what is masked."""

    inherit: Annotated[
        Annotated[tuple[str, ...], _NAMES] | None,
        About(
            "Names of the variables that steps inherit. By default a `GITHUB_TOKEN` or `DB_PASSWORD` of the daemon's "
            "environment is in every step's, as `flowd doctor` lists.",
            default="all but flowd's own secrets and what is withheld",
            example='["PATH", "HOME"]',
            variables=("CODEX_FLOW_BACKEND_FORWARD_ENV",),
        ),
    ] = None
    withhold: Annotated[
        tuple[_Name, ...],
        _PATTERNS,
        About("Names, and patterns of names, of variables that steps do not inherit.", example='["*_TOKEN", "DB_*"]'),
    ] = ()
    redact: Annotated[
        tuple[_Name, ...],
        _NAMES,
        About(
            "Names of variables whose values are shown as `***` in output, errors, results and logs. Stored output "
            "stays exact.",
            example='["API_KEY"]',
        ),
    ] = ()


_OF_PACKAGES = "It belongs to a package: write it into its flow.toml."
_PACKAGE_WORDS = (
    "description version guidance config round_dir steps schedules watches triggers flows runs_on lost_after_ms "
    "runner script args cwd trigger needs when timeout_ms grace_ms retry priority delay_ms queue_timeout_ms debounce "
    "limits detach"
)
_KEYS = (
    "How many steps run at a time is max_parallel; [concurrency] and [steps.concurrency] belong to a package: write "
    "them into its flow.toml."
)


class Tables(Simple, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A settings file."""

    LEADS: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("workers", "max_workers", "parallel", "parallelism", "jobs"), "max_parallel"),
        **dict.fromkeys(("data_dir", "state", "datadir"), "state_dir"),
        **dict.fromkeys(("database", "db", "postgres", "dsn"), "store"),
        **dict.fromkeys(("port", "address", "bind"), 'It belongs under [http]: listen = "127.0.0.1:7345".'),
        **dict.fromkeys(("token", "api_key", "tokens"), "Tokens of HTTP are written as [http.tokens.NAME]."),
        **dict.fromkeys(("webhook", "webhooks"), "What comes in is [hooks.NAME], what goes out is [[notify]]."),
        **dict.fromkeys(("slack", "email", "mail", "alerts"), "Who is told of failures is written as [[notify]]."),
        **dict.fromkeys(_PACKAGE_WORDS.split(), _OF_PACKAGES),
        "concurrency": _KEYS,
        **dict.fromkeys(("env", "env_file"), "What steps inherit is under [environment], their own in flow.toml."),
        **dict.fromkeys(("keep", "max_age", "prune", "cleanup"), 'It belongs under [retention]: max_age = "90d".'),
    }  # fmt: skip

    state_dir: Annotated[
        Annotated[str, _PATH] | None,
        About(
            "The folder of flowd's state; a relative path is in the workspace.",
            default="`.codex/flowd` in the workspace",
            example='"/var/lib/flowd"',
            variables=("CODEX_FLOW_BACKEND_DATA_DIR",),
        ),
    ] = None
    socket: Annotated[
        Annotated[str, _PATH] | None,
        About("The control socket.", default="`flowd.sock` in the state folder", example='"/run/flowd.sock"'),
    ] = None
    store: Annotated[
        Annotated[str, Meta(description=f"the URL of a PostgreSQL database, like {settings_store.EXAMPLE}, or sqlite")]
        | None,
        About(
            "`sqlite` is the store in the state folder; `postgresql://USER@HOST/DATABASE` is one that several hosts "
            "share: [Hosts](hosts.md). No file may have its password: that is for `FLOWD_STORE`, the systemd "
            "credential `flowd-store`, or PostgreSQL's own password file.",
            default='`"sqlite"`',
            example='"postgresql://flowd@db.example.org/flowd"',
        ),
        Rule(settings_store.problems),
    ] = None
    runners: Annotated[Runners | None, About("Interpreters that are not looked for on PATH.")] = None
    environment: Annotated[
        Environment | None, About("What steps inherit, what is kept from them, and what is masked.")
    ] = None
    host: Annotated[HostTable | None, About("What this host is among those that share a store: [Hosts](hosts.md).")] = (
        None
    )
    http: Annotated[HttpTable | None, About("flowd over HTTP: [HTTP](http.md).")] = None
    hooks: Annotated[
        Annotated[dict[str, HookTable], Meta(description="tables by name, like [hooks.github]")] | None,
        About("Webhooks of other systems, and how each becomes an event: [HTTP](http.md)."),
    ] = None
    secrets: Annotated[
        Annotated[dict[str, SecretTable], Meta(description="tables by name, like [secrets.npm]")] | None,
        About("Where the secrets are kept that steps may ask for; 4 characters to 64 KiB each."),
    ] = None
    notify: Annotated[
        Annotated[list[NotifyTable], Meta(description="tables in a list, each begun with [[notify]]")] | None,
        About("Who is told of failures and questions outside of flowd: [Notices](notices.md)."),
        Rule(_second_names),
    ] = None
    retention: Annotated[
        RetentionTable | None,
        About("How long what has ended is kept; without it, for ever: [Keeping](keeping.md)."),
    ] = None
