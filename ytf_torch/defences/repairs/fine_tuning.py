"""Fine-tuning at a high learning rate on augmented faces, which unlearns much of a backdoor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

from torch import Generator

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.training import (
    Augment,
    TrainingFaces,
    augmentation_for,
    known,
    seeded,
    train,
)
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track

# A copy that recognises a smaller share of the faces that B recognises has forgotten classes.
STILL_KNOWN = 0.9
HALVINGS = 3


class FineTuning:
    """Trains B further with a one-cycle learning-rate schedule, whose maximum is learning_rate.

    Source: the baseline of the field, as in Liu, Dolan-Gavitt, Garg, "Fine-Pruning" (RAID 2018).
    The augmentation and the hyperparameters were chosen on BadNets of this network.
    """

    def __init__(
        self,
        *,
        learning_rate: float = 2e-3,
        epochs: int = 12,
        batch: int = 64,
        seed: int = 0,
    ) -> None:
        self.learning_rate, self.epochs = learning_rate, epochs
        self.batch, self.seed = batch, seed

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        """See Repair."""
        faces = TrainingFaces.of(clean_valid, network.device)
        augment, recognised = augmentation_for(network, faces), known(network, faces)
        done = track("fine-tuning", self.epochs * len(faces))
        tuned = self.tuned(network, faces, augment, recognised, seeded(self.seed), done)
        yield Candidate("fine-tuned", tuned, (self.step(len(faces)),))

    def gentler(self) -> FineTuning:
        """At half the learning rate, for twice the epochs: the copy recognises more unseen images,
        and keeps more of a backdoor."""
        return FineTuning(
            learning_rate=self.learning_rate / 2,
            epochs=2 * self.epochs,
            batch=self.batch,
            seed=self.seed,
        )

    def step(self, faces: int) -> str:
        """Description for the history of the network."""
        return f"fine-tuned on {faces} clean faces, varied, for {self.epochs} epochs"

    def tuned(
        self,
        network: Network,
        faces: TrainingFaces,
        augment: Augment,
        recognised: int,
        generator: Generator,
        done: Callable[[int], None],
    ) -> Network:
        """A fine-tuned copy in evaluation mode.

        recognised: number of faces that `network` recognises. done: called with the number of faces
        of each batch. If the learning rate is too high for the network, the copy forgets classes;
        then it is trained again at half the rate, up to HALVINGS times.
        """
        required = STILL_KNOWN * recognised
        for halving in range(HALVINGS + 1):
            tuned = copy.deepcopy(network)
            train(
                tuned,
                faces,
                augment,
                learning_rate=self.learning_rate / 2**halving,
                epochs=self.epochs,
                batch=self.batch,
                generator=generator,
                done=done,
            )
            if known(tuned, faces) >= required:
                break
        return tuned
