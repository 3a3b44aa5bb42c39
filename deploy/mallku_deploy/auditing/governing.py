"""The policy by which the trail is shown: a file's, or the one that governs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mallku_contracts.errors import ConfigurationError
from mallku_contracts.governed import Kind
from mallku_deploy.auditing.hiding import Hiding
from mallku_deploy.reading import parse_policy, read_policy_file

if TYPE_CHECKING:
    from mallku_client.trail import AuditReader
    from mallku_contracts.audit import Record


async def find_hiding(reader: AuditReader, policy: Path | None) -> Hiding:
    """What is not shown: by the policy in a file, else by the highest that the trail holds.

    A trail without a policy has nothing to hide.

    Raises:
        ConfigurationError: the policy cannot be read; showing everything instead would be wrong.
    """
    if policy is not None:
        return Hiding(read_policy_file(policy))
    record = await reader.adoption(Kind.POLICY)
    return Hiding(None) if record is None else _of_record(record)


def _of_record(record: Record) -> Hiding:
    where = Path(f"policy {record.policy} on the trail")
    if record.command is None:
        raise ConfigurationError(f"{where}: the record does not hold it; name one with --policy")
    try:
        return Hiding(parse_policy(record.command[1].decode(), where))
    except UnicodeDecodeError:
        raise ConfigurationError(f"{where}: not UTF-8; name one with --policy FILE") from None
