"""The blocking client. All but `net` is generated from `flowd_client._async`."""
