"""The policy under which everything is measured: no rate and no share holds a caller back."""

from __future__ import annotations

from typing import Final

from mallku_broker.files import make_private_folder, write_private_text
from mallku_deploy.house import House

POLICY: Final = """
version: 1
roles:
  service:
    limits: {rate_per_s: 1000000, burst: 1000000, bytes_per_s: 1000000000, in_flight: 4096}
    rules:
      - {id: documents, collections: ["*"], operations: [read, write]}
      - {id: shapes, collections: ["*"], operations: [create-collection, create-index]}
  operator:
    rules: [{id: everything, collections: ["*"], operations: [read, write, admin]}]
principals:
  mallku: {roles: [service]}
  operator: {roles: [operator]}
  auditor: {kind: auditor}
  inspector: {kind: inspector}
  administrator: {kind: administrator}
"""
"""A client asks again by itself when it was told `rate_limited`: the default rate would show in no
result, and in every figure above 5,000 commands a second."""


def lift_limits(house: House) -> House:
    """The same house, which is not furnished yet, under this policy."""
    make_private_folder(house.root)
    write_private_text(house.policy, POLICY)
    return house
