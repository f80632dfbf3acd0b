"""Clean twins: networks of B's architecture without a backdoor, which give a scan an error rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ytf_torch.defences.training import (
    TRAINING_PIXEL_SCALE,
    Augment,
    TrainingFaces,
    fresh_network,
    known,
    learned_statistics,
    seeded,
    train,
)
from ytf_torch.errors import CannotRepairError, InputError, argument
from ytf_torch.metrics import Share
from ytf_torch.network.module import Network

# A twin that recognises a smaller share of the images that it is trained on is under-trained.
FITTED = 0.98
MOST_CYCLES = 3


@dataclass(frozen=True)
class Twin:
    """A clean twin. recognised: share of the clean validation images that it recognises, 0–1."""

    network: Network
    recognised: float


class CleanTwins:
    """Trains networks of B's graph from fresh weights on augmented clean validation images, with
    their labels. A twin is trained on, up to MOST_CYCLES times in all, until it recognises FITTED
    of these images.

    epochs: of one cycle; more where the images are so few that it would have fewer than
    `fewest_steps` steps. Twins differ in their seed: initial weights, order, augmentation.

    Limit: a twin has seen the validation images alone. B was trained on other and far more images,
    by an unknown recipe. A p-value among twins is therefore as good as the twins are like clean
    networks of B's training. docs/defences.md says what was measured.

    Source: a scan's error rate from clean networks of the same architecture, as Xu, Wang, Li,
    Borisov, Gunter, Li, "Detecting AI Trojans Using Meta Neural Analysis" (IEEE S&P 2021), train
    shadow networks on a small clean data set.
    """

    def __init__(
        self,
        *,
        epochs: int = 15,
        fewest_steps: int = 300,
        batch: int = 64,
        learning_rate: float = 3e-3,
    ) -> None:
        self.epochs, self.fewest_steps = epochs, fewest_steps
        self.batch, self.learning_rate = batch, learning_rate

    def epochs_for(self, images: int) -> int:
        """Epochs of one cycle."""
        return max(self.epochs, -(-self.fewest_steps // -(-images // self.batch)))

    def twin(
        self,
        network: Network,
        images: TrainingFaces,
        augment: Augment,
        seed: int,
        done: Callable[[int], None],
    ) -> Twin:
        """The twin of this seed, in evaluation mode. Of the network only its graph, preprocessing
        and statistics of the data are used. done: is told of the images of each batch.

        Raises InputError where the network cannot be started anew, as some modules of a user.
        """
        generator = seeded(seed)
        twin = _fresh(network, seed)
        # Inputs of about 1, for which the learning rate was chosen; a network that scales its
        # inputs by a layer of its own is left to it.
        rescalable = bool(twin.pixel_readers())
        if rescalable:
            twin.pixel_scale = TRAINING_PIXEL_SCALE
        for _ in range(MOST_CYCLES):
            with learned_statistics(twin):
                train(
                    twin,
                    images,
                    augment,
                    learning_rate=self.learning_rate,
                    epochs=self.epochs_for(len(images)),
                    batch=self.batch,
                    generator=generator,
                    done=done,
                )
            recognised = known(twin, images) / len(images)
            if recognised >= FITTED:
                break
        if rescalable:
            twin.read_pixels_at(network.pixel_scale)
        return Twin(twin, recognised)


def _fresh(network: Network, seed: int) -> Network:
    try:
        return fresh_network(network, seed)
    except CannotRepairError as error:
        where, problem, *_ = error.args
        remedy = f"Give {argument('twins', 0)}"
        raise InputError(where, f"{problem}, so it can have no clean twins", remedy) from error


@dataclass(frozen=True)
class AmongTwins:
    """A network's largest anomaly by one scan among those of its clean twins.

    anomaly: of the network. twins: of each twin. threshold: of the scan.
    """

    anomaly: float
    twins: tuple[float, ...]
    threshold: float

    @property
    def as_anomalous(self) -> int:
        """Number of twins with at least the network's anomaly."""
        return sum(twin >= self.anomaly for twin in self.twins)

    @property
    def p_value(self) -> float:
        """(1 + twins that are at least as anomalous) / (twins + 1), at least 1 / (twins + 1).

        The probability that a network drawn like the twins would rank as high among them, ties
        counted against it. Source: Phipson, Smyth, "Permutation P-values Should Never Be Zero"
        (Statistical Applications in Genetics and Molecular Biology 9, 2010).

        >>> from ytf_torch.defences.scans.twins import AmongTwins
        >>> AmongTwins(3.0, (1.0, 2.0, 4.0), threshold=3.5).p_value
        0.5
        """
        return (1 + self.as_anomalous) / (len(self.twins) + 1)

    @property
    def false_alarm_rate(self) -> Share:
        """Share of the twins with an anomaly above the scan's threshold."""
        return Share.of(sum(twin > self.threshold for twin in self.twins), len(self.twins))


def joint_p_value(p_values: list[float]) -> float:
    """p-value of the smallest of several: min(1, count · smallest), Bonferroni's bound.

    >>> joint_p_value([0.05, 0.4, 0.9])
    0.15000000000000002
    """
    return min(1.0, len(p_values) * min(p_values))
