"""Training images that are read as training goes, by processes that decode ahead of it."""

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
from raysmooth.tune.data.training_images import Source, Step, changed, to_pixels

AHEAD = 2
"""Batches that each process decodes before they are asked for."""


class LoaderImages:
    """Some images `ids`, int64 (N,), of a source, read by as many processes as `workers`, 0 for this one.

    `labels` int64 (N,) are on the CPU. `Images` says what the methods give.
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
        asked: deque[Step] = deque()  # the loader takes steps ahead of the batches that it gives, in their order

        def requests() -> Iterator[_Request]:
            for step in steps:
                asked.append(step)
                yield self._cut_at_random(step)

        for values in self._read(requests()):
            step = asked.popleft()
            if isinstance(self._augmentation, Augmentation):
                values = changed(values, self._augmentation, step)
            yield to_pixels(values), self.labels[step.positions[step.part]].to(self._device)

    def in_order(self, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        batches = self._read([(index, None) for index in ids.tolist()] for ids in self._ids.split(batch))
        for values, labels in zip(batches, self.labels.split(batch), strict=True):
            yield to_pixels(values), labels.to(self._device)

    def first(self) -> torch.Tensor:
        return to_pixels(self._source.read_all([(int(self._ids[0]), None)]).to(self._device))

    def _cut_at_random(self, step: Step) -> "_Request":
        ids = self._ids[step.positions[step.part]].tolist()
        if isinstance(self._augmentation, Augmentation):
            return [(index, None) for index in ids]
        size, places = self._source.shape[-1], range(len(step.positions))[step.part]
        return [
            (index, _RandomCut(self._augmentation, size, (step.seed, place)))
            for index, place in zip(ids, places, strict=True)
        ]

    def _read(self, requests: Iterable["_Request"]) -> Iterator[torch.Tensor]:
        """The images of each request, as stored, on the device."""
        loader = DataLoader(
            _Reader(self._source),
            batch_size=None,  # a request is already a batch
            sampler=requests,
            collate_fn=_as_it_is,
            num_workers=self._workers,
            prefetch_factor=AHEAD if self._workers else None,
            worker_init_fn=_leave_interrupts_to_the_parent,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # else each loader takes a number from torch's own, which dropout draws from
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
                    f"{self._source.where}: a process that reads images has died ({reason}): give it more memory, "
                    "or write a smaller --loader-workers (0: read in the training process)"
                ) from error
            if isinstance(answer, str):
                raise RaysmoothError(answer)
            yield answer.to(self._device, non_blocking=True)


_Request = list[tuple[int, Cut | None]]


class _Reader(Dataset):
    """Runs in a loader's process. An image that cannot be read is answered with the line that says so: as an
    exception, the loader would wrap it in a trace.
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


def _as_it_is(answer: Any) -> Any:
    return answer


def _leave_interrupts_to_the_parent(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal, each with its trace
