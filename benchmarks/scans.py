"""Measure scans as detectors of backdoored networks: p-values among clean twins, scored as TrojAI
scores.

`python -m benchmarks.scans --backdoored STUDY/models/bd_net.h5 --clean OTHER/models/bd_net.h5`
scans each network, with twins trained on STUDY/cl/valid.h5, and writes all figures to
benchmarks/SCANS.md and SCANS.json; figures of other networks that stand there are kept. A file
`scale` in STUDY holds the pixel scale, 1 where there is none.

Source of the scores: TrojAI, https://pages.nist.gov/trojai/docs/overview.html: cross-entropy in
nats with an epsilon of 1e-12 and its 95 % interval, ± 1.96 standard errors. The Brier score is the
mean squared error of the probability (Brier 1950).
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

import ytf_torch
from ytf_torch.disk.writing import whole_file

HERE = Path(__file__).parent
EPSILON = 1e-12
NOTES = """# Scans, measured

Each scan's largest anomaly of a network, among those of clean twins of the same architecture that
were trained on its validation images. p = (1 + twins as anomalous) / (1 + twins). The probability
of a backdoor is the largest that p supports if half of all networks have one: 1 / (1 − e · p ·
ln p) for p < 1/e, else 0.5. "Above" says whether the anomaly is above the scan's own threshold.
"Alarms" is the share of twins above it, its false alarm rate, in percent, with the 95 % interval.

Scores are TrojAI's: who says 0.5 of every network has a Brier score of 0.25 and a cross-entropy of
0.693. AUROC is that of the p-value, a tie counting half.
"""

app = typer.Typer(pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Measured:
    """One scan of one network. alarms: (rate, low, high) of the twins, in percent."""

    network: str
    classes: int
    backdoored: bool
    scan: str
    anomaly: float
    above: bool
    twins: int
    p_value: float
    alarms: tuple[float, float, float]

    @property
    def probability(self) -> float:
        return probability_of_backdoor(self.p_value)


def probability_of_backdoor(p_value: float) -> float:
    """The largest probability of a backdoor that a p-value supports, 0–1, if half of all networks
    have one: 1 / (1 − e · p · ln p) for p < 1/e, else 0.5.

    Never below 0.5: however ordinary a network looks to a scan, that is no evidence against a
    backdoor which the scan cannot see.

    Source: Sellke, Bayarri, Berger, "Calibration of p Values for Testing Precise Null Hypotheses"
    (The American Statistician 55, 2001), whose bound of the Bayes factor is −e · p · ln p.
    """
    if p_value >= 1 / math.e:
        return 0.5
    return 1 / (1 - math.e * p_value * math.log(p_value))


def cross_entropy(measured: Measured) -> float:
    """−ln of the probability given to what is true."""
    right = measured.probability if measured.backdoored else 1 - measured.probability
    return -math.log(min(max(right, EPSILON), 1 - EPSILON))


def brier(measured: Measured) -> float:
    """Squared error of the probability."""
    return (measured.probability - measured.backdoored) ** 2


def auroc(measured: Sequence[Measured]) -> float:
    """Share of (backdoored, clean) pairs in which the backdoored one has the smaller p-value; ties
    count half. NaN without both."""
    pairs = [
        (bad.p_value, good.p_value)
        for bad in measured
        for good in measured
        if bad.backdoored and not good.backdoored
    ]
    if not pairs:
        return math.nan
    return statistics.fmean((bad < good) + 0.5 * (bad == good) for bad, good in pairs)


@app.command()
def benchmark(
    backdoored: Annotated[list[Path] | None, typer.Option(help="A BadNet's model file.")] = None,
    clean: Annotated[list[Path] | None, typer.Option(help="A clean network's.")] = None,
    methods: Annotated[str, typer.Option(help="Scans, with commas.")] = "last-layer",
    twins: Annotated[int, typer.Option(min=1, help="Clean twins of each network.")] = 19,
    results: Annotated[Path, typer.Option(help="Where SCANS.md and .json go.")] = HERE,
) -> None:
    """Scan networks and score their p-values; the twins are cached as those of ytf-scan."""
    for path, is_backdoored in [
        *((path, True) for path in backdoored or []),
        *((path, False) for path in clean or []),
    ]:
        for row in measure(path, methods.split(","), twins, backdoored=is_backdoored):
            print(line(row), flush=True)
            write([*(old for old in known(results) if not same(old, row)), row], results)


def measure(model: Path, scans: list[str], twins: int, *, backdoored: bool) -> list[Measured]:
    """Scan one network. model: in STUDY/models/."""
    study = model.parent.parent
    scale = study / "scale"
    result = ytf_torch.scan(
        model,
        study / "cl" / "valid.h5",
        methods=scans,
        pixel_scale=scale.read_text().strip() if scale.is_file() else "1",
        twins=twins,
        device="cpu",
    )
    rows = []
    for name, among in result.twins.items():
        alarms = among.false_alarm_rate
        rows.append(
            Measured(
                network=f"{study.name}/{model.stem}",
                classes=len(result.suspicions[name].anomaly),
                backdoored=backdoored,
                scan=name,
                anomaly=among.anomaly,
                above=among.anomaly > among.threshold,
                twins=len(among.twins),
                p_value=among.p_value,
                alarms=(alarms.rate, alarms.low, alarms.high),
            )
        )
    return rows


def same(one: Measured, other: Measured) -> bool:
    """Whether two rows are of the same network and scan."""
    return (one.network, one.scan) == (other.network, other.scan)


def known(folder: Path) -> list[Measured]:
    """The rows of an earlier run."""
    file = folder / "SCANS.json"
    records = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return [Measured(**record | {"alarms": tuple(record["alarms"])}) for record in records]


def write(rows: Iterable[Measured], folder: Path) -> None:
    """Write the tables as Markdown and all rows as JSON; the clean networks last."""
    ordered = sorted(rows, key=lambda row: (row.scan, not row.backdoored, row.network))
    texts = {
        "SCANS.md": "\n".join([NOTES, *tables(ordered)]) + "\n",
        "SCANS.json": json.dumps([asdict(row) for row in ordered], indent=1) + "\n",
    }
    for name, text in texts.items():
        with whole_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def tables(rows: Sequence[Measured]) -> list[str]:
    """Lines of two Markdown tables: the scores of each scan, and every network."""
    lines = [
        "| scan | backdoored | clean | AUROC | Brier score | cross-entropy |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for scan in dict.fromkeys(row.scan for row in rows):
        lines.append(score([row for row in rows if row.scan == scan]))
    lines += [
        "",
        "| network | classes | backdoored | scan | anomaly | above | twins | p | probability "
        "| alarms |",
        "|---|--:|---|---|--:|---|--:|--:|--:|--:|",
    ]
    return lines + [line(row) for row in rows]


def score(rows: Sequence[Measured]) -> str:
    """One row of the first table."""
    losses = [cross_entropy(row) for row in rows]
    error = statistics.stdev(losses) / math.sqrt(len(losses)) if len(losses) > 1 else math.nan
    infected = sum(row.backdoored for row in rows)
    return (
        f"| {rows[0].scan} | {infected} | {len(rows) - infected} | {auroc(rows):.2f} "
        f"| {statistics.fmean(map(brier, rows)):.3f} "
        f"| {statistics.fmean(losses):.3f} ± {1.96 * error:.3f} |"
    )


def line(row: Measured) -> str:
    """One row of the second table."""
    rate, low, high = row.alarms
    return (
        f"| {row.network} | {row.classes:,} | {'yes' if row.backdoored else 'no'} | {row.scan} "
        f"| {row.anomaly:.1f} | {'yes' if row.above else 'no'} | {row.twins} | {row.p_value:.2g} "
        f"| {row.probability:.2f} | {rate:.0f} ({low:.0f}–{high:.0f}) |"
    )


if __name__ == "__main__":
    app()
