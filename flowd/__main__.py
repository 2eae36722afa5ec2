"""``python -m flowd`` is the command ``flowd``."""

from flowd.cli.main import main

if __name__ == "__main__":
    main()
