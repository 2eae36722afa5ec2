"""The keeper process alone. It imports the standard library and this package, and nothing else of flowd."""
