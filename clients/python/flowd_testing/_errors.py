"""What is raised."""


class FlowPackageError(Exception):
    """The package is broken, has no such step or no example, or what it is given is no event."""
