"""What a Python step of a flow needs: what it was given, and ways to say how it goes and how it ended.

In a module, flowd calls ``run`` with the context and takes what it returns::

    import flowd_step

    def run(context):
        step = flowd_step.context(context)
        return step.completed(f"Hello, {step.event.payload['name']}!")

A script reads its context from standard input, and prints its result there and then::

    import flowd_step

    with flowd_step.context() as step:
        step.progress(1, 2, "greeting")
        step.completed(f"Hello, {step.event.payload['name']}!")

Standard library only, for Python 3.8 and newer: the interpreter of a step may be older than flowd's own.
"""

from flowd_step._given import Answer, ContextError, Event, Flow, Need, Needs
from flowd_step._step import EndedError, Step, context

__all__ = ["Answer", "ContextError", "EndedError", "Event", "Flow", "Need", "Needs", "Step", "context"]
