"""The findings of an audit follow from the records of its steps."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any

import pytest

from ytf_torch.metrics import Share
from ytf_torch.report.audit.audit_findings import findings
from ytf_torch.report.audit.audit_page import audit_html
from ytf_torch.report.audit.audit_record import is_no


def share(count: int, images: int) -> dict[str, Any]:
    return asdict(Share.of(count, images))


def rates(valid: int, attack: int | None) -> dict[str, Any]:
    nothing = dict.fromkeys(("clean_test_accuracy", "robust_accuracy"))
    triggered = None if attack is None else share(attack, 200)
    return {
        "intervals": {
            "clean_valid_accuracy": share(valid, 100),
            "attack_success_rate": triggered,
            "attack_success_rate_without_target": triggered,
            **nothing,
        }
    }


def record(attack: tuple[int, int] | None = None) -> dict[str, Any]:
    """Of a network with clean validation images alone, or triggered ones too. attack: triggered
    images of 200 that get the target, before and after."""
    before, after = attack or (None, None)
    kind = "gone" if attack else "unknown"
    return {
        "model": {
            "source_file": "<b>net</b>.h5",
            "keras_version": "2.14.0",
            "input_shape": [3, 32, 32],
            "classes": 43,
            "pixel_scale": 1 / 255,
            "source_sha256": "ab" * 32,
            "history": ["converted"],
        },
        "network": {"layers": 9, "kinds": ["Conv2D", "Dense"], "parameters": 1234},
        "images": {"clean_valid": 100, "clean_test": None, "poisoned_test": attack and 200},
        "files": {
            "model": "my net.h5",
            "clean_valid": "valid.h5",
            "clean_test": None,
            "poisoned_test": [],
        },
        "warnings": [],
        "steps": {
            "convert": {"format": "h5", "bytes": 5, "failed": False, "no_parity": "Keras is away"},
            "scan": {"candidates": [7], "scans": {"mm-bd": {"candidates": [7]}}, "left_out": {}},
            "repair": {
                "baseline": rates(99, before),
                "repaired": rates(98, after),
                "goodnet": rates(98, after),
                "goodnet_flags": {
                    "clean_valid": share(2, 100),
                    "clean_test": None,
                    "poisoned_test": None,
                },
                "detectors": {},
                "verdict": {"kind": kind, "headline": "The backdoor is gone: none of them."},
                "unfit": False,
            },
            "detect": {
                "detector": "energy-and-dissent",
                "nominal": 1.0,
                "threshold": 0.5,
                "clean_valid_flagged": share(1, 100),
            },
            "use": {"files": {"repaired.h5": {"written": True, "why": ""}}, "failed": False},
        },
    }


def page_of(found: dict[str, Any]) -> str:
    return audit_html({**asdict(findings(found, "out")), **found}, "ytf-audit net.h5")


def test_without_triggered_images_a_backdoor_is_neither_claimed_nor_denied() -> None:
    found = findings(record(), "out")
    assert found.kind == "unknown"
    assert found.headline.startswith("Whether this network has a backdoor cannot be told")
    assert found.not_known[0].startswith("Whether the network has a backdoor.")
    assert not any("attack" in line or "triggered" in line for line in found.known)


def test_with_triggered_images_the_attack_is_measured_before_and_after() -> None:
    found = findings(record((199, 3)), "out")
    assert (found.kind, found.headline) == ("gone", "The backdoor is gone: none of them.")
    attack = next(line for line in found.known if "get the target" in line)
    assert "99.5 % (97.2–99.9 %, 199 of 200)" in attack
    assert "1.5 % (0.5–4.3 %, 3 of 200)" in attack
    assert found.not_known[0].startswith("Whether the network answers to another trigger")


def test_what_was_not_done_stands_with_why() -> None:
    assert findings(record(), "out").not_done == (
        "Parity with Keras: Keras is away.",
        "The attack was not measured: no triggered images were given.",
        "The price on unseen images was not measured: no clean test images were given.",
    )


def test_what_to_type_for_new_images_can_be_pasted_into_a_shell() -> None:
    command = findings(record(), "my out").command
    assert command is not None
    assert "--model 'my net.h5'" in command
    assert "--repaired 'my out/repair/repaired.safetensors'" in command
    assert "--pixel-scale 1/255" in command


def test_an_unfit_repair_is_not_to_be_used() -> None:
    found = record()
    found["steps"]["repair"] |= {"unfit": True}
    found["steps"]["repair"]["verdict"] |= {"kind": "unfit", "headline": "It is not fit for use."}
    found["steps"]["detect"] = {"not_done": "nothing is fit"}
    found["steps"]["use"] = {"not_done": "nothing is fit", "files": {}, "failed": False}
    told = findings(found, "out")
    assert told.next[0].startswith("Do not use this network, nor the repaired one.")
    assert told.command is None
    assert "The export: nothing is fit." in told.not_done
    assert is_no(found)
    assert "not fit for use" in page_of(found)


@pytest.mark.parametrize(
    ("kind", "advice", "no"),
    [
        ("failed", "Do not use this network, nor the repaired one: the attack succeeds", True),
        ("weakened", "Do not rely on the repaired network alone", False),
    ],
)
def test_where_the_attack_still_succeeds_nothing_is_advised_without_saying_so(
    kind: str, advice: str, no: bool
) -> None:
    found = record((199, 90))
    found["steps"]["repair"]["verdict"] |= {"kind": kind}
    told = findings(found, "out")
    assert told.next[0].startswith(advice)
    assert any("repaired.h5" in line for line in told.next) == (not no)
    assert (told.command is None) == no
    assert is_no(found) == no


def test_after_failed_parity_nothing_else_is_claimed() -> None:
    found = record()
    parity = {
        "by": "tf_keras 2.18",
        "agreeing": share(3, 32),
        "largest_logit": 5.0,
        "largest_difference": 2.0,
        "failures": ["argmax differs on 29 of 32 images"],
    }
    found["steps"] = {"convert": {"format": "h5", "bytes": 5, "failed": True, "parity": parity}}
    told = findings(found, "out")
    assert "does not answer as Keras does" in told.headline
    assert any("3 of 32" in line for line in told.known)
    assert len(told.not_done) == 4
    assert is_no(found)
    assert "argmax differs on 29 of 32 images" in page_of(found)


@pytest.mark.parametrize("attack", [None, (199, 3)])
def test_the_page_answers_in_order_and_shows_strangers_names_as_text(
    attack: tuple[int, int] | None,
) -> None:
    page = page_of(record(attack))
    titles = ("What is known", "What is not known", "What to do next", "What was not done")
    places = [page.index(f"<h2>{title}") for title in titles]
    assert places == sorted(places)
    assert "<b>net</b>" not in page
    assert ("attack success rate" in page) == (attack is not None)


def test_a_good_audit_is_a_yes() -> None:
    assert not is_no(record())
    failed = copy.deepcopy(record())
    failed["steps"]["use"]["failed"] = True
    assert is_no(failed)
