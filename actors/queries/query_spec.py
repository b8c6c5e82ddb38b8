"""How the queries of one run are made, as a replica needs to know it: names and numbers, no tensors, no credentials."""

from dataclasses import dataclass

from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.actors.noise.streams import NoiseFamily


@dataclass(frozen=True)
class QuerySpec:
    """`api`: canonical text of the API with its options. `encoding` and `upscale` are canonical texts, as of `pictures`
    ("none" for an upscale that leaves the size as it is). `denoiser_fingerprint`, once known, must match the weights on
    every machine. `import_path`: further folders to search for weights with relative paths.

    `concurrency`: requests in flight in each replica. `timeout`: seconds a request may take. `patience`: seconds for
    which a picture is sent again after transient failures.
    """

    api: str
    endpoint: str | None
    noise: NoiseFamily
    seed: int
    encoding: str = "png"
    upscale: str = "none"
    denoiser: str = NO_DENOISER
    denoiser_weights: str | None = None
    denoiser_fingerprint: str | None = None
    import_path: tuple[str, ...] = ()
    concurrency: int = 8
    timeout: float = 30.0
    patience: float = 600.0
