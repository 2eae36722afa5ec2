"""How a step becomes a command: interpreters, bootstraps, the context on stdin, and new packages from a template."""
