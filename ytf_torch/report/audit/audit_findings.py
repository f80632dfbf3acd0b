"""The findings of an audit in sentences: what is known, what is not known, what to do next.

Without triggered images no sentence claims that there is a backdoor, nor that there is none.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ytf_torch.network.preprocessing import preprocessing_of_record
from ytf_torch.report.verdict import percent

Record = Mapping[str, Any]
# The command that checks new images.
DETECT = (
    "ytf-detect IMAGES \\\n  --model {model} \\\n  --repaired {repaired} \\\n"
    "  --detector recommended \\\n  --clean-valid {valid} \\\n  {flag} {preprocessing}"
)
WHAT_IS_DONE = {
    "scan": "The scan",
    "repair": "The repair",
    "detect": "The detector’s threshold",
    "use": "The export",
}


@dataclass(frozen=True)
class Findings:
    """An audit's answer.

    kind: of the headline, see report.verdict. not_done: the steps left out, with reasons. command:
    checks new images; None where no detector could be calibrated.
    """

    kind: str
    headline: str
    known: tuple[str, ...]
    not_known: tuple[str, ...]
    next: tuple[str, ...]
    not_done: tuple[str, ...]
    command: str | None = None


def findings(record: Record, folder: str) -> Findings:
    """The findings from the records of an audit's steps. folder: the audit's output folder."""
    convert = record["steps"]["convert"]
    if convert.get("failed"):
        return _not_converted(record)
    return Findings(
        *_headline(record),
        known=(*_of_the_file(record), *_of_clean(record), *_of_scans(record), *_of_attack(record)),
        not_known=_not_known(record),
        next=_next(record, folder),
        not_done=_not_done(record),
        command=_command(record, folder),
    )


def _command(record: Record, folder: str) -> str | None:
    if "not_done" in record["steps"]["detect"] or failed(record):
        return None
    files = record["files"]
    name, text = preprocessing_of_record(record["model"], "model").asked_by
    values = {
        "model": files["model"],
        "repaired": f"{folder}/repair/repaired.safetensors",
        "valid": files["clean_valid"],
        "flag": f"--{name.replace('_', '-')}",
        "preprocessing": text,
    }
    return DETECT.format(**{name: shlex.quote(value) for name, value in values.items()})


def rate(share: Record | None) -> str:
    """A share with its 95 % interval and counts.

    >>> rate({"rate": 75.0, "low": 30.06, "high": 95.44, "count": 3, "images": 4})
    '75.0 % (30.1–95.4 %, 3 of 4)'
    """
    if share is None:
        return "an unmeasured share"
    counts = f"{share['count']:,} of {share['images']:,}"
    return f"{percent(share['rate'])} ({share['low']:.1f}–{share['high']:.1f} %, {counts})"


def _headline(record: Record) -> tuple[str, str]:
    repaired = record["steps"]["repair"]
    if "not_done" in repaired:
        return "unfit", f"The network could not be repaired: {repaired['not_done']}."
    verdict = repaired["verdict"]
    if verdict["kind"] == "unknown":
        return "unknown", (
            "Whether this network has a backdoor cannot be told: no triggered images were given. "
            "It was repaired as if it had one."
        )
    return verdict["kind"], verdict["headline"]


def _not_converted(record: Record) -> Findings:
    parity = record["steps"]["convert"]["parity"]
    return Findings(
        "failed",
        "The converted network does not answer as Keras does, so nothing else was done.",
        known=_of_the_file(record),
        not_known=("Anything else: figures of a network that answers otherwise mean nothing.",),
        next=(
            "Report the file to ytf-torch’s authors: a network that is read has to answer alike.",
        ),
        not_done=tuple(
            f"{what}: parity with Keras failed ({'; '.join(parity['failures'])})."
            for what in WHAT_IS_DONE.values()
        ),
    )


def _of_the_file(record: Record) -> tuple[str, ...]:
    model, network, convert = record["model"], record["network"], record["steps"]["convert"]
    channels, height, width = model["input_shape"]
    size = f", {convert['bytes']:,} bytes" if "bytes" in convert else ""
    sentences = [
        f"The file was read as data, and nothing in it was run. All {network['layers']} layers of "
        f"the network are of known kinds ({', '.join(network['kinds'])}); a file with a Lambda, "
        "code or a class of its own, or a pickle, would have been refused.",
        f"It is {model['source_file']}{size}, written by Keras {model['keras_version']}. It takes "
        f"images of {height}×{width} pixels with {channels} "
        f"channel{'' if channels == 1 else 's'}, and knows {model['classes']:,} classes; it has "
        f"{network['parameters']:,} parameters.",
    ]
    parity = convert.get("parity")
    if parity is not None:
        word = "answers as" if not convert["failed"] else "does NOT answer as"
        sentences.append(
            f"The converted network {word} Keras {parity['by']} does: {rate(parity['agreeing'])} "
            f"of random images get the same class, and logits of up to "
            f"{parity['largest_logit']:.3g} differ by at most {parity['largest_difference']:.1e}."
        )
    return tuple(sentences)


def _of_clean(record: Record) -> tuple[str, ...]:
    repaired = record["steps"]["repair"]
    if "not_done" in repaired:
        return ()
    before, after = repaired["baseline"]["intervals"], repaired["repaired"]["intervals"]
    names = {"clean_valid_accuracy": "validation", "clean_test_accuracy": "test"}
    sentences = [
        f"Of the clean {set_name} images the network as it came recognises {rate(before[name])}, "
        f"the repaired one {rate(after[name])}."
        for name, set_name in names.items()
        if before[name] is not None
    ]
    if repaired["verdict"]["kind"] == "unfit":
        sentences.append(repaired["verdict"]["headline"])
    return tuple(sentences)


def _of_scans(record: Record) -> tuple[str, ...]:
    scan_step = record["steps"]["scan"]
    if "not_done" in scan_step:
        return ()
    single = len(scan_step["scans"]) == 1
    subject = "The scan that was made" if single else "The scans that were made"
    points = "points" if single else "point"
    if not scan_step["candidates"]:
        names = ", ".join(scan_step["scans"])
        return (
            f"{subject} ({names}) {points} at no class, which does not mean that there is no "
            "backdoor.",
        )
    by = "; ".join(
        f"{name}: {', '.join(map(str, scan['candidates'])) or 'none'}"
        for name, scan in scan_step["scans"].items()
    )
    return (
        f"{subject} {points} at classes to look at first ({by}). Networks without a backdoor have "
        "given such alarms too.",
    )


def _of_attack(record: Record) -> tuple[str, ...]:
    repaired, detect = record["steps"]["repair"], record["steps"]["detect"]
    if "not_done" in repaired:
        return ()
    sentences = []
    before, after = repaired["baseline"]["intervals"], repaired["repaired"]["intervals"]
    if before["attack_success_rate"] is not None:
        name = "attack_success_rate_without_target"
        of_others = " of other classes" if before[name] else ""
        name = name if before[name] else "attack_success_rate"
        sentences.append(
            f"Of the triggered images{of_others} {rate(before[name])} get the target from the "
            f"network as it came, {rate(after[name])} from the repaired one."
        )
        if after["robust_accuracy"] is not None:
            sentences.append(
                f"{rate(after['robust_accuracy'])} of the triggered images get their true class "
                "from the repaired network."
            )
    if "not_done" not in detect:
        sentences.append(_of_detector(record))
    return tuple(sentences)


def _of_detector(record: Record) -> str:
    detect = record["steps"]["detect"]
    rates = measured_at(record)
    sentence = (
        f"The detector {detect['detector']}, set to flag at most {detect['nominal']:g} % of clean "
        f"images, flags {rate(detect['clean_valid_flagged'])} of the validation images that set it"
    )
    if rates and rates["false_positive_rate"]:
        sentence += f", {rate(rates['false_positive_rate'])} of the clean test images"
    if rates and rates["true_positive_rate"]:
        sentence += f", {rate(rates['true_positive_rate'])} of the triggered ones"
    return f"{sentence}."


def measured_at(record: Record) -> Record | None:
    """The calibrated detector's rates on test and triggered images; None where not measured."""
    detect, repaired = record["steps"]["detect"], record["steps"]["repair"]
    if "not_done" in detect or "not_done" in repaired:
        return None
    points = repaired["detectors"].get(detect["detector"], ())
    rates: Record | None = next(
        (point for point in points if point["nominal"] == detect["nominal"]), None
    )
    return rates


def _not_known(record: Record) -> tuple[str, ...]:
    images, steps = record["images"], record["steps"]
    sentences = []
    if images["poisoned_test"] is None:
        sentences += [
            "Whether the network has a backdoor. Clean images cannot show one: a backdoored "
            "network answers them as any other does.",
            "Whether the repair has removed one, and whether the detector notices triggered "
            "images. Both were made for this, and both have failed on some networks.",
        ]
    else:
        sentences.append(
            "Whether the network answers to another trigger than the one on the images that were "
            "given. They say nothing of any other."
        )
    if images["clean_test"] is None and "not_done" not in steps["repair"]:
        sentences.append(
            "What the repair costs, and how many clean images the detector flags, on images that "
            "neither has seen: no clean test images were given, and the figures on validation "
            "images flatter both."
        )
    if "not_done" not in steps["scan"]:
        sentences.append(
            "How often the scans are wrong about a network like this one: their thresholds are "
            "their authors’, and no network without a backdoor was at hand to try them on."
        )
    if "parity" not in steps["convert"]:
        sentences.append(
            "Whether Keras answers as the converted network does: it was not compared."
        )
    sentences.append(
        "Where the network’s training images come from, and what else was done to it: the file "
        "tells only what its author wrote there."
    )
    return tuple(sentences)


def _next(record: Record, folder: str) -> tuple[str, ...]:
    steps, images = record["steps"], record["images"]
    command = _command(record, folder)
    written = [name for name, exported in steps["use"]["files"].items() if exported["written"]]
    sentences = []
    if "not_done" in steps["repair"] or steps["repair"]["unfit"]:
        sentences.append(
            "Do not use this network, nor the repaired one. Try other repairs with ytf-compare, "
            "and more clean validation images of each class."
        )
    elif failed(record):
        sentences.append(
            "Do not use this network, nor the repaired one: the attack succeeds on both. Try other "
            "repairs with ytf-compare, and more clean validation images of each class."
        )
    elif steps["repair"]["verdict"]["kind"] == "weakened":
        sentences.append(
            "Do not rely on the repaired network alone: the attack still succeeds on it, less "
            "often. Have images looked at as well, and try other repairs with ytf-compare."
        )
    clean = "validation" if images["clean_test"] is None else "test"
    for name in () if failed(record) else written:
        sentences.append(
            f"Use {folder}/use/{name} in place of the network that came."
            if name.startswith("repaired")
            else f"Or use {folder}/use/{name}, which answers one class more: the last one means "
            "that both networks differ, and the image should be looked at. It flags "
            f"{rate(goodnet_flags(record))} of the clean {clean} images."
        )
    if command:
        sentences.append(
            "Have new images looked at before they are answered, and keep those that are flagged, "
            "with ytf-detect as it stands below: a photo, an image set or a folder of them."
        )
    if steps["scan"].get("candidates"):
        named = ", ".join(map(str, steps["scan"]["candidates"][:5]))
        sentences.append(
            f"Look first at images that get one of the classes that stand out: {named}."
        )
    if images["poisoned_test"] is None:
        sentences.append(
            "If you find images that bear a trigger, audit again with --poisoned-test: only then "
            "ytf-audit measures the attack."
        )
    if images["clean_test"] is None:
        sentences.append(
            "Give other clean images with --clean-test to ytf-audit: they show the price."
        )
    return tuple(sentences)


def failed(record: Record) -> bool:
    """Whether the attack still succeeds on the repaired network."""
    verdict = record["steps"]["repair"].get("verdict")
    return verdict is not None and verdict["kind"] == "failed"


def goodnet_flags(record: Record) -> Record | None:
    """The share of clean images that GoodNet flags: of the test set if given, else validation."""
    flags = record["steps"]["repair"]["goodnet_flags"]
    flagged: Record | None = flags["clean_test"] or flags["clean_valid"]
    return flagged


def _not_done(record: Record) -> tuple[str, ...]:
    steps = record["steps"]
    convert = steps["convert"]
    sentences = []
    if "not_done" in convert:
        sentences.append(f"Parity with Keras: {convert['not_done']}.")
    if "no_parity" in convert:
        sentences.append(f"Parity with Keras: {convert['no_parity']}.")
    for name, reason in steps["scan"].get("left_out", {}).items():
        sentences.append(f"The scan {name}: {reason}.")
    sentences += [
        f"{what}: {steps[name]['not_done']}."
        for name, what in WHAT_IS_DONE.items()
        if "not_done" in steps[name]
    ]
    for name, exported in steps["use"]["files"].items():
        if not exported["written"]:
            sentences.append(f"{name}: {exported['why']}.")
    if record["images"]["poisoned_test"] is None:
        sentences.append("The attack was not measured: no triggered images were given.")
    if record["images"]["clean_test"] is None:
        sentences.append(
            "The price on unseen images was not measured: no clean test images were given."
        )
    return tuple(sentences)
