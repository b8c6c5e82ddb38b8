"""From an image and the number of a draw to a picture, and from a picture to its answer: the replica that asks an API.

What is smoothed is f = parse . API . encode . resize . quantize . clip . D. The noise comes first, in float, unclipped,
from a generator that gives the same numbers on every device. May be imported by the query pool, runs and commands. What
is done with a picture is decided in `pictures`; how long one waits, in `rate_bucket` and `query_replica`. A new kind
of image file is an entry of `ENCODINGS`, a new way to enlarge a picture one of `UPSCALES`.
"""
