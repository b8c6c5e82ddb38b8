"""A short probe of the device, once before a run: which precision, which batch, and whether compiling pays."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import nn

from raysmooth.actors.compute.compilation import compiler, require_compiler
from raysmooth.actors.compute.compute_config import ComputeConfig, native_precision, settle_backend
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.models.base_classifier import BaseClassifier, DenoisedClassifier
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian, NoiseFamily, open_stream
from raysmooth.common.errors import RaysmoothError

WORTH_PROBING = 20.0
"""Seconds of drawing under which the defaults are taken: small jobs start at once, and always the same way."""

# Parts or multiples of 1,000, the default block: its draws fill batches without a rest.
_BATCHES = {
    "cpu": (2, 5, 10, 25, 50, 100, 125, 250, 500, 1000),
    "cuda": (2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 4000, 8000),
}
_DEFAULT_BATCH = {"cpu": 250, "cuda": 1000}
# Images larger than this have smaller defaults, in proportion.
_DEFAULT_PIXELS = 64 * 64
# Seconds that a cold compilation takes, on the slower of the machines measured, and how much faster it makes draws at
# the least. Compiled code has to save twice what it costs.
_COMPILE_SECONDS = {"cpu": 15.0, "cuda": 60.0}
_COMPILED_GAIN = 1.25
# What the search for a batch may take, and how much slower than the best the smallest good one may be.
_SEARCH_SECONDS = 3.0
_TOLERANCE = 0.05
# Draws a second in bfloat16 above which float32 is tried too.
_TINY = 2000.0


@dataclass(frozen=True)
class Asked:
    """What the user wants of the path: a row of `PRECISIONS` or "auto"; on, off or auto; a number or None."""

    precision: str = "auto"
    compile: str = "auto"
    batch_size: int | None = None


@dataclass(frozen=True)
class Choice:
    """`path` and, for people and manifests, the draws a second that it made here, why it was taken, and a row (path
    and draws a second) for all that was tried.
    """

    path: ComputeConfig
    draws_per_second: float
    why: str
    tried: list[dict[str, Any]]


def choose_compute(
    model: DenoisedClassifier, image_shape: Sequence[int], asked: Asked, draws: int, device: torch.device
) -> Choice:
    """How one replica best makes `draws` draws of `model`, on `device`, for images (C, H, W).

    What is asked for is taken as it is. The rest: the device's native precision, or float32 where the network does not
    compute in it or is slower; the smallest batch within 5 % of the fastest; compiled where that saves more than it
    costs, by a margin, and works. Jobs of less than `WORTH_PROBING` seconds get the native precision, a batch of
    moderate size and no compiler; so does the user's own callable that is no torch module, which may bill every call.
    Raises RaysmoothError for what is asked for and cannot be had.
    """
    if asked.compile == "on":
        require_compiler()
    probe = _Probe(model, tuple(image_shape), asked, draws, device)
    return probe.choose()


def measure(
    network: BaseClassifier,
    path: ComputeConfig,
    image_shape: Sequence[int],
    noise: NoiseFamily,
    device: torch.device,
    seconds: float,
) -> float:
    """Draws a second of the whole loop (noise, network, count), the median of its batches in about `seconds`."""
    loop = _Loop(network, tuple(image_shape), noise, device)
    loop.once(path.batch_size)
    times = [loop.once(path.batch_size)]
    while sum(times) < seconds:
        times.append(loop.once(path.batch_size))
    return path.batch_size / median(times)


class _Loop:
    """Batches of noisy grey images, drawn as a run draws them."""

    def __init__(
        self, network: BaseClassifier, shape: tuple[int, ...], noise: NoiseFamily, device: torch.device
    ) -> None:
        channels, height, width = shape
        self._network = network
        self._noise = noise
        self._device = device
        self._image = torch.full((height, width, channels), 0.5, device=device)
        self._stream = open_stream(device, 0, Role.SELECTION, 0, 0)
        self._buffer = torch.empty(0, height, width, channels, device=device)

    @torch.inference_mode()
    def once(self, batch_size: int) -> float:
        """Seconds that a batch takes."""
        if len(self._buffer) != batch_size:
            self._buffer = self._buffer.new_empty(batch_size, *self._buffer.shape[1:])
        started = time.perf_counter()
        self._noise.add_(self._stream, self._buffer, self._image)
        labels = self._network(self._buffer.permute(0, 3, 1, 2))
        torch.bincount(labels + 1, minlength=self._network.num_classes + 1).cpu()
        return time.perf_counter() - started


class _Probe:
    def __init__(
        self, model: DenoisedClassifier, shape: tuple[int, ...], asked: Asked, draws: int, device: torch.device
    ) -> None:
        self._model = model
        self._shape = shape
        self._asked = asked
        self._draws = max(draws, 1)
        self._device = device
        self._loops: dict[tuple[str, bool], _Loop] = {}
        self._rates: dict[ComputeConfig, float] = {}

    def choose(self) -> Choice:
        asked = self._asked
        own = not isinstance(self._model.classifier, nn.Module)
        nothing_of_ours = own and isinstance(self._model.denoiser, nn.Identity)
        precision = "float32" if nothing_of_ours else native_precision(self._device)
        path = ComputeConfig(
            precision if asked.precision == "auto" else asked.precision,
            asked.compile == "on",
            asked.batch_size or self._default_batch(),
        )
        why = ""
        eager = replace(path, compiled=False)
        try:
            rate = self._quick_rate(eager, 2 if own else 8)
        except RaysmoothError as refusal:
            if asked.precision != "auto" or path.precision == "float32":
                raise
            why = f"; {refusal}".removesuffix(": write --precision float32")
            path, eager = replace(path, precision="float32"), replace(eager, precision="float32")
            rate = self._quick_rate(eager, 2 if own else 8)
        if "auto" not in (asked.precision, asked.compile) and asked.batch_size is not None:
            return self._chosen(path, rate, "as asked")  # the rate is that of eager code: nothing is compiled to see
        if own:
            return self._chosen(path, rate, "the user's own callable is not tried out" + why)
        if self._draws / rate < WORTH_PROBING:
            return self._chosen(path, rate, f"less than {WORTH_PROBING:.0f} s of work" + why)
        if asked.precision == "auto" and path.precision != "float32":
            path = self._faster_precision(path, rate)
        if asked.batch_size is None:
            path = replace(path, batch_size=self._best_batch(replace(path, compiled=False), rate))
        reason = "measured"
        if asked.compile != "off":
            path, reason = self._with_compiler(path)
        return self._chosen(path, self._rates.get(path) or self._rate(path, 0.3), reason + why)

    def _default_batch(self) -> int:
        kind = self._device.type
        most = _DEFAULT_BATCH[kind] * min(1.0, _DEFAULT_PIXELS / (self._shape[1] * self._shape[2]))
        return min(max(batch for batch in _BATCHES[kind] if batch <= max(most, _BATCHES[kind][0])), self._draws)

    def _quick_rate(self, path: ComputeConfig, few: int) -> float:
        """Draws a second of a few images, and of a whole batch where that takes no time."""
        few = min(few, path.batch_size)
        loop = self._loop(path)
        loop.once(few)
        rate = few / loop.once(few)
        if path.batch_size / rate < 0.5 and isinstance(self._model.classifier, nn.Module):
            loop.once(path.batch_size)
            rate = max(rate, path.batch_size / loop.once(path.batch_size))
        return rate

    def _loop(self, path: ComputeConfig) -> _Loop:
        settle_backend(path, self._device)
        kind = path.precision, path.compiled
        if kind not in self._loops:
            network = fast_network(self._model, path, self._device)
            self._loops[kind] = _Loop(network, self._shape, Gaussian(0.25), self._device)
        return self._loops[kind]

    def _rate(self, path: ComputeConfig, seconds: float) -> float:
        """Draws a second in the fastest batch of about `seconds`, and of all earlier ones: what else the machine does
        only makes batches slower.
        """
        loop = self._loop(path)
        if path not in self._rates:
            loop.once(path.batch_size)
        times = [loop.once(path.batch_size)]
        while sum(times) < seconds:
            times.append(loop.once(path.batch_size))
        self._rates[path] = max(self._rates.get(path, 0.0), path.batch_size / min(times))
        return self._rates[path]

    def _faster_precision(self, path: ComputeConfig, rate: float) -> ComputeConfig:
        """Tiny networks may be slower in bfloat16: nothing in them outweighs the casts. Others are not even asked."""
        if rate < _TINY:
            return path
        rivals = [replace(path, compiled=False), replace(path, compiled=False, precision="float32")]
        for _ in range(3):
            for rival in rivals:
                self._rate(rival, 0.1)
        native, exact = (self._rates[rival] for rival in rivals)
        return path if native >= exact else replace(path, precision="float32")

    def _best_batch(self, path: ComputeConfig, rate: float) -> int:
        """The smallest batch within `_TOLERANCE` of the fastest; larger ones are tried as long as they help, and are
        expected to end in time.
        """
        started = time.perf_counter()
        tried: list[ComputeConfig] = []
        for batch in (batch for batch in _BATCHES[self._device.type] if 10 * batch >= path.batch_size):
            left = _SEARCH_SECONDS - (time.perf_counter() - started)
            if batch > self._draws or 2 * batch / rate > left / 2:
                break
            tried.append(replace(path, batch_size=batch))
            try:
                rate = self._rate(tried[-1], 0.1)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                tried.pop()
                break
            if len(tried) > 2 and self._best(tried[-2:]) < 0.9 * self._best(tried):
                break
        if not tried:
            return path.batch_size
        good = [other for other in tried if self._rates[other] >= (1 - 3 * _TOLERANCE) * self._best(tried)]
        while len(good) > 1 and time.perf_counter() - started < _SEARCH_SECONDS:
            for candidate in good:
                self._rate(candidate, 0.1)
        return next(c.batch_size for c in good if self._rates[c] >= (1 - _TOLERANCE) * self._best(good))

    def _best(self, paths: list[ComputeConfig]) -> float:
        return max(self._rates[path] for path in paths)

    def _with_compiler(self, path: ComputeConfig) -> tuple[ComputeConfig, str]:
        """`path`, compiled where that pays; why."""
        fast, eager = replace(path, compiled=True), replace(path, compiled=False)
        if path.compiled:
            return fast, "measured, compiled as asked"
        if compiler() is None:
            return eager, "measured; not compiled: no C++ compiler here"
        seconds = self._draws / (self._rates.get(eager) or self._rate(eager, 0.3))
        saved, cost = seconds * (1 - 1 / _COMPILED_GAIN), _COMPILE_SECONDS[self._device.type]
        if saved < 2 * cost:
            return eager, f"measured; not compiled: that would save {saved:.0f} s and could take {cost:.0f} s"
        try:
            rate = self._rate(fast, 0.5)
        except RaysmoothError as refusal:
            return eager, f"measured; not compiled: {refusal}".removesuffix(": write --compile off")
        if rate < 1.1 * self._rates[eager]:
            return eager, "measured; not compiled: that is no faster"
        return fast, f"measured; compiled: {rate / self._rates[eager]:.1f} times as fast"

    def _chosen(self, path: ComputeConfig, rate: float, why: str) -> Choice:
        tried = [{**asdict(path), "draws_per_second": rate} for path, rate in self._rates.items()]
        return Choice(path, rate, why, tried)
