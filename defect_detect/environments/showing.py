"""How far the making of an environment is: numbered steps, and within each what is being done."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from defect_detect.environments.commands import Say

_EVERY = 20.0
"""Seconds between lines where there is no terminal to draw in."""


class Steps:
    """Numbers and times the steps."""

    def __init__(self, console: Console, of: int) -> None:
        self.console, self.of, self.number = console, of, 0

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Say]:
        """Show that the step has begun, and what is said in it until the block ends; then how long it took."""
        self.number += 1
        head, began = f"{self.number}/{self.of} {escape(title)}", time.monotonic()
        if self.console.is_terminal:
            with self.console.status(head) as status:
                yield lambda said: status.update(f"{head}: [dim]{escape(said)}[/]")
        else:
            self.console.print(head, highlight=False, soft_wrap=True)
            yield self._line()
        self.console.print(f"{head}: done in {_words(time.monotonic() - began)}", highlight=False, soft_wrap=True)

    def _line(self) -> Say:
        last = time.monotonic()

        def say(said: str) -> None:
            nonlocal last
            if time.monotonic() - last > _EVERY:
                last = time.monotonic()
                self.console.print(f"    {escape(said)}", highlight=False, soft_wrap=True)

        return say


def _words(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
