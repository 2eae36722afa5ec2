"""Leads from keys that people know from elsewhere (cron, Make, Dagu, GitHub Actions, systemd) to how flowd calls them.

A lead is a key of the same table, or a sentence that says where flowd has the thing. Only asked after a mistake.
"""

from collections.abc import Iterable
from typing import NamedTuple

from flowd.formats.guesses import near_word

_CLOCK = 'A schedule sends an event at its times: [[schedules]] with name, cron = "30 2 * * *" and a type.'
_FILES = 'A watch sends an event when files change: [[watches]] with name, paths = ["src/**"] and a type.'
_START = (
    'What starts a step is [steps.trigger] with type = "an.event.type"; events at times come from [[schedules]], and '
    "events of files from [[watches]]."
)
_SCRIPT = 'Put the command into a file of the package: runner = "exec" and script = "run.sh"; args has its arguments.'
_STEP = "It belongs to a step: write it under [[steps]]."
_STEPS = "Steps are written under [[steps]], with two brackets on each side."
_ENV_FILE = (
    'Variables are written under [steps.env]; what is secret there as { secret = "NAME" }, with [secrets.NAME] in '
    ".codex/flowd.toml."
)
_ENV = "Variables belong to a step: write them under [steps.env]."
_ENVIRONMENT = (
    "Variables belong to a step: write them under [steps.env]. What all inherit is [environment] in .codex/flowd.toml."
)
_RETRY = "More attempts are asked for by [steps.retry] with max_attempts = 3 and delay_ms = 1000."
_KEYS = "How many run at a time is said by [steps.concurrency], or [concurrency] for whole rounds of the flow."
_LIMITS = "What a step may use is bounded by [steps.limits], such as memory_bytes and cpu_percent."
_PAYLOAD = (
    'Which payloads start the step is said by a JSON Schema: schema = "schemas/event.json" under [steps.trigger].'
)
_WHEN = 'How its needs have to end is said by when, such as when = "always"; which events start it, by [steps.trigger].'
_CONFIG = "What is handed to every step as it is belongs under [config]."
_NOTICES = "Failures are told by [[notify]] in .codex/flowd.toml."
_SETTING = "It is a setting of the daemon: write it into .codex/flowd.toml."
_SECRETS = (
    "Where secrets are kept is said by [secrets.NAME] in .codex/flowd.toml; a step is given one by [steps.env] with "
    'TOKEN = { secret = "NAME" }.'
)
_PLACES = (
    "How many steps run at a time is max_parallel in .codex/flowd.toml; of one step it is said by [steps.concurrency], "
    "of whole rounds of the flow by [concurrency]."
)
_WATCH_NOT = 'Leave files out by a pattern with "!" in paths: "!src/gen/**".'


class Lead(NamedTuple):
    """What was probably meant.

    Attributes:
        key: Of the same table.
        remedy: Where flowd has it, if not there.
    """

    key: str | None = None
    remedy: str | None = None


def _table(*rows: tuple[str, str]) -> dict[str, str]:
    return {word: lead for words, lead in rows for word in words.split()}


_SETTINGS = (
    "state_dir socket store runners host http hooks retention executor cgroup on_stop orphan_grace_s rescan_interval_s "
    "workspace_tasks log_level log_format max_check_ms max_output_bytes max_payload_bytes max_queued max_tree_events "
    "max_waiting shared_output_bytes"
)
_COMMON = (
    (_SETTINGS, _SETTING),
    ("cron crontab schedule schedules timer every at timezone tz", _CLOCK),
    ("paths path_filter watch watches files globs", _FILES),
    ("on event events triggers", _START),
    ("command cmd run exec shell commands", _SCRIPT),
    ("env_file envfile dotenv env_files", _ENV_FILE),
    ("notify notifications mailto mail_on on_failure handler_on", _NOTICES),
)
_LEADS: dict[str, dict[str, str]] = {
    "flow": _table(
        *_COMMON,
        ("env", _ENV),
        ("environment", _ENVIRONMENT),
        ("secrets secret", _SECRETS),
        ("trigger type", _START),
        ("step jobs job tasks stages", _STEPS),
        ("runner script timeout timeout_ms grace_ms cwd working_directory needs depends_on when args detach", _STEP),
        ("retry retries retry_policy", _RETRY),
        ("limits priority labels delay_ms queue_timeout_ms debounce lost_after_ms", _STEP),
        ("max_active_runs mutex lock", _KEYS),
        ("max_parallel", _PLACES),
        ("params inputs vars variables parameters", _CONFIG),
        ("id title", "name"),
    ),
    "step": _table(
        *_COMMON,
        ("depends_on depends requires require after dependencies dependency need", "needs"),
        ("timeout timeout_s timeout_sec timeout_seconds timeout_minutes timeoutms time_limit", "timeout_ms"),
        ("grace grace_s kill_timeout stop_timeout timeoutstopsec", "grace_ms"),
        ("delay delay_s wait sleep", "delay_ms"),
        ("working_directory workdir working_dir workingdirectory dir directory", "cwd"),
        ("environment environ", "env"),
        ("arguments argv parameters", "args"),
        ("file path program executable entrypoint main", "script"),
        ("interpreter language shell_type uses kind runners", "runner"),
        ("tags tag", "labels"),
        ("host hosts node_selector worker_selector", "runs_on"),
        ("queue_timeout", "queue_timeout_ms"),
        ("if condition conditions only_if unless preconditions continue_on_error allow_failure continue_on", _WHEN),
        ("schema schema_mode payload filter match", _PAYLOAD),
        ("type", _START),
        ("retries max_retries max_attempts attempts backoff retry_policy retry_delay", _RETRY),
        ("mutex lock group key limit max_parallel singleton", _KEYS),
        ("memory memory_limit mem cpu cpus nice memory_bytes cpu_percent processes open_files umask", _LIMITS),
        ("config", "It belongs to the whole flow: write it as [config], before the first [[steps]]."),
        ("round_dir", "It belongs to the whole flow: write it before the first [[steps]]."),
        ("id title", "name"),
        ("secrets secret", 'Give it as a variable: [steps.env] with TOKEN = { secret = "NAME" }.'),
    ),
    "trigger": _table(
        ("cron schedule timer every at timezone", _CLOCK),
        ("paths files globs watch path", _FILES),
        ("types event events name on topic event_type", "type"),
        ("payload filter match if when where condition schema_file jsonschema", "schema"),
        ("mode", "schema_mode"),
    ),
    "retry": _table(
        ("attempts max count limit retries max_retries times", "max_attempts"),
        ("backoff delay interval wait interval_sec delay_s backoff_ms initial_delay", "delay_ms"),
        ("multiplier exponential exponent backoff_factor", "factor"),
        ("max_delay cap max_backoff", "max_delay_ms"),
        ("when reasons exit_codes exit_code", "on"),
    ),
    "schedule": _table(
        ("at time every when expression schedule crontab", "cron"),
        ("tz zone time_zone", "timezone"),
        ("event event_type", "type"),
        ("catchup missed backfill", "catch_up"),
        ("data body", "payload"),
        ("step steps flow", "A schedule sends an event, and starts each step whose [steps.trigger] has its type."),
    ),
    "watch": _table(
        ("path glob globs files patterns include", "paths"),
        ("ignore exclude not except", _WATCH_NOT),
        ("event event_type on", "type"),
        ("settle debounce debounce_ms delay_ms quiet_ms", "settle_ms"),
        ("git_ignore", "gitignore"),
    ),
    "concurrency": _table(
        ("max max_parallel count n size", "limit"),
        ("name lock mutex", "group"),
        ("keys by pointer pointers", "key"),
        ("cancel_in_progress policy mode when_busy busy", "on_busy"),
    ),
    "debounce": _table(("quiet wait delay_ms settle_ms", "quiet_ms"), ("max", "max_ms"), ("keys by", "key")),
    "limits": _table(
        ("memory mem memory_limit ram", "memory_bytes"),
        ("cpu cpus", "cpu_percent"),
        ("nice", "niceness"),
        ("files nofile", "open_files"),
        ("pids nproc tasks", "processes"),
        ("cpu_time time cpu_seconds", "cpu_time_s"),
        ("fsize file_size", "file_bytes"),
    ),
}
VALUES: dict[str, dict[str, str]] = {
    "runner": _table(
        ("py python3 py3 uv pip", "python"),
        ("sh bash shell zsh command script binary executable native", "exec"),
        ("js javascript nodejs mjs tsx ts-node", "node"),
        ("ts typescript deno", "bun"),
        ("codemode code_mode code", "code-mode"),
    ),
    "when": _table(
        ("on_success succeeded completed ok all_success success()", "success"),
        ("on_failure failed all_failed one_failed failure()", "failure"),
        ("all_done any done always()", "always"),
    ),
    "on_busy": _table(("wait block", "queue"), ("drop ignore forbid", "skip"), ("cancel kill", "replace")),
    "catch_up": _table(("none skip false off never", "none"), ("last one true once", "latest")),
    "on": _table(
        ("failure fail failed error nonzero exit_code", "exit"),
        ("killed signaled", "signal"),
        ("timed_out time_out", "timeout"),
        ("blocked", "result:blocked"),
        ("reboot crash lost", "interrupted"),
    ),
}
"""Words that people write for a value, by key."""


def lead(table: str, key: str, known: Iterable[str]) -> Lead:
    """What a key that a table does not have was probably meant to be.

    >>> lead("step", "depends_on", ["needs", "name"]).key, lead("step", "tiemout_ms", ["timeout_ms"]).key
    ('needs', 'timeout_ms')
    >>> lead("flow", "env", ["config"]).remedy
    'Variables belong to a step: write them under [steps.env].'
    >>> lead("step", "colour", ["name"])
    Lead(key=None, remedy=None)
    """
    words = list(known)
    told = _LEADS.get(table, {}).get(key.lower().replace("-", "_"))
    if told is not None and " " in told:
        return Lead(remedy=told)
    return Lead(key=told if told in words else near_word(key, words))


def meant_value(key: str, value: str, known: Iterable[str]) -> str | None:
    """The value that was probably meant.

    >>> meant_value("runner", "bash", ["exec"]), meant_value("runner", "pyton", ["python"])
    ('exec', 'python')
    """
    words = list(known)
    told = VALUES.get(key, {}).get(value.lower())
    return told if told in words else near_word(value, words)
