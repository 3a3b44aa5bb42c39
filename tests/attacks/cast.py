"""Who plays a part in the attacks, what there is to steal, and the policy they all live under."""

from __future__ import annotations

from typing import Final

SMALL: Final = tuple(f"mallory-{number}" for number in range(1, 145))
"""Attackers with a small role; each test takes the next, so that each has a trail of its own."""

WIDE: Final = tuple(f"malware-{number}" for number in range(1, 19))
"""Attackers who may do everything that a rule can allow."""

FLOODERS: Final = tuple(f"flooder-{number}" for number in range(1, 13))
"""Those of whom more is refused than the trail holds one by one; they come but once."""

REFUSALS_RECORDED_PER_MINUTE: Final = 300
"""More than by default, so that attackers who come again have each refusal on the trail."""

VICTIM, BYSTANDER, OPERATOR = "mallku", "bystander", "operator"

VAULT: Final = "vault"
"""What nobody but the victim may read or change."""

GREEDY: Final = "greedy"
"""An attacker whom no limit of its role holds back."""

IN_FLIGHT: Final = 64
"""Commands that the small role may have under way in each worker."""

NOTES: Final = "notes"
"""Where everybody is alone with their own documents."""

SCRATCH: Final = "scratch"
"""What the small role may read and write as it likes."""

SECRET: Final = "the-secret-of-the-vault"
"""Stands in the victim's documents; it may never reach an attacker."""

LOOKED_UP: Final = "RETURN DOCUMENT(CONCAT(@c, '/', @k))"
"""A text that the attackers' roles may run as it stands."""

APPROVED: Final = (
    f'looked-up: {{text: "{LOOKED_UP}", roles: [small, everything], parameters: [c, k]}}'
)
DATABASE: Final = "mallku"
_NEWLINE: Final = "\n"
POLICY_TEXT: Final = f"""
version: 1
roles:
  service:
    rules:
      - {{id: documents, collections: ["*"], operations: [read, write]}}
      - {{id: shapes, collections: ["*"], operations: [create-collection]}}
  everything:
    rules: [{{id: everything, collections: ["*"], operations: [read, write, admin]}}]
  small:
    rules:
      - id: own
        collections: [{NOTES}]
        operations: [read, write]
        where: {{owner: $principal}}
        set: {{owner: $principal}}
        hide: [token]
      - {{id: scratch, collections: [{SCRATCH}], operations: [read, write]}}
      - {{id: look, collections: ["fc_*"], operations: [get]}}
      - {{id: names, collections: ["@"], operations: [list-collections, outcome, aql, transaction]}}
    limits: {{in_flight: {IN_FLIGHT}}}
  greedy:
    rules: [{{id: scratch, collections: [{SCRATCH}], operations: [read]}}]
    limits: {{rate_per_s: 1000000, burst: 1000000, in_flight: 100000}}
queries:
  {APPROVED}
principals:
  {GREEDY}: {{roles: [greedy]}}
  {VICTIM}: {{roles: [service]}}
  {BYSTANDER}: {{roles: [service]}}
  {OPERATOR}: {{roles: [everything]}}
  inspector: {{kind: inspector}}
  auditor: {{kind: auditor}}
  administrator: {{kind: administrator}}
{_NEWLINE.join(f"  {name}: {{roles: [small]}}" for name in (*SMALL, *FLOODERS))}
{_NEWLINE.join(f"  {name}: {{roles: [everything]}}" for name in WIDE)}
"""
