"""export: a packed model in somebody else's format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sepnet.core.errors import DataError
from sepnet.core.exporter import Exporter, ExportReport, Material
from sepnet.core.output_row import LEAST_SNR
from sepnet.core.packed_model import PackedModel

__all__ = ["export"]


def export(model: PackedModel, exporter: Exporter, path: Path, material: Material) -> ExportReport:
    """Write `path` (a file or a folder, as the exporter says), checked, and say what is in it.

    Raises:
        UsageError: images for a format that has no use for them.
        DataError: test images of another shape than the network takes.
    """
    exporter.check_data(material.calibrate is not None, material.test is not None)
    wanted, test = model.header.input, material.test
    if test is not None and wanted is not None and tuple(wanted.shape) != test.input_shape:
        raise DataError(
            f"the packed network takes images of shape {list(wanted.shape)}; those of {test.name} are {list(test.input_shape)}"
        )
    report = exporter.export(model, path, material)
    lowest = report.check.lowest if report.check else None
    if lowest is None or lowest.snr_db is None or lowest.snr_db >= LEAST_SNR:
        return report
    warning = (
        f"output {lowest.name} has {lowest.snr_db:.1f} dB of signal to noise beside the packed file's; below {LEAST_SNR:g} dB it is of "
        "little use: expected other or more examples to calibrate by, or a form with float activations"
    )
    return replace(report, warnings=(warning, *report.warnings))
