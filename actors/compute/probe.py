"""A short benchmark of the device before a run: the precision, the batch size, and whether compiling pays off."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import median

import torch
from torch import nn

from raysmooth.actors.compute.compilation import compiler, require_compiler
from raysmooth.actors.compute.compute_config import (
    ComputeChoice,
    ComputeConfig,
    ComputeRequest,
    native_precision,
    settle_backend,
)
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.models.base_classifier import BaseClassifier, DenoisedClassifier
from raysmooth.actors.models.formats.onnx_session import OnnxClassifier, OnnxDenoiser
from raysmooth.actors.models.steadiness import MOST_UNEQUAL_LABELS, RANDOM
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian, NoiseFamily, open_stream
from raysmooth.common.errors import RaysmoothError

WORTH_PROBING = 20.0
"""Runs with fewer seconds of work take the defaults: they start at once, and always compute the same way."""

# Divisors and multiples of 1,000, the default block size: a block's draws fill whole batches.
_BATCHES = {
    "cpu": (2, 5, 10, 25, 50, 100, 125, 250, 500, 1000),
    "cuda": (2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 4000, 8000),
}
_DEFAULT_BATCH = {"cpu": 250, "cuda": 1000}
# Larger images have proportionally smaller default batches.
_DEFAULT_PIXELS = 64 * 64
# Seconds of a cold compilation on the slower of the machines measured, and the least speed-up measured. Compiling must
# save twice its cost.
_COMPILE_SECONDS = {"cpu": 15.0, "cuda": 60.0}
_COMPILED_GAIN = 1.25
# Time limit of the batch search, and by how much a smaller batch may be slower than the best.
_SEARCH_SECONDS = 3.0
_TOLERANCE = 0.05
BRIEF_SECONDS = 4.0
"""Where a dry run would need longer for a benchmark, it guesses from a few draws in about this time."""
# Draws per second in bfloat16 above which float32 is tried too.
_TINY = 2000.0


def choose_compute(
    model: DenoisedClassifier,
    image_shape: Sequence[int],
    request: ComputeRequest,
    draws: int,
    device: torch.device,
    brief: bool = False,
) -> ComputeChoice:
    """The best way for one replica to compute `draws` draws of `model` on `device`, for images (C, H, W).

    Explicit requests are met as they are. Otherwise: the device's native precision, or float32 if the network does not
    compute in it or is slower; the smallest batch within 5 % of the fastest; compiled if that works and saves clearly
    more than it costs. Runs of less than `WORTH_PROBING` seconds get the native precision, a batch of moderate size and
    no compiler. So does the user's own callable if it is not a torch module: each of its calls may be billed. ONNX
    files get a batch size, and keep their precision. A `brief`
    benchmark ends after about `BRIEF_SECONDS`, and compiles nothing: its choice is a guess where more is needed. Raises
    RaysmoothError for a request that cannot be met.
    """
    if request.compile == "on":
        require_compiler()
    probe = _Probe(model, tuple(image_shape), request, draws, device, brief)
    return probe.choose()


def default_batch(device: torch.device, image_shape: Sequence[int], draws: int) -> int:
    """The batch size of runs that are too short for a benchmark, at most `draws`: smaller for larger images."""
    kind, (_, height, width) = device.type, image_shape
    most = _DEFAULT_BATCH[kind] * min(1.0, _DEFAULT_PIXELS / (height * width))
    return min(max(batch for batch in _BATCHES[kind] if batch <= max(most, _BATCHES[kind][0])), max(draws, 1))


def measure(
    network: BaseClassifier,
    compute: ComputeConfig,
    image_shape: Sequence[int],
    noise: NoiseFamily,
    device: torch.device,
    seconds: float,
) -> float:
    """Draws per second of the whole loop (noise, network, count): the median over batches for about `seconds`."""
    loop = _Loop(network, tuple(image_shape), noise, device)
    loop.once(compute.batch_size)
    times = [loop.once(compute.batch_size)]
    while sum(times) < seconds:
        times.append(loop.once(compute.batch_size))
    return compute.batch_size / median(times)


class _Loop:
    """Batches of a noisy grey image, computed as in a run; `drawn` counts their draws."""

    def __init__(
        self, network: BaseClassifier, shape: tuple[int, ...], noise: NoiseFamily, device: torch.device
    ) -> None:
        channels, height, width = shape
        self._network = network
        self._noise = noise
        self._device = device
        self._image = torch.full((height, width, channels), 0.5, device=device)
        self.drawn = 0
        self._rewind()
        self._buffer = torch.empty(0, height, width, channels, device=device)

    def _rewind(self) -> None:
        self._stream = open_stream(self._device, 0, Role.SELECTION, 0, 0)

    def twice(self, batch_size: int) -> tuple[float, bool]:
        """Compute a batch, and the same batch again; returns the seconds of the second time, and whether both have the
        same labels, but for a few.
        """
        self._rewind()
        self.once(batch_size)
        before = self._labels.clone()  # compiled code overwrites its output
        self._rewind()
        seconds = self.once(batch_size)
        unequal = int((before != self._labels).sum())
        return seconds, unequal <= MOST_UNEQUAL_LABELS * batch_size

    @torch.inference_mode()
    def once(self, batch_size: int) -> float:
        """Compute one batch; returns its seconds."""
        if len(self._buffer) != batch_size:
            self._buffer = self._buffer.new_empty(batch_size, *self._buffer.shape[1:])
        self.drawn += batch_size
        started = time.perf_counter()
        self._noise.add_(self._stream, self._buffer, self._image)
        self._labels = self._network(self._buffer.permute(0, 3, 1, 2))
        torch.bincount(self._labels + 1, minlength=self._network.num_labels + 1).cpu()
        return time.perf_counter() - started


def _for_onnx(request: ComputeRequest) -> ComputeRequest:
    """The request for networks that are ONNX files alone: they stay as they are. Raises RaysmoothError for another."""
    if request.precision not in ("auto", "float32"):
        raise RaysmoothError(
            f"an ONNX file computes in the precision it was exported with, not in {request.precision}: write "
            "--precision float32, and export it in float16, say"
        )
    if request.compile == "on":
        raise RaysmoothError("an ONNX file is not compiled by torch, onnxruntime optimises it: write --compile off")
    return replace(request, precision="float32", compile="off")


class _Probe:
    def __init__(
        self,
        model: DenoisedClassifier,
        shape: tuple[int, ...],
        request: ComputeRequest,
        draws: int,
        device: torch.device,
        brief: bool = False,
    ) -> None:
        self._model = model
        self._shape = shape
        self._request = request
        self._draws = max(draws, 1)
        self._device = device
        self._brief = brief
        self._loops: dict[tuple[str, bool], _Loop] = {}
        self._rates: dict[ComputeConfig, float] = {}
        self._unsteady: str | None = None

    def choose(self) -> ComputeChoice:
        request = self._request
        classifier, denoiser = self._model.classifier, self._model.denoiser
        own = not isinstance(classifier, nn.Module) and not isinstance(classifier, OnnxClassifier)
        nothing_of_ours = not isinstance(classifier, nn.Module) and isinstance(denoiser, nn.Identity | OnnxDenoiser)
        if isinstance(classifier, OnnxClassifier) and nothing_of_ours:
            request = self._request = _for_onnx(request)
        precision = "float32" if nothing_of_ours else native_precision(self._device)
        compute = ComputeConfig(
            precision if request.precision == "auto" else request.precision,
            request.compile == "on",
            request.batch_size or default_batch(self._device, self._shape, self._draws),
        )
        why = ""
        eager = replace(compute, compiled=False)
        few = 1 if self._brief else 2 if own else 8
        try:
            rate = self._quick_rate(eager, few)
        except RaysmoothError as refusal:
            if request.precision != "auto" or compute.precision == "float32":
                raise
            why = f"; {refusal}".removesuffix(": write --precision float32")
            compute, eager = replace(compute, precision="float32"), replace(eager, precision="float32")
            rate = self._quick_rate(eager, few)
        if self._brief and self._takes_long(compute, rate, own):
            return self._guessed(compute, eager, rate, own)
        if "auto" not in (request.precision, request.compile) and request.batch_size is not None:
            # The rate is that of eager code: nothing is compiled just to measure it.
            return self._chosen(compute, rate, "as requested")
        if own:
            return self._chosen(compute, rate, "the user's own callable is not benchmarked" + why)
        if self._draws / rate < WORTH_PROBING:
            return self._chosen(compute, rate, f"less than {WORTH_PROBING:.0f} s of work" + why)
        if request.precision == "auto" and compute.precision != "float32":
            compute = self._faster_precision(compute, rate)
        if request.batch_size is None:
            compute = replace(compute, batch_size=self._best_batch(replace(compute, compiled=False), rate))
        reason = "measured"
        if request.compile != "off":
            compute, reason = self._with_compiler(compute)
        return self._chosen(compute, self._rates.get(compute) or self._measured_rate(compute, 0.3), reason + why)

    def _takes_long(self, compute: ComputeConfig, rate: float, own: bool) -> bool:
        """Whether a few whole batches, or the compiler, would take longer than a brief benchmark may."""
        saved = self._draws / rate * (1 - 1 / _COMPILED_GAIN)
        may_pay = not own and self._request.compile == "auto" and saved >= 2 * _COMPILE_SECONDS[self._device.type]
        return 3 * compute.batch_size / rate > BRIEF_SECONDS or compute.compiled or (may_pay and compiler() is not None)

    def _guessed(self, compute: ComputeConfig, eager: ComputeConfig, rate: float, own: bool) -> ComputeChoice:
        """`compute` with the speed of a few draws, in larger and larger batches while time is left; not compiled."""
        loop, batch, started = self._loop(eager), 1, time.perf_counter()
        while not own and 2 * batch <= compute.batch_size:
            batch *= 2
            if time.perf_counter() - started + batch / rate > BRIEF_SECONDS:
                break
            rate = max(rate, batch / loop.once(batch))
        why = f"guessed from {loop.drawn} draws, not compiled"
        return replace(self._chosen(compute, rate, why), guessed_from=loop.drawn)

    def _quick_rate(self, compute: ComputeConfig, few: int) -> float:
        """Draws per second with a few images, and with a whole batch if that is quick."""
        few = min(few, compute.batch_size)
        loop = self._loop(compute)
        seconds, equal = loop.twice(few)
        rate = few / seconds
        benchmarked = isinstance(self._model.classifier, nn.Module | OnnxClassifier)
        if compute.batch_size / rate < 0.5 and benchmarked:
            seconds, whole_equal = loop.twice(compute.batch_size)
            rate, equal = max(rate, compute.batch_size / seconds), equal and whole_equal
        self._unsteady = None if equal else RANDOM
        return rate

    def _loop(self, compute: ComputeConfig) -> _Loop:
        settle_backend(compute, self._device)
        kind = compute.precision, compute.compiled
        if kind not in self._loops:
            network = fast_network(self._model, compute, self._device)
            self._loops[kind] = _Loop(network, self._shape, Gaussian(0.25), self._device)
        return self._loops[kind]

    def _measured_rate(self, compute: ComputeConfig, seconds: float) -> float:
        """Draws per second of the fastest batch, now (for about `seconds`) or earlier: other load on the machine only
        slows batches down.
        """
        loop = self._loop(compute)
        if compute not in self._rates:
            loop.once(compute.batch_size)
        times = [loop.once(compute.batch_size)]
        while sum(times) < seconds:
            times.append(loop.once(compute.batch_size))
        self._rates[compute] = max(self._rates.get(compute, 0.0), compute.batch_size / min(times))
        return self._rates[compute]

    def _faster_precision(self, compute: ComputeConfig, rate: float) -> ComputeConfig:
        """`compute`, or float32 if that is faster: in tiny networks the casts may cost more than bfloat16 saves. Slower
        networks are not tried.
        """
        if rate < _TINY:
            return compute
        rivals = [replace(compute, compiled=False), replace(compute, compiled=False, precision="float32")]
        for _ in range(3):
            for rival in rivals:
                self._measured_rate(rival, 0.1)
        native, exact = (self._rates[rival] for rival in rivals)
        return compute if native >= exact else replace(compute, precision="float32")

    def _best_batch(self, compute: ComputeConfig, rate: float) -> int:
        """The smallest batch within `_TOLERANCE` of the fastest. Larger batches are tried while they help and time is
        left.
        """
        started = time.perf_counter()
        tried: list[ComputeConfig] = []
        for batch in (batch for batch in _BATCHES[self._device.type] if 10 * batch >= compute.batch_size):
            left = _SEARCH_SECONDS - (time.perf_counter() - started)
            if batch > self._draws or 2 * batch / rate > left / 2:
                break
            tried.append(replace(compute, batch_size=batch))
            try:
                rate = self._measured_rate(tried[-1], 0.1)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                tried.pop()
                break
            if len(tried) > 2 and self._best(tried[-2:]) < 0.9 * self._best(tried):
                break
        if not tried:
            return compute.batch_size
        good = [other for other in tried if self._rates[other] >= (1 - 3 * _TOLERANCE) * self._best(tried)]
        while len(good) > 1 and time.perf_counter() - started < _SEARCH_SECONDS:
            for candidate in good:
                self._measured_rate(candidate, 0.1)
        return next(c.batch_size for c in good if self._rates[c] >= (1 - _TOLERANCE) * self._best(good))

    def _best(self, configs: list[ComputeConfig]) -> float:
        return max(self._rates[config] for config in configs)

    def _with_compiler(self, compute: ComputeConfig) -> tuple[ComputeConfig, str]:
        """`compute`, compiled if that pays off, and the reason."""
        fast, eager = replace(compute, compiled=True), replace(compute, compiled=False)
        if compute.compiled:
            return fast, "measured, compiled as requested"
        if compiler() is None:
            return eager, "measured; not compiled: no C++ compiler found"
        seconds = self._draws / (self._rates.get(eager) or self._measured_rate(eager, 0.3))
        saved, cost = seconds * (1 - 1 / _COMPILED_GAIN), _COMPILE_SECONDS[self._device.type]
        if saved < 2 * cost:
            return eager, f"measured; not compiled: would save {saved:.0f} s, could take {cost:.0f} s"
        try:
            rate = self._measured_rate(fast, 0.5)
        except RaysmoothError as refusal:
            return eager, f"measured; not compiled: {refusal}".removesuffix(": write --compile off")
        if rate < 1.1 * self._rates[eager]:
            return eager, "measured; not compiled: not faster"
        return fast, f"measured; compiled: {rate / self._rates[eager]:.1f} times as fast"

    def _chosen(self, compute: ComputeConfig, rate: float, reason: str) -> ComputeChoice:
        tried = [{**asdict(config), "draws_per_second": rate} for config, rate in self._rates.items()]
        return ComputeChoice(compute, rate, reason, tried, self._unsteady)
