"""The refusals that callers are told of, as one tree. `SettingsError` and others specialise one where they are raised.

    FlowdError
    ├── InvalidEventError        invalid_event
    ├── InvalidParamsError       invalid_params
    ├── PayloadTooLargeError     payload_too_large
    ├── NotFoundError
    │   ├── EventNotFoundError   event_not_found
    │   ├── RunNotFoundError     run_not_found
    │   ├── StepNotFoundError    step_not_found
    │   ├── HostNotFoundError    host_not_found
    │   ├── NotifierNotFoundError  notifier_not_found
    │   ├── NoticeNotFoundError  notice_not_found
    │   └── SubscriptionNotFoundError  subscription_not_found
    ├── CursorExpiredError       cursor_expired
    ├── RunFinishedError         run_finished
    ├── RunActiveError           run_active
    ├── NotRetryableError        not_retryable
    ├── DependentActiveError     dependent_active
    ├── NeedsActiveError         needs_active
    ├── NotAskingError           not_asking
    ├── AlreadyAnsweredError     already_answered
    ├── NoMatchError             no_match
    ├── TooManyRunsError         too_many_runs
    ├── HostAliveError           host_alive
    ├── ChainLimitError          chain_limit
    ├── CauseCanceledError       cause_canceled
    ├── WouldDeadlockError       would_deadlock
    ├── RefusedError
    │   ├── QueueFullError       queue_full
    │   ├── TooManySubscriptionsError  too_many_subscriptions
    │   ├── StorageFullError     storage_full
    │   ├── StorageBusyError     storage_busy
    │   └── StorageFailedError   storage_failed (fatal: the daemon stops)
    ├── SlotDecidedError, SlotEarlyError   of schedules, which hear of them alone
    └── StateError               bad_state (the daemon does not start)

The slug is what programs read; `flowd_client.wire` maps each to its JSON-RPC code and HTTP status. The message is a
whole sentence for people, with the remedy; it never contains a payload or a secret.
"""

import copyreg
from collections.abc import Iterable, Sequence
from typing import ClassVar, Self


class FlowdError(Exception):
    """A refusal with a stable slug and facts about it.

    Attributes:
        slug: What went wrong, for programs.
        details: JSON-ready facts that go beside the slug.
    """

    slug: ClassVar[str] = "internal"

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[object, ...]:
        # Not made anew by `__init__`, whose parameters differ from class to class: errors cross processes as they are.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class InvalidEventError(FlowdError):
    """The event is not one: no id, no type, or a member of the wrong type."""

    slug = "invalid_event"


class InvalidParamsError(FlowdError):
    """A parameter is missing, unknown, or out of its range."""

    slug = "invalid_params"


class PayloadTooLargeError(FlowdError):
    """The event is larger than `max_payload_bytes`."""

    slug = "payload_too_large"


class NotFoundError(FlowdError):
    """Something was asked for by a name that nothing here has. Which kind of thing, its subclasses say."""


class EventNotFoundError(NotFoundError):
    """No event has this id."""

    slug = "event_not_found"

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"Unknown event: {event_id[:200]}. `flowd events` lists the stored ones.", eventId=event_id[:200]
        )


class RunNotFoundError(NotFoundError):
    """No run has this id."""

    slug = "run_not_found"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"Unknown run: {run_id[:200]}. `flowd runs` lists the stored ones.", runId=run_id[:200])


class StepNotFoundError(NotFoundError):
    """No flow, or no step of it, has this name."""

    slug = "step_not_found"

    @classmethod
    def of_flow(cls, name: str, known: Iterable[str]) -> Self:
        """There is no such flow; perhaps one of those that are known was meant.

        >>> StepNotFoundError.of_flow("relase", ["nightly", "release"]).message
        "Unknown flow: relase. Did you mean 'release'? `flowd flows` lists what is there."
        """
        from difflib import get_close_matches  # noqa: PLC0415 - only after a mistake

        close = get_close_matches(name[:200], known, n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        return cls(f"Unknown flow: {name[:200]}.{guess} `flowd flows` lists what is there.")


class HostNotFoundError(NotFoundError):
    """No host has this name."""

    slug = "host_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown host: {name[:200]}. `flowd hosts` lists them.", host=name[:200])


class NotifierNotFoundError(NotFoundError):
    """The settings have no notifier of this name."""

    slug = "notifier_not_found"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        has = f"The settings have {', '.join(known)}." if known else "The settings have no [[notify]]."
        super().__init__(f"Unknown notifier: {name[:200]}. {has}", notifier=name[:200])


class NoticeNotFoundError(NotFoundError):
    """No notice has this id."""

    slug = "notice_not_found"

    def __init__(self, notice_id: str) -> None:
        super().__init__(f"Unknown notice: {notice_id[:200]}. `flowd notices` lists them.", noticeId=notice_id[:200])


class SubscriptionNotFoundError(NotFoundError):
    """This connection has no subscription of this name."""

    slug = "subscription_not_found"


class CursorExpiredError(FlowdError):
    """The journal does not reach back to this cursor, so what came after it cannot be told in full."""

    slug = "cursor_expired"


class RunFinishedError(FlowdError):
    """The run has ended already, so there is nothing to cancel."""

    slug = "run_finished"


class RunActiveError(FlowdError):
    """The run is queued or running, so it cannot be retried yet."""

    slug = "run_active"


class NotRetryableError(FlowdError):
    """The run ended well, so there is nothing to retry; a replay makes a new run."""

    slug = "not_retryable"


class DependentActiveError(FlowdError):
    """Something runs that needs this run, so it cannot be retried yet."""

    slug = "dependent_active"


class NeedsActiveError(FlowdError):
    """What this run needs has not ended, or asks a person, so it cannot be started yet."""

    slug = "needs_active"


class NotAskingError(FlowdError):
    """The run did not end with a question, so there is nothing to answer."""

    slug = "not_asking"


class AlreadyAnsweredError(FlowdError):
    """Somebody has answered what the run asked."""

    slug = "already_answered"


class TooManyRunsError(FlowdError):
    """The steps that an event matches, or a replay means, are more than may have runs at once."""

    slug = "too_many_runs"


class NoMatchError(FlowdError):
    """The event matches no step, and its sender wants it to be refused then."""

    slug = "no_match"


class HostAliveError(FlowdError):
    """The host may be there, so what runs on it cannot be declared lost."""

    slug = "host_alive"


class ChainLimitError(FlowdError):
    """What a run would cause is too deep below the root of its tree, or more than a tree or the queue may have."""

    slug = "chain_limit"


class CauseCanceledError(FlowdError):
    """Somebody has asked to cancel the run that would cause this."""

    slug = "cause_canceled"


class WouldDeadlockError(FlowdError):
    """A step would wait for what cannot go on before that step has ended."""

    slug = "would_deadlock"


class RefusedError(FlowdError):
    """flowd cannot take this now; the same call may work later."""

    slug = "refused"


class QueueFullError(RefusedError):
    """`max_queued` runs wait already."""

    slug = "queue_full"


class TooManySubscriptionsError(RefusedError):
    """This connection, or all of them together, have as many subscriptions as there may be."""

    slug = "too_many_subscriptions"


class StorageFullError(RefusedError):
    """The disk under the state folder is full; nothing was stored."""

    slug = "storage_full"


class StorageBusyError(RefusedError):
    """Another program holds the database's lock; nothing was stored."""

    slug = "storage_busy"


class StorageFailedError(RefusedError):
    """The disk failed a write or an fsync. What SQLite says after that cannot be trusted, so the daemon stops."""

    slug = "storage_failed"


class SlotDecidedError(FlowdError):
    """A slot of a schedule counts already, and its event is forgotten. No caller is told of it."""


class SlotEarlyError(FlowdError):
    """By the clock of the store, the slot of a schedule has not come yet. No caller is told of it."""


class StateError(FlowdError):
    """State on disk that cannot be read or trusted. flowd never starts empty over it."""

    slug = "bad_state"


class NotYetError(StateError):
    """Something that flowd was told to use is not there, and may come by itself: another start may find it."""
