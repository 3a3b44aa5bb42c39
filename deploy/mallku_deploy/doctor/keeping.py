"""Whether the trail's streams are kept as they have to be: what an auditor is told of them."""

from __future__ import annotations

from typing import Final

from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_deploy.auditing.custody import complaints, look_at
from mallku_deploy.doctor.attempts import Outcome, Verdict
from mallku_deploy.doctor.tries import Line

TITLE: Final = "the trail loses nothing"
SOUND: Final = "sound"


async def keeping(line: Line) -> Outcome:
    """What `audit custody` finds, as a row: deletable, purgeable, led away, full, or behind."""
    try:
        found = await look_at(line.connection)
    except (ConfigurationError, GatewayUnreachable) as error:
        return Outcome(SOUND, "", Verdict.UNTRIED, error.message)
    words = [word for each in found for word in complaints(each)]
    if not words:
        return Outcome(SOUND, SOUND, Verdict.PROVEN, "")
    return Outcome(SOUND, f"{len(words)} weak", Verdict.HOLE, "; ".join(words))
