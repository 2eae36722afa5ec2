"""Sends notices: to a program, or to an address on the web. What to send, and when, is the engine's."""
