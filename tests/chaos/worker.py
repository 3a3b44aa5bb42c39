"""A worker with failpoints and a clock that jumps: a program, started by the chaos runner alone."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.chaos import clock

clock.install()

from mallku_deploy.worker import main
from mallku_workers.stores.arango import ArangoStore
from tests.support import failpoints

failpoints.install()
failpoints.around_store(ArangoStore)
raise SystemExit(main())
