"""The command ``flowd``, which is also ``python -m flowd``."""

import gc


def main() -> None:
    """The console script."""
    # Imports make many objects and no garbage: looking for some meanwhile is a tenth of `flowd runs`. The command
    # line turns the collector on again before a verb runs.
    gc.disable()
    from flowd.cli.main import main as run  # noqa: PLC0415 - with the collector off

    run()


if __name__ == "__main__":
    main()
