"""Rates as JSON: each alone under its name, and with its interval and counts under `intervals`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ytf_torch.metrics import Figures, rate_of

FLAGGED = ("false_positive_rate", "true_positive_rate")


def rates_record(figures: Figures, names: Iterable[str] | Mapping[str, str]) -> dict[str, Any]:
    """Some figures of a network; percentages are 0–100 at full precision, null where not measured.

    names: of figures; as a mapping, what each is called in the record.
    """
    called = names if isinstance(names, Mapping) else {name: name for name in names}
    shares = {new: getattr(figures, name) for name, new in called.items()}
    rates: dict[str, Any] = {name: rate_of(share) for name, share in shares.items()}
    intervals = {name: share and asdict(share) for name, share in shares.items()}
    return rates | {"intervals": intervals} | not_finite_record(figures)


def not_finite_record(figures: Figures) -> dict[str, Any]:
    """How many faces of each set a network's logits are NaN or infinite on; empty where on none."""
    shares = {
        "clean_valid": figures.clean_valid_not_finite,
        "clean_test": figures.clean_not_finite,
        "poisoned_test": figures.triggered_not_finite,
    }
    counts = {name: share.count for name, share in shares.items() if share is not None}
    return {"not_finite": counts} if counts else {}
