"""Local servers that speak the protocols of vision APIs: they decode pictures and classify them with a small network,
throttle, stall, fail and count what they would bill. For rehearsals (`--smoke`, digits-api.yaml) and for tests.

They listen on this machine alone. May be imported by experiments. A new protocol is a module and an entry of
`FAKE_APIS`.
"""
