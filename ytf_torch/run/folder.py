"""Write the output folder of a pruning run."""

from __future__ import annotations

import json
from pathlib import Path

from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import Checkpoint, save_checkpoint
from ytf_torch.report.plots import sweep_figure
from ytf_torch.report.prune.exhibits import Exhibits
from ytf_torch.report.prune.hand_in import hand_in_pdf
from ytf_torch.report.prune.prune_page import report_html
from ytf_torch.report.prune.prune_record import (
    Run,
    keras_file,
    pruned_file,
    result_record,
    trace_csv,
)
from ytf_torch.report.prune.table import table_tex
from ytf_torch.run.settings import PruneSettings, settings_toml


def write_run(run: Run, settings: PruneSettings, exhibits: Exhibits, folder: Path) -> None:
    """Fill an existing folder with the run's files.

    These are result.json, trace.csv, table.tex, sweep.png, report.html, settings.toml and B′ for
    each drop that was reached; if requested, also B′ as Keras files and table.pdf.
    """
    swept = run.defence.sweep
    for drop, step in run.defence.drops.items():
        if step is not None:
            pruned = pruned_checkpoint(
                run.checkpoint, swept.layer, swept.rank_at, run.defence.channels_of(drop)
            )
            save_checkpoint(pruned, folder / pruned_file(drop))
            if run.keras:
                _write_keras(pruned, folder / keras_file(drop))
    resolved = settings_toml(settings, run.checkpoint.provenance.preprocessing, run.device)
    record = json.dumps(result_record(run), indent=1, allow_nan=False)
    texts = {
        "trace.csv": trace_csv(run),
        "table.tex": table_tex(run),
        "report.html": report_html(run, exhibits),
        "settings.toml": resolved,
        "result.json": record + "\n",
    }
    if settings.pdf:
        (folder / "table.pdf").write_bytes(hand_in_pdf(run))
    (folder / "sweep.png").write_bytes(sweep_figure(run.defence, "png"))
    for name, text in texts.items():
        # File names that are not UTF-8 contain lone surrogates (PEP 383), which cannot be encoded.
        (folder / name).write_bytes(text.encode("utf-8", errors="replace"))


def _write_keras(pruned: Checkpoint, path: Path) -> None:
    """Raises InputError where the written file, read back, does not predict what B′ predicts."""
    # Imported here: it loads the readers and writers of all formats, which most runs do not need.
    from ytf_torch.convert.export import Subject, export

    exported = export(Subject(pruned.model, pruned), path)
    if not exported.held:
        raise InputError(path, "; ".join(exported.failures))
