"""`fieldlog image inspect`: what is in a firmware file and whether it is whole and signed, without a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from fieldlog.cli.common import output_options
from fieldlog.cli.failure import described, exit_code
from fieldlog.cli.image_report import ImageReport, report_on
from fieldlog.cli.output import Output
from fieldlog.firmware_package import FirmwarePackage, PackagedImage, load_package
from fieldlog.keys import load_key
from fieldlog_protocol.errors import ImageError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@output_options
@click.option(
    "--key", type=_FILE, metavar="PEM", help="The key that is to have signed it: its public half, or all of it."
)
@click.argument("file", type=_FILE)
def inspect(output: Output, key: Path | None, file: Path) -> None:
    """Show what is in a firmware FILE, an image or a zip package, and whether it is whole.

    With --key, also whether it was signed with that key. The exit code is 5 if anything is wrong.
    """
    wanted = None if key is None else load_key(key)
    package = load_package(file)
    reports = [report_on(entry, wanted) for entry in package.images]
    problems = [_problem(package, entry, report) for entry, report in zip(package.images, reports, strict=True)]
    found = next((problem for problem in problems if problem is not None), None)
    data = _as_json(package, reports) | ({} if found is None else {"error": described(found)})
    output.result(data, lambda: _show(output, package, reports))
    if found is not None:
        output.complain(str(found))
        raise click.exceptions.Exit(exit_code(found))


def _problem(package: FirmwarePackage, entry: PackagedImage, report: ImageReport) -> ImageError | None:
    if not report.problems:
        return None
    sentences = ". Also: ".join(report.problems)
    return ImageError(f"{entry.name!r} in the package: {sentences}" if package.zipped else sentences)


def _as_json(package: FirmwarePackage, reports: Sequence[ImageReport]) -> dict[str, object]:
    if not package.zipped:
        return dict(reports[0].data)
    images = [_place(entry) | dict(report.data) for entry, report in zip(package.images, reports, strict=True)]
    return {"package": {"name": package.name, "boards": list(package.boards)}, "images": images}


def _place(entry: PackagedImage) -> dict[str, object]:
    declared = entry.declared_version
    return {"image": entry.number, "slot": entry.slot, "file": entry.name, "declared_version": declared}


def _show(output: Output, package: FirmwarePackage, reports: Sequence[ImageReport]) -> None:
    if package.zipped:
        output.fields([("package", package.name), ("boards", package.boards), ("images", len(reports))])
    for entry, report in zip(package.images, reports, strict=True):
        if package.zipped:
            output.line("")
            output.fields((name.replace("_", " "), value) for name, value in _place(entry).items())
        output.fields(report.fields())
        output.table(["tlv", "protected", "size>", "data"], report.rows())
