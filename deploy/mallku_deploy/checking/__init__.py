"""Holds histories of clients against the trail, the ledger and the store; pure but for `gathering`.

`history` reads what clients wrote, `trail` what the audit trail says; `parts` takes calls apart
into what they mean for one document, `register` and `linearizable` judge the order of those, and
`accounts` whether every effect has its command and every command its effect.
"""

from __future__ import annotations
