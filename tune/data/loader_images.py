"""Training images that are read during training, by processes that decode ahead."""

import signal
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.data.images import Cut
from raysmooth.tune.data.augment import Augmentation, PictureAugmentation
from raysmooth.tune.data.training_images import Source, Step, augmented, to_pixels

AHEAD = 2
"""Batches that each process decodes ahead."""


class LoaderImages:
    """The images `ids`, int64 (N,), of a source, read by `workers` processes, or by this one for 0.

    `labels` int64 (N,) are on the CPU. The methods are those of `Images`.
    """

    def __init__(
        self,
        source: Source,
        ids: torch.Tensor,
        labels: torch.Tensor,
        augmentation: Augmentation | PictureAugmentation,
        device: torch.device,
        workers: int,
    ) -> None:
        self.labels = labels
        self._source = source
        self._ids = ids
        self._augmentation = augmentation
        self._device = device
        self._workers = workers

    def __len__(self) -> int:
        return len(self._ids)

    def batches(self, steps: Iterable[Step]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        pending: deque[Step] = deque()  # the loader consumes steps ahead of their batches, in order

        def requests() -> Iterator[_Request]:
            for step in steps:
                pending.append(step)
                yield self._request(step)

        for values in self._read(requests()):
            step = pending.popleft()
            if isinstance(self._augmentation, Augmentation):
                values = augmented(values, self._augmentation, step)
            yield to_pixels(values), self.labels[step.positions[step.local]].to(self._device)

    def in_order(self, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        batches = self._read([(index, None) for index in ids.tolist()] for ids in self._ids.split(batch))
        for values, labels in zip(batches, self.labels.split(batch), strict=True):
            yield to_pixels(values), labels.to(self._device)

    def first(self) -> torch.Tensor:
        return to_pixels(self._source.read_all([(int(self._ids[0]), None)]).to(self._device))

    def _request(self, step: Step) -> "_Request":
        ids = self._ids[step.positions[step.local]].tolist()
        if isinstance(self._augmentation, Augmentation):
            return [(index, None) for index in ids]
        size, places = self._source.shape[-1], range(len(step.positions))[step.local]
        return [
            (index, _RandomCut(self._augmentation, size, (step.seed, place)))
            for index, place in zip(ids, places, strict=True)
        ]

    def _read(self, requests: Iterable["_Request"]) -> Iterator[torch.Tensor]:
        """The images of each request, as stored, on the device; raises RaysmoothError for an unreadable one."""
        loader = DataLoader(
            _Reader(self._source),
            batch_size=None,  # a request is already a batch
            sampler=requests,
            collate_fn=_uncollated,
            num_workers=self._workers,
            prefetch_factor=AHEAD if self._workers else None,
            worker_init_fn=_leave_interrupts_to_the_parent,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # else the loader advances torch's own generator, which dropout uses
        )
        answers = iter(loader)
        while True:
            try:
                answer = next(answers)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                reason = one_line(error).rstrip(". ")
                raise RaysmoothError(
                    f"{self._source.where}: a loader worker died ({reason}): give it more memory, "
                    "or write a smaller --loader-workers (0: read in the training process)"
                ) from error
            if isinstance(answer, str):
                raise RaysmoothError(answer)
            yield answer.to(self._device, non_blocking=True)


_Request = list[tuple[int, Cut | None]]


class _Reader(Dataset):
    """Runs in a loader's process. For an unreadable image it returns the error message: the loader would wrap an
    exception in a trace.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitem__(self, request: _Request) -> torch.Tensor | str:
        try:
            return self._source.read_all(request)
        except RaysmoothError as refusal:
            return str(refusal)


@dataclass(frozen=True)
class _RandomCut:
    """A `Cut` decided by `seed` alone."""

    augmentation: PictureAugmentation
    size: int
    seed: tuple[int, int]

    def apply(self, index: int, image: Image.Image) -> Image.Image:
        return self.augmentation.apply(image, self.size, np.random.default_rng(self.seed))


def _uncollated(answer: Any) -> Any:
    return answer


def _leave_interrupts_to_the_parent(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C would make each process print a trace
