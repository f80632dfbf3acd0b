"""The repairs of a comparison in the order of its table, and which of them is to be made next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ytf_torch.defences.duration import faces_of_method
from ytf_torch.defences.names import RECOMMENDED_REPAIR, every, name_of_method
from ytf_torch.report.compare.comparison import Record
from ytf_torch.run.compared_repair import Cell
from ytf_torch.run.repair_settings import CompareSettings


@dataclass
class Plan:
    """The repairs of a comparison, and the records of those that are finished, by the cell's name.
    in_order: the cells in the order in which they are started, first that of the table.
    started: names and detectors of the cells that `next_cell` has returned.

    Detectors are measured with one B′ only: that of the cell at index `measured` or, where it
    cannot be made, of the next one that can. Repairs may finish in any order: the result is that of
    making one after another.
    """

    cells: Sequence[Cell]
    measured: int
    detectors: tuple[str, ...]
    records: dict[str, Record] = field(default_factory=dict)
    started: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)
    in_order: list[Cell] = field(init=False)

    def __post_init__(self) -> None:
        self.in_order = list(self.cells)

    def start_longest_first(self, images: int, classes: int) -> None:
        """Start repairs in the order of their expected duration, for several at a time: a long one
        that is started last would run alone. images: how many clean validation ones there are.
        classes: how many the network has."""

        def duration(cell: Cell) -> float:
            return faces_of_method(name_of_method(cell.method), images, classes)

        self.in_order.sort(key=duration, reverse=True)

    def next_cell(self) -> Cell | None:
        """The next repair to start; None if there is none, at least until another one finishes."""
        for cell in self.in_order:
            wanted = replace(cell, detectors=self.detectors if cell is self._with_detectors else ())
            if self._is_due(wanted):
                self.started.add((wanted.name, wanted.detectors))
                return wanted
        return None

    def _is_due(self, cell: Cell) -> bool:
        record = self.records.get(cell.name)
        if record is None:
            return all(name != cell.name for name, _ in self.started)
        # It was made without detectors, next to the one that was to be measured with them and then
        # failed: it is made again. A failed repair has no such key, and is not made again.
        lacks_detectors = bool(cell.detectors) and not record.get("detectors", True)
        return lacks_detectors and (cell.name, cell.detectors) not in self.started

    @property
    def _with_detectors(self) -> Cell | None:
        """By the records so far, the cell whose B′ detectors are measured with."""
        for cell in self.cells[self.measured :]:
            if not cell.on_control and "failed" not in self.records.get(cell.name, {}):
                return cell
        return None

    @property
    def of_badnet(self) -> list[Record]:
        """The finished records of repairs of B, in the order of the table."""
        cells = (cell for cell in self.cells if not cell.on_control)
        return [self.records[cell.name] for cell in cells if cell.name in self.records]

    @property
    def of_control(self) -> dict[str, Record]:
        """The finished records of repairs of the clean control, by the method's name."""
        cells = (cell for cell in self.cells if cell.on_control and cell.name in self.records)
        return {name_of_method(cell.method): self.records[cell.name] for cell in cells}

    @property
    def nothing_can_be_made(self) -> bool:
        """Whether every repair of B was tried, and failed."""
        repairs = sum(not cell.on_control for cell in self.cells)
        return len(self.of_badnet) == repairs and all("failed" in one for one in self.of_badnet)


def plan_of(settings: CompareSettings) -> Plan:
    """The plan of a comparison of which nothing is finished."""
    cells, controls = [], []
    for index, method in enumerate(settings.methods):
        name = stored_as(name_of_method(method), index)
        cells += [Cell(f"{name}-{seed}", method, seed) for seed in range(settings.seeds)]
        controls.append(Cell(f"control-{name}-0", method, 0, on_control=True))
    names = settings.names
    measured = names.index(RECOMMENDED_REPAIR) if RECOMMENDED_REPAIR in names else 0
    return Plan(
        cells if settings.clean_control is None else [*cells, *controls],
        measured * settings.seeds,
        every("detector"),
    )


def stored_as(name: str, index: int) -> str:
    """What the records of a method are stored under: its name, or its index among the methods where
    another package has chosen a name that no file of ours may have."""
    return name if re.fullmatch("[a-z-]+", name) else f"other-{index}"
