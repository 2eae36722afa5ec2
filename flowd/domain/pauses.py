"""What people pause: all flows, one, or a step of one. What is paused is accepted, and waits."""

from dataclasses import dataclass

from flowd.domain.people import Person


@dataclass(frozen=True, slots=True)
class Paused:
    """What is paused.

    Attributes:
        flow: None is all.
        step: Of this flow; None is all of them.
    """

    flow: str | None = None
    step: str | None = None

    def __str__(self) -> str:
        """As views name it.

        >>> str(Paused()), str(Paused("release")), str(Paused("release", "publish"))
        ('*', 'release', 'release/publish')
        """
        return "/".join(name for name in (self.flow, self.step) if name is not None) or "*"


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that is in force: of what, who wanted it, and since when."""

    what: Paused
    by: Person
    at_ms: int
