"""Copies of a store with its output: into another store, into a file, and back."""
