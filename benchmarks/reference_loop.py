"""The competitors of raysmooth: the published loop, a toolbox, and the limit.

`ReferenceLoop` is CERTIFY as published with Cohen et al. 2019, `Toolbox` is that of the Adversarial Robustness Toolbox.
The limit, measured by `Bystanders`, does not sample: it is the forward passes of raysmooth's own network.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from math import ceil
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from networks import Subject
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint
from torch import nn

from raysmooth.actors.compute.compute_config import ComputeConfig, ComputeRequest, settle_backend
from raysmooth.actors.compute.fast_network import FastNetwork, fast_network
from raysmooth.actors.compute.host_memory import keep_memory
from raysmooth.actors.compute.probe import choose_compute
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import load_base_classifier

ALPHA = 0.001
# The search for a peer's best batch size: seconds per trial, trials of each size, seconds after which it ends.
TRIAL_SECONDS, TURNS, SEARCH_SECONDS = 0.5, 5, 15.0

READY_MADE = 4
"""Noisy batches that the limit's passes use in turn."""


class Peer(Protocol):
    def certify(self, image: np.ndarray, n0: int, n: int, batch_size: int) -> tuple[int, float]:
        """Prediction (-1: abstain) and radius of one image (C, H, W)."""


class ReferenceLoop:
    """One image at a time: copies, noise from randn_like, float32, eager, hard argmax, and a Python loop that counts
    the labels.
    """

    def __init__(self, subject: Subject, device: torch.device) -> None:
        self._network = subject.plain(device)
        self._sigma, self._device = subject.network.sigma, device
        with torch.no_grad():
            probe = torch.from_numpy(subject.images(1)[0]).to(device)[None]
            self._num_classes = self._network(probe).shape[1]

    def certify(self, image: np.ndarray, n0: int, n: int, batch_size: int) -> tuple[int, float]:
        x = torch.from_numpy(image).to(self._device)
        self._network.eval()
        selected = int(self._sample_noise(x, n0, batch_size).argmax())
        successes = int(self._sample_noise(x, n, batch_size)[selected])
        p_lower = proportion_confint(successes, n, alpha=2 * ALPHA, method="beta")[0]
        if p_lower < 0.5:
            return -1, 0.0
        return selected, self._sigma * float(norm.ppf(p_lower))

    def _sample_noise(self, x: torch.Tensor, num: int, batch_size: int) -> np.ndarray:
        """Label counts of `num` noisy copies of `x`, (classes,)."""
        counts = np.zeros(self._num_classes, dtype=int)
        with torch.no_grad():
            for _ in range(ceil(num / batch_size)):
                this_batch_size = min(batch_size, num)
                num -= this_batch_size
                batch = x.repeat((this_batch_size, 1, 1, 1))
                noise = torch.randn_like(batch) * self._sigma
                predictions = self._network(batch + noise).argmax(1)
                for label in predictions.cpu().numpy():
                    counts[label] += 1
        return counts


class Toolbox:
    """`PyTorchRandomizedSmoothing` through its public interface."""

    def __init__(self, subject: Subject, device: torch.device) -> None:
        from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing

        network, image = subject.plain(device), subject.images(1)[0]
        with torch.no_grad():
            num_classes = network(torch.from_numpy(image).to(device)[None]).shape[1]
        self._smoothed = PyTorchRandomizedSmoothing(
            network,
            nn.CrossEntropyLoss(),
            input_shape=image.shape,
            nb_classes=num_classes,
            device_type="gpu" if device.type == "cuda" else "cpu",
            scale=subject.network.sigma,
            alpha=ALPHA,
        )

    def certify(self, image: np.ndarray, n0: int, n: int, batch_size: int) -> tuple[int, float]:
        self._smoothed.set_params(sample_size=n0)
        prediction, radius = self._smoothed.certify(image[None], n=n, batch_size=batch_size)
        return int(prediction[0]), float(radius[0])


@dataclass(frozen=True)
class AtItsBest:
    """A peer with the batch size and the number of threads at which it is fastest."""

    peer: Peer
    subject: Subject
    batch_size: int
    threads: int

    def rate(self) -> float:
        """Draws per second in a round."""
        work = self.subject.network.peers
        torch.set_num_threads(self.threads)
        images = self.subject.images(work.images)
        began = perf_counter()
        for image in images:
            self.peer.certify(image, work.n0, work.n, self.batch_size)
        return work.draws / (perf_counter() - began)

    def __str__(self) -> str:
        return f"batch {self.batch_size}, {self.threads} thread{'s' * (self.threads > 1)}"


def at_its_best(
    make: Callable[[Subject, torch.device], Peer], subject: Subject, device: torch.device, cores: int
) -> AtItsBest:
    """The fastest of all batch sizes with all threads or one. Each counts with its best of several turns, since other
    load on the machine only makes it slower; the number of turns depends on how long they take.
    """
    peer, image = make(subject, device), subject.images(1)[0]
    rates = {(size, threads): 0.0 for size in subject.network.batches for threads in {cores, 1}}
    peer.certify(image, 1, subject.network.batches[0], subject.network.batches[0])  # the first pass is slow
    started = perf_counter()
    for _ in range(TURNS):
        for (size, threads), known in rates.items():
            torch.set_num_threads(threads)
            draws = size * ceil(TRIAL_SECONDS * known / size) or size
            began = perf_counter()
            peer.certify(image, 1, draws, size)
            rates[size, threads] = max(known, draws / (perf_counter() - began))
        if perf_counter() - started > SEARCH_SECONDS:
            break
    batch_size, threads = max(rates, key=lambda candidate: rates[candidate])
    return AtItsBest(peer, subject, batch_size, threads)


class Bystanders:
    """Processes with one thread each, one per device, like replicas. A context manager: its exit ends them."""

    def __init__(self, devices: Sequence[str]) -> None:
        context = multiprocessing.get_context("spawn")
        places = context.SimpleQueue()
        for device in devices:
            places.put(device)
        self._processes = len(devices)
        self._pool = context.Pool(self._processes, _settle, (places, context.Barrier(self._processes)))

    def limit(self, subject: Subject, compute: ComputeConfig, seconds: float) -> float:
        """Draws per second that no sampler can beat: all processes at once pass ready-made noisy batches through the
        network, without making noise, counting or sending anything.
        """
        task = (subject.spec, compute, subject.images(READY_MADE), subject.network.sigma, seconds)
        return sum(self._pool.starmap(_passes, [task] * self._processes, chunksize=1))

    def choose(self, subject: Subject, images: int) -> ComputeConfig:
        """The computation that raysmooth would choose for a test set of `images` images."""
        work = replace(subject.network.ours, images=images)
        shape = subject.images(1)[0].shape
        return self._pool.apply(_choose, (subject.spec, shape, work.draws // self._processes))

    def __enter__(self) -> "Bystanders":
        return self

    def __exit__(self, *_: Any) -> None:
        self._pool.terminate()


PATIENCE = 900.0
"""Seconds that a process waits while another compiles."""

_here: dict[str, Any] = {}
_networks: dict[tuple[BaseClassifierSpec, ComputeConfig], FastNetwork] = {}


def _settle(places: Any, barrier: Any) -> None:
    torch.set_num_threads(1)
    keep_memory()
    _here.update(device=torch.device(places.get()), barrier=barrier)


def _choose(spec: BaseClassifierSpec, shape: tuple[int, ...], draws: int) -> ComputeConfig:
    device = _here["device"]
    return choose_compute(load_base_classifier(spec, device).model, shape, ComputeRequest(), draws, device).compute


def _passes(
    spec: BaseClassifierSpec, compute: ComputeConfig, images: Sequence[np.ndarray], sigma: float, seconds: float
) -> float:
    device = _here["device"]
    settle_backend(compute, device)
    if (spec, compute) not in _networks:
        _networks.clear()
        _networks[spec, compute] = fast_network(load_base_classifier(spec, device).model, compute, device)
    classify = _networks[spec, compute]
    batches = []
    for image in images:
        batch = torch.from_numpy(image).to(device).expand(compute.batch_size, -1, -1, -1)
        batch = batch + sigma * torch.randn(batch.shape, device=device)
        batches.append(batch.contiguous(memory_format=torch.channels_last))
    classify(batches[0])
    _finish(device)
    _here["barrier"].wait(PATIENCE)  # all processes compute while any is timed
    turn, passes, at_once = cycle(batches), 0, READY_MADE if device.type == "cuda" else 1
    began = perf_counter()
    while perf_counter() - began < seconds:
        for batch in islice(turn, at_once):
            classify(batch)
        _finish(device)
        passes += at_once
    return passes * compute.batch_size / (perf_counter() - began)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
