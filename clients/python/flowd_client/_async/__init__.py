"""The asyncio client, and the source of the blocking one: clients/python/generate.py makes `flowd_client._sync` of it.

Only `net` knows asyncio; `flowd_client._sync.net` has the same names with sockets that block.
"""
