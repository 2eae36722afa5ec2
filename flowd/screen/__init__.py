"""``flowd top``: what a daemon does, live on a terminal, and what a person may do about it.

Owner of Textual, which is an extra: nothing here is imported before the verb is called. Stands on the command line's
session and words, and asks the daemon through the asyncio client alone.
"""
