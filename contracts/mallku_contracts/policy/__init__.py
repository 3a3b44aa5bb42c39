"""Who may do what: the document, how it is read, and the pure function that decides by it."""

from __future__ import annotations

from mallku_contracts.policy.decide import CompiledPolicy, Grant
from mallku_contracts.policy.model import Limits, Policy, Principal, Role, Rule
from mallku_contracts.policy.text import PolicyError, read_policy

__all__ = [
    "CompiledPolicy",
    "Grant",
    "Limits",
    "Policy",
    "PolicyError",
    "Principal",
    "Role",
    "Rule",
    "read_policy",
]
