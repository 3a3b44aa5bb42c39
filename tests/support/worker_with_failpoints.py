"""A worker as it is, with failpoints between its steps: a program, started by tests alone."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from mallku_deploy.worker import main
from tests.support.failpoints import install

install()
raise SystemExit(main())
