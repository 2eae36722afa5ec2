"""The asyncio client, and the source of the blocking one: clients/python/generate.py makes `flowd_client._sync` of it.

Only `net` and `channels` know asyncio; `flowd_client._sync` has its own of both.
"""
