"""Random flows, and random things that are asked of them and happen to them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import get_args

from model.flows import End, Flow, Key, NextEvent, OnBusy, Quiet, Step, When
from model.model import Model, RefusedError
from model.records import Run

TYPES = ("go", "more")
KEYS = ("x", "y")
EVENTS = tuple(f"e{n}" for n in range(8))
MAX_DEPTH = 3
MAX_TREE_EVENTS = 6


@dataclass(frozen=True)
class Act:
    """Something that is asked or happens. Runs are named by their number.

    Attributes:
        dies: The call of the store in which the daemon dies, and whether before or after it; None where it lives.
    """

    verb: str
    arguments: tuple[object, ...] = ()
    dies: tuple[str, str] | None = None

    def __str__(self) -> str:
        told = ", ".join(str(one) for one in self.arguments)
        return f"{self.verb}({told})" + (f" and dies {self.dies[1]} {self.dies[0]}" if self.dies else "")


@dataclass(frozen=True)
class Features:
    """What sequences are made of. All of it, unless a look at one part alone is wanted."""

    needs: bool = True
    next: bool = True
    dispatches: bool = True
    keys: bool = True
    pauses: bool = True
    people: bool = True
    priority: bool = True
    trees: bool = True
    times: bool = True

    def off(self) -> list[str]:
        """The names of what is left out."""
        return [name for name in self.__dataclass_fields__ if not getattr(self, name)]


# --- flows


def random_flows(random: Random, features: Features) -> tuple[Flow, ...]:
    """A diamond, a chain, and two plain ones, with keys, priorities and policies as it comes."""
    groups = {kind: [_random_key(random, group, kind) for group in "abc"] for kind in ("step", "flow")}

    def key(kind: str, likelihood: float) -> Key | None:
        return random.choice(groups[kind]) if features.keys and random.random() < likelihood else None

    has_times = features.times and random.random() < 0.5
    flows = []
    for flow in (_diamond(random), _chain(random), _plain("plain", random), _plain("again", random)):
        priority = random.choice((0, 0, 5)) if features.priority else 0
        steps = [
            replace(
                step,
                priority=priority,
                key=key("step", 0.3),
                max_attempts=3 if step.flow == "again" else random.choice((1, 1, 2)),
                needs=step.needs if features.needs else (),
                type=step.type if features.needs else "go",
            )
            for step in flow.steps
        ]
        if has_times:
            steps = [_timed(random, step) for step in steps]
        edited = tuple(_edited(random, step) for step in steps)
        keep = random.choice((None, -1)) if len(steps) > 1 else None  # the last one may be missing
        flows.append(Flow(flow.name, tuple(steps), key("flow", 0.25), edited[:keep] if features.needs else ()))
    return tuple(flows)


def _timed(random: Random, step: Step) -> Step:
    """With what it asks of times, if anything."""
    queue_timeout_ms = random.choice((None, None, None, 700, 2_500, 40_000))
    kind = random.choice(("nothing", "nothing", "delay", "quiet"))
    if kind == "delay":
        return replace(step, delay_ms=random.choice((500, 3_000)), queue_timeout_ms=queue_timeout_ms)
    if kind == "quiet" and not step.needs:
        quiet = Quiet(random.choice((400, 1_500)), random.choice((None, 1_500, 2_000)), random.random() < 0.5)
        return replace(step, quiet=quiet, queue_timeout_ms=queue_timeout_ms)
    return replace(step, queue_timeout_ms=queue_timeout_ms)


def has_times(flows: tuple[Flow, ...]) -> bool:
    """Whether any step asks for anything of times."""
    steps = [step for flow in flows for step in flow.steps]
    return any(step.delay_ms or step.queue_timeout_ms or step.quiet for step in steps)


def _edited(random: Random, step: Step) -> Step:
    """A step as it is after an edit. Its key stays: a group's limit is the smallest that anybody declares."""
    needs = step.needs[: random.choice((1, 2))]
    when = _when(random) if needs else step.when
    return replace(step, needs=needs, when=when, priority=random.choice((step.priority, 0)))


def _random_key(random: Random, group: str, kind: str) -> Key:
    on_busy = random.choice(("queue", "queue", *get_args(OnBusy)))
    limit = 1 if on_busy == "replace" else random.choice((1, 1, 2))
    return Key(group, random.choice((None, "key", "key")), limit, on_busy)


def _when(random: Random) -> When:
    whens: tuple[When, ...] = get_args(When)
    return random.choice(("success", "success", *whens))


def _diamond(random: Random) -> Flow:
    sides = [Step("diamond", name, None, ("top",), _when(random)) for name in ("left", "right")]
    bottom = Step("diamond", "bottom", random.choice((None, None, "go")), ("left", "right"), _when(random))
    return Flow("diamond", (Step("diamond", "top", random.choice(TYPES)), *sides, bottom))


def _chain(random: Random) -> Flow:
    tail = [Step("chain", two, None, (one,), _when(random)) for one, two in ("ab", "bc")]
    return Flow("chain", (Step("chain", "a", random.choice(TYPES)), *tail))


def _plain(name: str, random: Random) -> Flow:
    return Flow(name, (Step(name, name, random.choice(TYPES)),))


# --- acts


@dataclass
class Sequence:
    """A catalog, and what happens."""

    seed: int
    flows: tuple[Flow, ...]
    acts: tuple[Act, ...] = field(default=())


_WEIGHTS = {
    "accept": 9, "exit": 22, "cancel": 3, "retry": 4, "replay": 2, "pass_time": 3, "step_clock": 1, "edit": 2,
    "restart": 1, "stop": 1, "resolve": 4, "answer": 2, "pause": 2, "resume": 2, "parallel": 1, "cancel_event": 2,
    "dispatch_from": 2,
}  # fmt: skip
_NEEDS_FEATURE = {
    "resolve": "people", "answer": "people", "pause": "pauses", "resume": "pauses", "parallel": "pauses",
    "dispatch_from": "dispatches", "cancel_event": "trees",
}  # fmt: skip


ABOUT_A_RUN = ("exit", "cancel", "retry", "resolve", "answer", "dispatch_from")
"""Acts whose first argument is the number of a run."""

_LAST_ARGUMENT = {"edit": "is_broken", "cancel_event": "tree", "replay": "and_below"}


class Acts:
    """Makes one act after another, with an eye on the model so that most of them mean something."""

    def __init__(self, random: Random, features: Features) -> None:
        self._random = random
        self._features = features
        self._verbs = [verb for verb in _WEIGHTS if getattr(features, _NEEDS_FEATURE.get(verb, ""), True)]

    def act(self, model: Model) -> Act:
        """The next one."""
        verb = self._random.choices(self._verbs, [_WEIGHTS[verb] for verb in self._verbs])[0]
        arguments = getattr(self, f"_{verb}")(model)
        return Act(verb, arguments) if arguments is not None else self.act(model)

    def _accept(self, model: Model) -> tuple[object, ...]:
        names = self._random.choice(EVENTS), self._random.choice(TYPES), self._random.choice(KEYS)
        return *names, self._later(model)

    def _later(self, model: Model) -> int | None:
        """When the runs of an event may start, mostly at once."""
        if not self._features.times or self._random.random() < 0.85:
            return None
        return model.wall_ms + self._random.choice((-500, 0, 1, 800, 5_000, 25_000))

    def _exit(self, model: Model) -> tuple[object, ...] | None:
        run = self._some([run for run in model.runs if run.status == "running"])
        return None if run is None else (run.seq, self._end(model, run))

    def _end(self, model: Model, run: Run) -> End:
        if run.ending is not None and self._random.random() < 0.7:
            return End(None)
        code = self._random.choice((0, 0, 0, 0, 1))
        says = ["completed", "changed", "changed", "skipped", "failed", None]
        if self._features.people:
            says += ["blocked", "needs_intervention"]
        said = self._random.choice(says) if self._features.people or not code else None
        return End(code, said, self._next(model, run, said) if self._features.next else ())

    def _next(self, model: Model, run: Run, said: str | None) -> tuple[NextEvent, ...] | None:
        is_question = said in ("blocked", "needs_intervention")
        if self._random.random() < 0.75 or (is_question and run.round.event.depth + 1 >= MAX_DEPTH):
            return ()
        if self._random.random() < 0.1:
            return None
        ids = (None, None, self._random.choice(EVENTS))
        count = 1 if is_question else self._random.choice((1, 2))
        return tuple(
            NextEvent(
                self._random.choice(TYPES), self._random.choice(KEYS), self._random.choice(ids), self._later(model)
            )
            for _ in range(count)
        )

    def _dispatch_from(self, model: Model) -> tuple[object, ...] | None:
        run = self._some([run for run in model.runs if run.status == "running"])
        return None if run is None else (run.seq, *self._accept(model))

    def _cancel(self, model: Model) -> tuple[object, ...] | None:
        waiting = self._some([run for run in model.runs if run.status == "queued" and run.waits is not None])
        return (waiting.seq,) if waiting is not None and self._random.random() < 0.5 else self._run(model)

    def _retry(self, model: Model) -> tuple[object, ...] | None:
        bad = [run for run in model.runs if run.effective in ("failed", "canceled", "blocked")]
        run = self._some(bad)
        return (run.seq,) if run is not None and self._random.random() < 0.8 else self._run(model)

    def _resolve(self, model: Model) -> tuple[object, ...] | None:
        status = self._random.choice(("completed", "changed", "failed", "skipped"))
        run = self._question(model)
        return None if run is None else (run, status)

    def _answer(self, model: Model) -> tuple[object, ...] | None:
        run = self._question(model)
        return None if run is None else (run,)

    def _question(self, model: Model) -> int | None:
        asking = [run for run in model.runs if run.asks]
        run = self._some(asking if asking and self._random.random() < 0.9 else model.runs)
        return None if run is None else run.seq

    def _cancel_event(self, model: Model) -> tuple[object, ...] | None:
        event = self._some(list(model.events))
        return None if event is None else (event, self._features.trees and self._random.random() < 0.5)

    def _replay(self, model: Model) -> tuple[object, ...] | None:
        event = self._some(list(model.events))
        if event is None or not self._features.needs or self._random.random() < 0.4:
            return (event or "e0", None, False)
        matched = [f"{flow.name}/{step.name}" for flow in model.flows.values() for step in flow.steps]
        names = tuple(sorted(self._random.sample(matched, self._random.choice((1, 1, 2)))))
        return event, names, self._random.random() < 0.5

    def _pass_time(self, model: Model) -> tuple[object, ...]:
        return (self._random.choice((1, 500, 1000, 1999, 4000, 30_000, 61_000)),)

    def _step_clock(self, model: Model) -> tuple[object, ...]:
        return (self._random.choice((-3_600_000, -700, 700, 3_600_000)),)

    def _edit(self, model: Model) -> tuple[object, ...]:
        version = self._random.choice((None, 1, 2, 2, 3))
        return self._random.choice(list(model.flows)), version, self._random.random() < 0.3

    def _pause(self, model: Model) -> tuple[object, ...]:
        flow = self._random.choice(list(model.flows.values()))
        return (self._random.choice(("*", flow.name, f"{flow.name}/{self._random.choice(flow.steps).name}")),)

    def _resume(self, model: Model) -> tuple[object, ...] | None:
        scope = self._some(sorted(model.pauses))
        return None if scope is None else (scope,)

    def _parallel(self, model: Model) -> tuple[object, ...]:
        return (self._random.choice((1, 2, 3, 5)),)

    def _restart(self, model: Model) -> tuple[object, ...]:
        return ()

    _stop = _restart

    def _run(self, model: Model) -> tuple[object, ...] | None:
        run = self._some(model.runs)
        return None if run is None else (run.seq,)

    def _some(self, choices: list):  # type: ignore[type-arg, no-untyped-def]
        return self._random.choice(choices) if choices else None


def is_possible(model: Model, act: Act) -> bool:
    """Whether there is what an act is about."""
    if act.verb not in ABOUT_A_RUN:
        return True
    number = act.arguments[0]
    assert isinstance(number, int)
    return number < len(model.runs) and (act.verb != "exit" or model.runs[number].status == "running")


def perform(model: Model, act: Act) -> str | None:
    """Let an act happen to the model. The slug where it was refused."""
    arguments = list(act.arguments)
    if act.verb in ABOUT_A_RUN:
        arguments[0] = model.runs[arguments[0]]  # type: ignore[index]
    options: dict[str, object] = {}
    if act.verb in _LAST_ARGUMENT:
        options[_LAST_ARGUMENT[act.verb]] = arguments.pop()
    try:
        getattr(model, "restart" if act.verb == "stop" else act.verb)(*arguments, **options)
    except RefusedError as refused:
        return str(refused)
    return None
