"""Turns steps into commands: interpreters, bootstraps, the context on stdin, and new packages from a template."""
