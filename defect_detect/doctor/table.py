"""The findings for people: a table of frameworks, the machine, and what is to be mended."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from defect_detect.doctor.found import Database, Finding, Framework, Machine, Report
from defect_detect.doctor.trying import NOT_TRIED, Tried

_MARKS = {"yes": "[green]yes[/]", "no": "[bold red]no[/]", "-": "[dim]-[/]"}


def show(report: Report, console: Console) -> None:
    """Print the report."""
    console.print(_frameworks(report))
    for one in report.frameworks:
        if one.own:
            console.print(f"  {one.name} runs in {one.python}", style="dim", highlight=False, markup=False)
    console.print()
    for title, text in _machine(report.machine):
        console.print(f"  [bold]{title:<9}[/] {escape(text)}", highlight=False)
    if report.database is not None:
        console.print(f"  [bold]{'FiftyOne':<9}[/] {escape(_database(report.database))}", highlight=False)
    for level, title in (("fault", "To be mended"), ("note", "Worth knowing")):
        some = [one for one in report.findings if one.level == level]
        if some:
            console.print(f"\n[bold]{title}[/]")
        for number, finding in enumerate(some, 1):
            _finding(number, finding, console)
    if report.ok:
        asked = ", ".join(report.asked) or "all that is installed"
        tried = any(one.tried for one in report.frameworks)
        console.print(
            f"\n[bold green]{'Works' if tried else 'Nothing found wrong'}[/]: {escape(asked)}", highlight=False
        )


def _frameworks(report: Report) -> Table:
    torches = {one.python: one.torch for one in report.interpreters}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    if not any(one.tried for one in report.frameworks):
        for title in ("framework", "version", "status"):
            table.add_column(title)
        for one in report.frameworks:
            table.add_row(one.name, one.version or "-", one.status)
        return table
    for title in ("framework", "version", "torch", "device", "trains", "predicts", "masks", "s"):
        table.add_column(title, justify="right" if title == "s" else "left", overflow="fold")
    for one in report.frameworks:
        torch = torches.get(one.python)
        wants_torch = one.device != "CPU" or (torch is not None and bool(one.version))
        table.add_row(
            one.name, _version(one), torch.version if torch is not None and wants_torch and one.version else "-",
            one.device or "-", *(_MARKS[_mark(one, part)] for part in ("training", "prediction", "masks")),
            f"{sum(tried.seconds for tried in one.tried):.0f}" if one.tried else "",
        )  # fmt: skip
    return table


def _version(one: Framework) -> str:
    if one.status == "absent":
        return "absent"
    return one.version or ("broken" if one.status == "broken" else "-")


def _mark(one: Framework, part: str) -> str:
    """Whether a part works in every model that was tried."""
    said = [getattr(tried, part) for tried in one.tried if _speaks(tried, part)]
    if any(why and not why.startswith(NOT_TRIED) for why in said):
        return "no"
    return "-" if any(said) or not said else "yes"


def _speaks(tried: Tried, part: str) -> bool:
    return part != "masks" or tried.masks is not None


def _machine(found: Machine) -> list[tuple[str, str]]:
    memory = f"{_gb(found.memory_free)} of {_gb(found.memory)} free"
    cpus = f"{found.cpus}" + (f" of {found.cpus_in_all}" if found.cpus != found.cpus_in_all else "")
    disks: dict[int, list[str]] = {}
    for name, free in found.disks.items():
        disks.setdefault(free, []).append(name)
    gpus = [f"{one.name}, {_gb(one.free)} of {_gb(one.memory)} free (driver {found.driver})" for one in found.gpus]
    return [
        ("CPUs", cpus), ("memory", memory + (" (limit of the container)" if found.limited else "")),
        *(("GPU", text) for text in gpus or ["none that nvidia-smi knows"]),
        *(("disk", f"{_gb(free)} free: {', '.join(names)}") for free, names in disks.items()),
    ]  # fmt: skip


def _database(found: Database) -> str:
    if found.status == "absent":
        return "not installed"
    if found.status == "installed":
        return f"{found.fiftyone}, its database was not started"
    return f"{found.fiftyone}, MongoDB {found.mongodb} starts ({found.where})" if found.status == "works" else "broken"


def _finding(number: int, one: Finding, console: Console) -> None:
    text = f"{number}. [bold]{escape(one.where)}[/]: {escape(one.what)}"
    console.print(Padding(text, (0, 0, 0, 2)), highlight=False)
    if one.fix:
        # As one line, however long: it is to be copied.
        console.print(f"     [cyan]{escape(one.fix)}[/]", highlight=False, soft_wrap=True)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size < 10**10 else f"{size / 1e9:.0f} GB"
