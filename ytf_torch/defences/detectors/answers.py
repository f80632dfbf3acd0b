"""Detecting triggered faces: GoodNet's answer for photos and lab-format files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ytf_torch.defences.detectors.goodnet import goodnet_answer
from ytf_torch.device import exact_float32
from ytf_torch.disk.reading import checked_file, is_hdf5
from ytf_torch.errors import InputError
from ytf_torch.faces.batches import BATCH_SIZE
from ytf_torch.faces.face_set import open_unlabelled
from ytf_torch.faces.inputs import Unreadable, input_files
from ytf_torch.faces.photos import read_photo
from ytf_torch.metrics import disagree
from ytf_torch.network.module import Network


@dataclass(frozen=True)
class Answer:
    """What the networks say of one face: classes of G, B and B′; G's is N where it flags.

    input: the file, with the image's index behind it where the file holds many.
    """

    input: str
    goodnet: int
    badnet: int
    pruned: int

    @property
    def backdoored(self) -> bool:
        """Whether G flags it: B and B′ disagree."""
        return disagree(self.badnet, self.pruned)


def detect(
    badnet: Network, pruned: Network, inputs: Iterable[Path]
) -> Iterator[Answer | Unreadable]:
    """One answer for each face in photos, lab-format HDF5 files and folders of both.

    badnet, pruned: B and B′ on one device, with the same classes and input size.
    Inputs are answered in the order given, folders by file name.
    """
    found = _faces(inputs, badnet)
    while group := list(islice(found, BATCH_SIZE)):
        faces = [item for item in group if not isinstance(item, Unreadable)]
        answers = iter(_answers(badnet, pruned, faces) if faces else ())
        for item in group:
            yield item if isinstance(item, Unreadable) else next(answers)


def _answers(badnet: Network, pruned: Network, faces: list[tuple[str, Tensor]]) -> Iterator[Answer]:
    pixels = torch.stack([face for _, face in faces]).to(badnet.device)
    with exact_float32(), torch.inference_mode():
        b, repaired = badnet(pixels).argmax(1), pruned(pixels).argmax(1)
        g = goodnet_answer(b, repaired, badnet.classes)
    for (name, _), *classes in zip(faces, g.tolist(), b.tolist(), repaired.tolist(), strict=True):
        yield Answer(name, *classes)


def _faces(inputs: Iterable[Path], model: Network) -> Iterator[tuple[str, Tensor] | Unreadable]:
    shape = model.input_shape
    for path in input_files(inputs):
        if isinstance(path, Unreadable):
            yield path
            continue
        try:
            if is_hdf5(checked_file(path)):
                images = 0
                for batch in open_unlabelled(path, shape).batches():
                    for face in batch.pixels.to(torch.float32):
                        yield f"{path}[{images}]", face
                        images += 1
            else:
                yield str(path), read_photo(path, shape).to(torch.float32)
        except InputError as error:
            yield Unreadable(str(path), str(error))
