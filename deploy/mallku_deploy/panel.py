"""What `up` shows: how to reach the gateway, and what happens to it meanwhile."""

from __future__ import annotations

import shlex
import shutil
import sys
from datetime import datetime
from pathlib import Path

from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from mallku_contracts.subjects import inbox_prefix
from mallku_deploy.events import Event, ServerReady, WorkerReady
from mallku_deploy.house import House
from mallku_deploy.targets import addresses
from mallku_deploy.tenancy import Running
from mallku_deploy.terminal import err, out

_CLIENT = """\
[dim]from[/] mallku_client [dim]import[/] SecuredDatabaseInterface
[dim]async with await[/] SecuredDatabaseInterface.connect() [dim]as[/] db:
    anchors = [dim]await[/] db.create_collection("memory_anchors")
    [dim]await[/] anchors.insert({"kind": "khipu", "weight": 3})"""


def show_ready(house: House, url: str, workers: int, env_file: Path | None, took_s: float) -> None:
    """The gateway answers; here is how to use it."""
    title = f"[bold green]Mallku gateway[/], {workers} workers, ready after {took_s:.1f} s"
    _show_how(house, url, env_file, title)
    out.print("[bold]Ctrl-C[/] stops it.")


def show_attached(house: House, running: Running, env_file: Path | None) -> None:
    """Another `up` runs the gateway; here is how to use it."""
    title = f"[bold green]Mallku gateway[/], already running (pid {running.pid})"
    _show_how(house, running.url, env_file, title)


def show_leaving() -> None:
    """Asked to stop: workers finish what they have begun."""
    err.print("[dim]stopping: workers finish what is in flight …[/]")


def announce(event: Event) -> None:
    """One line for everything that happens to the gateway."""
    style = "green" if isinstance(event, WorkerReady | ServerReady) else "bold yellow"
    clock = datetime.now().astimezone().strftime("%H:%M:%S")
    err.print(f"[dim]{clock}[/] [{style}]{escape(str(event))}[/]", soft_wrap=True)


def _show_how(house: House, url: str, env_file: Path | None, title: str) -> None:
    """What to read in a box; what to copy below it, each line whole."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("url", url)
    table.add_row("data", escape(str(house.root)))
    if env_file is None:
        table.add_row("env", "[dim]--env-file FILE writes what a client needs[/]")
    if metrics := addresses(house.targets):
        table.add_row("metrics", "\n".join(f"http://{address}/metrics" for address in metrics))
        table.add_row("", f"[dim]file_sd: {escape(str(house.targets))}[/]")
    table.add_row("client", _CLIENT)
    out.print(Panel(table, title=title, title_align="left", expand=False))
    if env_file is not None:
        _show_line(f"set -a; . {shlex.quote(str(env_file))}; set +a")
    _show_line(f"{_command()} call list-collections{_as(house, env_file)}")
    _show_line(_nats(house, url))


def _show_line(command: str) -> None:
    out.print(escape(command), soft_wrap=True, highlight=False)


def _command() -> str:
    """The command as this shell finds it, else where it lies."""
    name = "mallku-gateway"
    if shutil.which(name):
        return name
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def _as(house: House, env_file: Path | None) -> str:
    return "" if env_file else f" --as mallku --data {shlex.quote(str(house.root))}"


def _nats(house: House, url: str) -> str:
    inspector = house.principal("inspector")
    held = zip(("--tlsca", "--tlscert", "--tlskey"), house.tls_files(inspector, url), strict=True)
    tls = "".join(f" {option} {path}" for option, path in held if path is not None)
    return (
        f"nats sub 'mallku.v1.cmd.>' --server {url} --nkey {inspector.credentials}{tls}"
        f" --inbox-prefix {inbox_prefix('inspector')} --translate '{_command()} decode'"
    )
