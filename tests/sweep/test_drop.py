from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ytf_torch.errors import InputError
from ytf_torch.sweep.drop import Drop, first_step_of_drop, parse_drop, parse_drops
from ytf_torch.sweep.order import ascending_order


@given(st.lists(st.sampled_from([0.0, 1e-30, 0.5, 7.0]), max_size=40))
def test_order_ascends_and_ties_go_by_index(means: list[float]) -> None:
    order = ascending_order(means)
    assert sorted(order) == list(range(len(means)))
    for earlier, later in itertools.pairwise(order):
        assert (means[earlier], earlier) < (means[later], later)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(1, 99))
def test_the_first_step_that_lost_enough_answers(correct: list[int], drop: int) -> None:
    step = first_step_of_drop(correct, 50, Fraction(drop))
    enough = [100 * (correct[0] - now) >= drop * 50 for now in correct]
    assert step == (enough.index(True) if any(enough) else None)


@pytest.mark.parametrize(
    ("text", "value"), [("2", Fraction(2)), ("2.5", Fraction(5, 2)), ("100", 100)]
)
def test_drops_are_exact(text: str, value: Fraction) -> None:
    assert parse_drop(text) == value


@pytest.mark.parametrize("text", ["0", "-2", "101", "two", "", "nan", "inf", "1/2", "1e1"])
def test_other_drops_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="`drops`"):
        parse_drop(text)


@pytest.mark.parametrize(("drop", "name"), [("2", "2"), (" 2.50 ", "2.50"), (2, "2"), (4.5, "4.5")])
def test_drops_may_be_numbers_and_keep_their_names(drop: Drop, name: str) -> None:
    assert parse_drops([drop]) == {name: Fraction(name)}


@pytest.mark.parametrize("drops", [("2", 2), (2, "2.0"), (4.5, "4.50")])
def test_a_drop_that_stands_there_twice_is_refused(drops: tuple[Drop, ...]) -> None:
    with pytest.raises(InputError, match="each drop once"):
        parse_drops(drops)
