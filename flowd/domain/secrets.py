"""Where a step's secret is kept. Its value is read when an attempt starts, and by that attempt alone. No I/O."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SecretSource:
    """One place of a secret: exactly one of these is set.

    Attributes:
        file: The absolute path of a file that holds it.
        credential: The name of a systemd credential of flowd's unit.
        env: The name of a variable of flowd's own environment, which no step inherits then.
        command: A command line that prints it.
    """

    file: str | None = None
    credential: str | None = None
    env: str | None = None
    command: tuple[str, ...] | None = None
