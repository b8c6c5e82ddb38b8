"""The sigma of each training image, and the gradient ascent that moves it (--data-dependent)."""

import torch
from torch.distributed import all_reduce

from raysmooth.actors.attacks.attacks import evaluating
from raysmooth.actors.attacks.soft_smoothing import Model, logits_of_draws
from raysmooth.actors.noise.families import NOISES
from raysmooth.actors.sigma_search.objective import certified_radius
from raysmooth.tune.data.training_images import Step
from raysmooth.tune.objectives.data_dependent import SigmaSteps
from raysmooth.tune.objectives.objective import draws_of
from raysmooth.tune.objectives.training_noise import TrainingNoise


class TrainingSigmas:
    """A sigma for each of `count` training images, by position: `values`, float64 (N,), in pixel units. All begin at
    `sigma`, and an image's carries over from epoch to epoch (algorithm 2 of Alfarra et al. 2022).

    An image's sigma depends on the network, the image and its noise alone: the network is in eval mode while sigma
    moves, and the noise is no noise of the loss. As in a search, rate and limits are those of the noise family's own
    parameter: sigma of Gaussian noise, lambda of uniform noise.
    """

    def __init__(self, count: int, sigma: float, how: SigmaSteps, family: str, device: torch.device) -> None:
        self._how = how
        self._family = family
        self._parameter = NOISES[family].of_sigma(1.0)  # the family's parameter is that times sigma
        self._least, self._most = (NOISES[family].sigma_of(limit) for limit in (how.least, how.most))
        self._unit_noise = TrainingNoise(family, 1.0, device)
        # A limit may be `sigma` itself, as rounded by the way through the family's parameter.
        first = min(max(sigma, self._least), self._most)
        self.values = torch.full((count,), first, dtype=torch.float64, device=device)

    def moves_in(self, epoch: int) -> bool:
        """Whether sigmas move in `epoch`, from 0."""
        return epoch >= self._how.epochs_from

    def of(self, step: Step) -> torch.Tensor:
        """The sigmas of the step's local images, float64 (b,)."""
        return self.values[self._places(step)]

    def ascend(self, network: Model, images: torch.Tensor, step: Step, seed: int) -> None:
        """Move the sigmas of the step's local images (b, C, H, W), on noise that `seed` decides. Parameters, their
        gradients and BatchNorm's statistics stay as they are.
        """
        how, sigmas = self._how, self.of(step)
        self._unit_noise.begin(seed, len(step.positions), step.local)
        with evaluating(network):
            for _ in range(how.steps):
                units = draws_of(self._unit_noise, images, how.draws)
                moved = sigmas + how.learning_rate * self._slopes(network, images, units, sigmas) / self._parameter
                sigmas = moved.clamp(self._least, self._most)
        self.values[self._places(step)] = sigmas

    def gather(self, positions: torch.Tensor) -> None:
        """Take the sigmas at other `positions` from the workers whose they are: each image is one worker's in an
        epoch.
        """
        places = positions.to(self.values.device)
        own = torch.zeros_like(self.values)
        own[places] = self.values[places]
        all_reduce(own)
        self.values = own

    def load(self, values: torch.Tensor) -> None:
        """Go on from the `values` of another process. Raises ValueError for those that cannot be such."""
        within = (values >= self._least) & (values <= self._most)
        if values.shape != self.values.shape or values.dtype != self.values.dtype or not bool(within.all()):
            raise ValueError("sigmas of other images, or beyond their limits")
        self.values = values.to(self.values.device, copy=True)

    def metrics(self) -> dict[str, float]:
        """Mean, smallest and largest sigma of the training images."""
        values = self.values
        return {
            "mean_sigma": float(values.mean()),
            "min_sigma": float(values.min()),
            "max_sigma": float(values.max()),
        }

    def _places(self, step: Step) -> torch.Tensor:
        return step.positions[step.local].to(self.values.device)

    def _slopes(self, network: Model, images: torch.Tensor, units: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
        """The slope of each image's radius by the family's parameter (b,), under unit noises (n, b, C, H, W)."""
        with torch.enable_grad():
            levels = (sigmas * self._parameter).requires_grad_()
            scale = (levels / self._parameter).to(units.dtype).view(-1, *[1] * (images.dim() - 1))
            logits = logits_of_draws(network, images, scale * units)
            probabilities = logits.double().softmax(dim=2).mean(dim=0)
            radii = certified_radius(probabilities, levels, self._family, self._how.clamp)
            (slopes,) = torch.autograd.grad(radii.sum(), levels)
        return slopes
