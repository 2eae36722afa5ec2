"""A notifier as plain values: made by `flowd.settings.notify`, used here."""

from dataclasses import dataclass

from flowd.domain.notices import NotifyRule

DEFAULT_TIMEOUT_S = 15


@dataclass(frozen=True, slots=True)
class NotifierConfig:
    """Who is told of what, and how: exactly one of ``command``, ``webhook`` and ``webhook_file`` is set.

    Attributes:
        command: A program and its arguments, which gets the notice on its standard input.
        webhook: A URL that the notice is posted to.
        webhook_file: The absolute path of a file that holds such a URL, where that is a secret.
        secret_file: The absolute path of a file with the secrets that a webhook is signed with.
        allow_http: The URL may be ``http://`` although others than this machine are reached by it.
        timeout_s: How long a try may take.
    """

    rule: NotifyRule
    command: tuple[str, ...] | None = None
    webhook: str | None = None
    webhook_file: str | None = None
    secret_file: str | None = None
    allow_http: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S

    @property
    def name(self) -> str:
        """What it is called."""
        return self.rule.name

    @property
    def files(self) -> tuple[str, ...]:
        """The files that hold secrets of it."""
        return tuple(file for file in (self.webhook_file, self.secret_file) if file is not None)
