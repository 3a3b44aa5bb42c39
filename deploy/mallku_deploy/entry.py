"""The console script `mallku-gateway`: sends each command the quickest way to its code.

`decode` runs once per message under `nats --translate`, and `worker` runs for weeks in little
memory: neither needs the terminal library, so neither loads it.
"""

from __future__ import annotations

import sys

_HELP = frozenset({"--help", "-h"})


def main() -> int:
    """Run one command with the process's arguments; the result is the exit code."""
    command, *rest = sys.argv[1:] or [""]
    if command == "decode" and not _HELP & set(rest):
        from mallku_deploy.decode import main as decode

        return decode(rest)
    if command == "worker" and not rest:
        from mallku_deploy.worker import main as worker

        return worker()
    from mallku_deploy.cli import main as cli

    return cli()


if __name__ == "__main__":
    sys.exit(main())
