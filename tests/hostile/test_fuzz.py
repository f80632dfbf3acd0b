"""A short run of the fuzzer; `python -m tests.hostile.fuzz --minutes 30` is the long one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile.fuzz import fuzz
from ytf_torch.errors import InputError, printable
from ytf_torch.run.settings import PruneSettings, read_settings

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    counts, failures = fuzz(seconds=300, seed=20260101, folder=tmp_path, most=100)
    assert failures == []
    assert counts.total() == 100


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from([*PruneSettings.model_fields, "other"]), VALUES))
@pytest.mark.slow
def test_settings_are_understood_or_refused(values: dict[str, object]) -> None:
    with suppress(InputError):
        read_settings(None, values)


@given(st.text())
def test_what_is_printed_is_printable(text: str) -> None:
    assert printable(text).isprintable()
