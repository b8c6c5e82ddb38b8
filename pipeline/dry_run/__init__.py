"""What a run would cost: the networks are tried for a few seconds, an API's queries are counted; nothing is written.

Commands and the Python API import it. It tries on the pool where Ray would join a cluster or use GPUs, otherwise in
processes of its own: another place to try is another `Trial`.
"""
