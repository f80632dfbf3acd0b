from __future__ import annotations

import pickle

import pytest

from ytf_torch.commands.endings import as_flag
from ytf_torch.errors import InputError, ProcessLostError, argument, mismatch

ERROR = InputError(
    argument("poisoned_test"),
    "no such set",
    f"Try {argument('device', 'cpu')} or {argument('out')}",
)


def test_the_library_words_arguments_as_python_does() -> None:
    assert str(ERROR) == '`poisoned_test`: no such set. Try `device="cpu"` or `out`'


def test_commands_word_them_as_flags() -> None:
    assert ERROR.line(as_flag) == "--poisoned-test: no such set. Try --device cpu or --out"
    lost = ProcessLostError(f"stopped. Start it again with {argument('resume')}")
    assert lost.line(as_flag) == "stopped. Start it again with --resume"


def test_an_error_from_another_process_is_worded_too() -> None:
    assert pickle.loads(pickle.dumps(ERROR)).line(as_flag) == ERROR.line(as_flag)


def test_a_strangers_text_stays_one_printable_line() -> None:
    line = InputError("net.h5", "\ue000\n\x1b[31m\ue001 found").line(as_flag)
    assert line == r"net.h5: \ue000\n\x1b[31m\ue001 found"


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [nested(100_000), 10**5000], ids=["deep", "long"])
def test_what_cannot_be_shown_is_named_by_its_kind(value: object) -> None:
    error = mismatch("net.h5, strides", "[1, 1]", value)
    kind = type(value).__name__
    shown = f"a {kind} that is too long or too deep to show"
    assert str(error) == f"net.h5, strides: expected [1, 1], found {shown}"
