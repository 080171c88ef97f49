"""Does a comparison's folder still prove what it says? Every hash is checked, every figure derived again."""

from __future__ import annotations

from pathlib import Path

from defect_detect import folder, holding
from defect_detect.verifying import figures, files, runs
from defect_detect.verifying.files import Progress
from defect_detect.verifying.findings import Finding, Verified

__all__ = ["Finding", "Verified", "verify"]


def verify(out: Path, progress: Progress | None = None) -> Verified:
    """Check the comparison in the folder `out`; nothing is written.

    Raises:
        InputError: it is no folder of a finished comparison, or somebody works in it now.
    """
    holding.refuse_busy(out)
    request, comparison = folder.read(out)
    findings: list[Finding] = []
    sealed, of_files = files.sealed(out, request)
    pictures, of_pictures = files.datasets(out, request, comparison, progress)
    derived, of_figures = figures.figures(out, request, comparison)
    for found in (of_files, files.log(out), of_pictures, runs.jobs(out, request), of_figures):
        findings += [one for one in found if one not in findings]
    return Verified(
        findings=findings, files=sealed, pictures=pictures, figures=derived, notes=figures.notes(comparison)
    )
