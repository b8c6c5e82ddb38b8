"""Black boxes that answer over a network: one adapter for each protocol, from pictures to tags with scores.

An adapter sends one request and reads its answer; it does not retry, wait, count or choose a label. Nothing here knows
of noise, runs or money spent. May be imported by queries, runs and commands. A new API is a module with its client and
an entry of `VISION_APIS`.
"""
