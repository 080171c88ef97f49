"""What our operators share: they work on a comparison's dataset, and say their faults as a notice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from defect_detect.errors import DefectDetectError
from defect_detect.explore.plugin.context import folder_of


class Operator(foo.Operator):  # type: ignore[misc]  # FiftyOne has no types
    """One that works on a comparison's dataset, and says its faults as a notice."""

    name_of = ""
    label = ""
    says = ""
    icon = "troubleshoot"

    @property
    def config(self) -> Any:
        """Its name and title."""
        return foo.OperatorConfig(
            name=self.name_of, label=self.label, description=self.says, icon=self.icon, dynamic=True, view_target=False
        )

    def resolve_input(self, ctx: Any) -> Any:
        """Its form."""
        form = types.Object()
        folder = folder_of(ctx)
        if folder is None:
            form.view("none", types.Notice(label="This dataset is no comparison."))
        else:
            try:
                self.ask(ctx, form, folder)
            except DefectDetectError as error:
                form.view("broken", types.Notice(label=str(error)))
        return types.Property(form, view=types.View(label=self.label, description=self.says))

    def execute(self, ctx: Any) -> dict[str, Any]:
        """What it does; what came of it as `said`."""
        folder = folder_of(ctx)
        if folder is None:
            return {"said": "This dataset is no comparison."}
        try:
            said = self.do(ctx, folder)
        except DefectDetectError as error:
            ctx.ops.notify(str(error), variant="error")
            return {"said": str(error)}
        ctx.ops.notify(said, variant="success")
        return {"said": said}

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:
        """Add what it asks for to the form."""

    def do(self, ctx: Any, folder: Path) -> str:
        """Do it, and say what was done."""
        raise NotImplementedError


def pick(form: Any, name: str, label: str, values: Sequence[str], default: str) -> None:
    """Add a choice to a form."""
    view = types.DropdownView(label=label)
    for value in values:
        view.add_choice(value, label=value.replace("_", " "))
    form.enum(name, view.values(), view=view, default=default)
