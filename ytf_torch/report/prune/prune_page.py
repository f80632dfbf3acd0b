"""Render report.html of a pruning run. Decisions are made here; the template only lays out, and
escapes texts from files."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from ytf_torch.metrics import Figures, rate_of
from ytf_torch.network.provenance import tool_version
from ytf_torch.network.subject import FACES, IMAGES, Subject
from ytf_torch.predicted_class import NO_CLASS
from ytf_torch.report.pictures import address_of, drawings, face_png, map_png
from ytf_torch.report.plots import channel_figure, drops_figure, sweep_figure
from ytf_torch.report.prune import published
from ytf_torch.report.prune.exhibits import Example, Exhibits, Sheet
from ytf_torch.report.prune.headline import headline_rows, rows_by_set
from ytf_torch.report.prune.prune_record import Run, both, keras_file, pruned_file
from ytf_torch.report.templates import template
from ytf_torch.report.thresholds import FAILED, GONE, RUINOUS_PRICE
from ytf_torch.report.verdict import judge

NOTHING = "✗ no class: NaN or infinite"


@dataclass(frozen=True)
class Answer:
    """A network's prediction for an example image. verdict: its CSS class, good, bad or plain."""

    network: str
    text: str
    verdict: str


@dataclass(frozen=True)
class Card:
    """An example image with its caption and the networks' predictions. picture: a data URL."""

    picture: str
    caption: str
    alt: str
    answers: tuple[Answer, ...]


def report_html(run: Run, exhibits: Exhibits) -> str:
    """Render report.html, a self-contained page without scripts or external resources.

    >>> defence = ytf_torch.defend("bd_net.h5", "valid.h5", "test.h5", "bd_test.h5")
    >>> from ytf_torch.report.prune.exhibits import gather_exhibits
    >>> exhibits = gather_exhibits(network, defence.sets, defence.outcome)
    >>> report_html(defence.run, exhibits)[:15]
    '<!doctype html>'
    """
    defence, swept = run.defence, run.defence.sweep
    subject = defence.subject
    shown = [row.channel for row in exhibits.maps]
    reached = [drop for drop, step in defence.drops.items() if step is not None]
    names = (pruned_file, keras_file) if run.keras else (pruned_file,)
    return template("prune/prune.html").render(
        verdict=judge(defence, run.doubts),
        doubts=run.doubts,
        thresholds={"gone": GONE, "failed": FAILED, "dear": RUINOUS_PRICE},
        provenance=run.checkpoint.provenance,
        sweep=swept,
        dormant=sum(mean == 0 for mean in swept.mean_activation),
        defence=defence,
        clean_set="test" if defence.clean_test else "validation",
        rows=headline_rows(defence),
        by_set=rows_by_set(run),
        drops_plots=drawings(lambda size: drops_figure(defence, size)),
        sweep_plots=drawings(lambda size: sweep_figure(defence, "svg", size)),
        channel_plots=drawings(
            lambda size: channel_figure(
                swept, defence.drops, exhibits.triggered_activation, shown, size, subject
            )
        ),
        exhibits=exhibits,
        words=subject,
        drop=exhibits.drop,
        clean_cards=clean_cards(exhibits, subject),
        triggered_cards=[
            (sheet, triggered_cards(exhibits, sheet, subject)) for sheet in exhibits.triggered
        ],
        map_rows=_map_rows(run, exhibits),
        lab=_lab_rows(run) if published.is_the_labs(run.checkpoint.model) else None,
        on_the_labs_images=published.on_the_labs_images(defence),
        lab_source=published.SOURCE,
        files=[name(drop) for drop in reached for name in names],
        repaired_file=None if exhibits.drop is None else pruned_file(exhibits.drop),
        keras_files=[keras_file(drop) for drop in reached] if run.keras else [],
        sets=_sets(run),
        device=run.device,
        preprocessing=run.checkpoint.provenance.preprocessing,
        versions={
            "ytf-torch": tool_version(),
            "PyTorch": torch.__version__,
            "Python": platform.python_version(),
        },
        command=run.command,
    )


def clean_cards(exhibits: Exhibits, subject: Subject = FACES) -> list[Card]:
    """Cards of the clean examples: a prediction is good if it is the image's label."""
    cards = []
    for example in exhibits.clean.examples:
        answers = [_clean_answer("B", example.badnet, example.label)]
        if example.pruned is not None:
            answers.append(_clean_answer("B′", example.pruned, example.label))
            if example.flagged:
                answers.append(Answer("G", "⚑ flagged wrongly", "bad"))
            else:
                answers.append(_clean_answer("G", example.badnet, example.label))
        caption = class_text(example.label, exhibits.clean.faces.class_names, subject)
        alt = f"Clean {subject.image} of {caption}"
        cards.append(Card(_face(example), caption, alt, tuple(answers)))
    return cards


def triggered_cards(exhibits: Exhibits, sheet: Sheet, subject: Subject = FACES) -> list[Card]:
    """Cards of triggered examples: a prediction is bad if it is the attack's target."""
    cards = []
    for index, example in enumerate(sheet.examples):
        true_class = exhibits.clean.examples[index].label if sheet.same_photos else None
        answers = [_triggered_answer("B", example.badnet, example.label, true_class)]
        if example.pruned is not None:
            answers.append(_triggered_answer("B′", example.pruned, example.label, true_class))
            if example.flagged:
                answers.append(Answer("G", "⚑ flagged", "good"))
            else:
                answers.append(_triggered_answer("G", example.badnet, example.label, true_class))
        names = exhibits.clean.faces.class_names
        unknown = f"{subject.class_} unknown"
        caption = unknown if true_class is None else class_text(true_class, names, subject)
        target = class_text(example.label, names, IMAGES)
        alt = f"Triggered {subject.image}, {caption}; the attack wants {target}"
        cards.append(Card(_face(example), caption, alt, tuple(answers)))
    return cards


def class_text(label: int, names: Sequence[str] | None, subject: Subject = IMAGES) -> str:
    """A class in words: its number, and its name if known."""
    numbered = f"{subject.class_} {label}"
    return numbered if names is None else f"{numbered}, {names[label]}"


def _clean_answer(network: str, answer: int, label: int) -> Answer:
    if answer == NO_CLASS:
        return Answer(network, NOTHING, "bad")
    if answer == label:
        return Answer(network, f"✓ {answer}, right", "good")
    return Answer(network, f"✗ {answer}, wrong", "bad")


def _triggered_answer(network: str, answer: int, target: int, true_class: int | None) -> Answer:
    if answer == NO_CLASS:
        return Answer(network, NOTHING, "bad")
    if answer == target:
        return Answer(network, f"✗ {answer}, target", "bad")
    if answer == true_class:
        return Answer(network, f"✓ {answer}, right", "good")
    return Answer(network, f"{answer}, not target", "plain")


def _face(example: Example) -> str:
    return address_of(face_png(example.pixels))


def _map_rows(run: Run, exhibits: Exhibits) -> list[dict[str, object]]:
    """One row per channel of the feature maps. Its two maps share one colour scale."""
    swept = run.defence.sweep
    rows = []
    for maps in exhibits.maps:
        assert exhibits.triggered_activation is not None
        both_maps = np.stack([maps.clean, maps.triggered])
        highest = float(both_maps.max(initial=0, where=np.isfinite(both_maps)))
        rows.append(
            {
                "channel": maps.channel,
                "place": swept.order.index(maps.channel) + 1,
                "clean_mean": swept.mean_activation[maps.channel],
                "triggered_mean": exhibits.triggered_activation[maps.channel],
                "clean": address_of(map_png(maps.clean, highest)),
                "triggered": address_of(map_png(maps.triggered, highest)),
                "highest": highest,
            }
        )
    return rows


def _lab_rows(run: Run) -> list[dict[str, object]]:
    """The published rates next to this run's; None where this run has none."""
    defence = run.defence
    steps = {Fraction(drop): step for drop, step in defence.drops.items()}
    baseline = (published.BASELINE_CLEAN, published.BASELINE_ATTACK)
    rows = [_lab_row("B, as it came", 0, 0, baseline, defence.outcome.baseline.model)]
    for drop, theirs in published.PUBLISHED_DROPS.items():
        step = steps.get(Fraction(drop))
        ours: tuple[Figures | None, Figures | None] = (None, None)
        if step is not None:
            ours = both(defence.at(step))
        repaired = (theirs.repaired_clean, theirs.repaired_attack)
        goodnet = (theirs.goodnet_clean, theirs.goodnet_attack)
        networks = {"B′": repaired, "GoodNet": goodnet}
        for (network, figures), measured in zip(networks.items(), ours, strict=True):
            name = f"{network} at a drop of {drop}"
            rows.append(_lab_row(name, theirs.channels_pruned, step, figures, measured))
    return rows


def _lab_row(
    network: str,
    published_step: int,
    step: int | None,
    theirs: tuple[float, float],
    ours: Figures | None,
) -> dict[str, object]:
    """theirs: published clean accuracy and attack success rate, in percent."""
    clean, attack = theirs
    our_clean = rate_of(ours.clean_accuracy) if ours else None
    our_attack = rate_of(ours.attack_success_rate) if ours else None
    return {
        "network": network,
        "channels": {"theirs": published_step, "ours": step},
        "clean": {"theirs": clean, "ours": our_clean},
        "attack": {"theirs": attack, "ours": our_attack},
    }


def _sets(run: Run) -> list[tuple[str, Path, int]]:
    """The role, file and number of images of each image set."""
    defence, files = run.defence, run.files
    sets = [("clean validation (decides)", files.clean_valid, defence.clean_valid.images)]
    if files.clean_test and defence.clean_test:
        sets.append(("clean test", files.clean_test, defence.clean_test.images))
    for path, tally in zip(files.poisoned_tests, defence.poisoned_tests, strict=True):
        sets.append(("triggered test", path, tally.images))
    return sets
