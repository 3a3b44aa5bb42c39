"""What the demo says, it checks: each promise is a line with ✓, or ✗ and an exit code."""

from __future__ import annotations

from rich.markup import escape
from rich.padding import Padding

from mallku_deploy.terminal import out


class Promises:
    """Tells the story line by line and remembers what did not come true."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.kept = 0

    def chapter(self, title: str) -> None:
        """A new chapter of the story."""
        out.print(f"\n[bold]{escape(title)}[/]")

    def keep(self, promise: str, kept: bool, seen: str = "") -> None:
        """Show whether a promise holds, and what was seen."""
        mark = "[green]✓[/]" if kept else "[bold red]✗[/]"
        out.print(f"  {mark} {escape(promise)}")
        if seen:
            out.print(Padding(f"[dim]{escape(seen)}[/]", (0, 0, 0, 4)))
        if kept:
            self.kept += 1
        else:
            self.broken.append(promise)
