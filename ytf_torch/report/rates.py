"""Rates as JSON: each under its name, and with its interval and counts under `intervals`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ytf_torch.metrics import Figures, rate_of

FLAGGED = ("false_positive_rate", "true_positive_rate")


def rates_record(figures: Figures, names: Iterable[str] | Mapping[str, str]) -> dict[str, Any]:
    """Selected rates of a network: percentages 0–100 at full precision, None where not measured.

    names: fields of Figures; a mapping gives each a different name in the record.
    """
    record_names = names if isinstance(names, Mapping) else {name: name for name in names}
    shares = {record_name: getattr(figures, name) for name, record_name in record_names.items()}
    rates: dict[str, Any] = {name: rate_of(share) for name, share in shares.items()}
    intervals = {name: share and asdict(share) for name, share in shares.items()}
    return rates | {"intervals": intervals} | not_finite_record(figures)


def not_finite_record(figures: Figures) -> dict[str, Any]:
    """The number of images in each set with NaN or infinite logits; empty if there are none."""
    shares = {
        "clean_valid": figures.clean_valid_not_finite,
        "clean_test": figures.clean_not_finite,
        "poisoned_test": figures.triggered_not_finite,
    }
    counts = {name: share.count for name, share in shares.items() if share is not None}
    return {"not_finite": counts} if counts else {}
