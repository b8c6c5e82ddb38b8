"""Computing work units: base classifiers on one device, made fast, kept between units, within the device's memory."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from raysmooth.actors.compute.compute_config import ComputeChoice, ComputeConfig, ComputeRequest, settle_backend
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.compute.probe import choose_compute, measure
from raysmooth.actors.models.base_classifier import BaseClassifier
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import Loaded, load_base_classifier
from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.draws import draw
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.search_unit import search
from raysmooth.actors.replica.work_unit import Block, Drawn, UnitCounts, UnitSigmas, WorkUnit
from raysmooth.actors.sigma_search.search_network import SearchNetwork
from raysmooth.actors.sigma_search.search_options import SearchOptions
from raysmooth.actors.sigma_search.searches import read_search
from raysmooth.common.errors import RaysmoothError, one_line

ImageKey = tuple[int, int]
"""The number of a run, and an image id."""

_LARGEST = 1024
"""The largest batch that a probe starts with, unless a larger one is requested."""


Load = Callable[[BaseClassifierSpec, torch.device], Loaded]
"""Brings a base classifier into memory, as `load_base_classifier` does. Each call makes another one."""


class UnitDrawer:
    """Computes work units on `device`. `load` brings the networks into memory, by default from their files."""

    def __init__(self, device: torch.device, load: Load = load_base_classifier) -> None:
        self._device, self._load = device, load
        self._samplings: list[Sampling] = []
        self._networks: dict[tuple[BaseClassifierSpec, ComputeConfig], BaseClassifier] = {}
        self._search_networks: dict[tuple[BaseClassifierSpec, SearchOptions], SearchNetwork] = {}
        self._micro_batches: dict[int, int] = {}

    def choose(
        self,
        base: BaseClassifierSpec,
        image_shape: tuple[int, ...],
        request: ComputeRequest,
        draws: int,
        brief: bool = False,
    ) -> ComputeChoice:
        """The best way to compute this replica's share of the draws, `draws` draws of `base`. If a batch exceeds the
        memory, smaller ones are tried; a requested batch size is kept nevertheless. `brief`: as of `choose_compute`.
        """
        model = self._load(base, self._device).model
        tried = request
        while True:
            try:
                choice = choose_compute(model, image_shape, tried, draws, self._device, brief)
            except torch.OutOfMemoryError as error:
                if tried.batch_size == 1:
                    raise self._no_room(request.batch_size or 1) from error
                tried = replace(tried, batch_size=-(-(tried.batch_size or _LARGEST) // 2))
            else:
                compute = replace(choice.compute, batch_size=request.batch_size or choice.compute.batch_size)
                return replace(choice, compute=compute)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def prepare(self, samplings: Sequence[Sampling], image_shapes: Sequence[tuple[int, ...]]) -> float:
        """Load and compile the networks of `samplings` for images (C, H, W) of these shapes; returns the seconds taken.
        Raises RaysmoothError if the weights on this machine do not fit.
        """
        started = time.perf_counter()
        self._samplings = list(samplings)
        bases = {sampling.base for sampling in samplings}  # those of earlier preparations leave the memory
        self._networks = {key: network for key, network in self._networks.items() if key[0] in bases}
        self._search_networks = {key: network for key, network in self._search_networks.items() if key[0] in bases}
        for number, (sampling, shape) in enumerate(zip(samplings, image_shapes, strict=True)):
            self._micro_batches[number] = sampling.micro_batch or sampling.compute.batch_size
            self._draw_within_memory(*_blank(number, sampling, shape), brief=True)
        return time.perf_counter() - started

    def measure(self, run: int, image_shape: tuple[int, ...], seconds: float) -> float:
        """Draws per second of a prepared run, measured for about `seconds`."""
        sampling = self._samplings[run]
        if sampling.search is not None:
            return self._measure_search(run, image_shape, seconds)
        compute = replace(sampling.compute, batch_size=self._micro_batches[run])
        settle_backend(compute, self._device)
        return measure(
            self._network(sampling.base, compute), compute, image_shape, sampling.noise, self._device, seconds
        )

    def draw(self, units: Sequence[WorkUnit], keys: Sequence[ImageKey], *images: np.ndarray) -> Drawn:
        """Compute `units` in order. `images`: the images that they need; `keys`: the key of each."""
        by_key = dict(zip(keys, images, strict=True))
        counts: list[UnitCounts | UnitSigmas] = []
        for unit in units:
            try:
                counts.append(self._draw_within_memory(unit, {i: by_key[unit.run, i] for i in unit.image_ids}))
            except RaysmoothError:
                raise
            except (Exception, SystemExit) as error:  # the user's own model may end the program
                return Drawn(counts, f"{type(error).__name__}: {one_line(error)}")
        return Drawn(counts)

    def _draw_within_memory(
        self, unit: WorkUnit, images: dict[int, np.ndarray], brief: bool = False
    ) -> UnitCounts | UnitSigmas:
        """Compute a unit; if the memory is too small, start it over with the same noise in smaller parts. `brief`: only
        the first forward passes of a search.
        """
        sampling = self._samplings[unit.run]
        while True:
            micro_batch = self._micro_batches[unit.run]
            settle_backend(sampling.compute, self._device)
            try:
                if unit.role == Role.OPTIMISATION:
                    return self._search(unit, images, micro_batch, brief)
                return draw(
                    unit,
                    images,
                    self._network(sampling.base, replace(sampling.compute, batch_size=micro_batch)),
                    sampling.noise,
                    seed=sampling.seed,
                    batch_size=sampling.compute.batch_size,
                    micro_batch=micro_batch,
                    device=self._device,
                )
            except torch.OutOfMemoryError as error:
                if micro_batch == 1:
                    raise self._no_room(sampling.compute.batch_size) from error
                self._micro_batches[unit.run] = -(-micro_batch // 2)
                self._networks.clear()
                self._search_networks.clear()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _search(self, unit: WorkUnit, images: dict[int, np.ndarray], micro_batch: int, brief: bool) -> UnitSigmas:
        sampling = self._samplings[unit.run]
        assert sampling.search is not None
        written, options = read_search(sampling.search)
        if (sampling.base, options) not in self._search_networks:
            model = self._load(sampling.base, self._device).model
            self._search_networks[sampling.base, options] = SearchNetwork(model, options)
        batch_size = sampling.compute.batch_size
        return search(
            unit,
            images,
            self._search_networks[sampling.base, options],
            sampling.noise,
            written.name,
            options.brief(batch_size) if brief else options,
            seed=sampling.seed,
            batch_size=batch_size,
            micro_batch=micro_batch,
            device=self._device,
        )

    def _measure_search(self, run: int, image_shape: tuple[int, ...], seconds: float) -> float:
        """Forward passes of one draw, per second, as the options of a search count them."""
        sampling, passes, spent = self._samplings[run], 0, 0.0
        assert sampling.search is not None
        _, options = read_search(sampling.search)
        batch_size = sampling.compute.batch_size
        unit, images = _blank(run, sampling, image_shape)
        while spent < seconds:
            spent += self._draw_within_memory(unit, images, brief=True).seconds
            passes += options.brief(batch_size).passes * options.images_at_once(batch_size)
        return passes / spent

    @staticmethod
    def _no_room(batch_size: int) -> RaysmoothError:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "the device"
        return RaysmoothError(
            f"the memory of {device} on {os.uname().nodename} is too small for one image in --batch-size "
            f"{batch_size}: write a smaller one (this starts a new run), or --gpus-per-replica 1"
        )

    def _network(self, spec: BaseClassifierSpec, compute: ComputeConfig) -> BaseClassifier:
        if (spec, compute) not in self._networks:
            self._networks[spec, compute] = fast_network(self._load(spec, self._device).model, compute, self._device)
        return self._networks[spec, compute]


def _blank(run: int, sampling: Sampling, image_shape: tuple[int, ...]) -> tuple[WorkUnit, dict[int, np.ndarray]]:
    """A unit of a blank image, and the image."""
    role = Role.SELECTION if sampling.search is None else Role.OPTIMISATION
    return WorkUnit(run, role, (Block(0, 0, 1),)), {0: np.zeros(image_shape, np.float32)}
