"""Who may do what: the document, how it is read, and the pure function that decides by it."""

from __future__ import annotations

from mallku_contracts.policy.access import QueryAccess
from mallku_contracts.policy.bound import DocumentRules
from mallku_contracts.policy.closed import is_reserved
from mallku_contracts.policy.collection import CollectionRules
from mallku_contracts.policy.condition import Condition
from mallku_contracts.policy.decide import CompiledPolicy, Grant
from mallku_contracts.policy.explain import Explanation
from mallku_contracts.policy.limiting import ClassLimits, Limits
from mallku_contracts.policy.model import Policy, Principal, Role, Rule
from mallku_contracts.policy.query import NamedQuery, query_digest
from mallku_contracts.policy.schema import DocumentSchema
from mallku_contracts.policy.text import PolicyError, check_policy, read_policy
from mallku_contracts.policy.values import FieldPath

__all__ = [
    "ClassLimits",
    "CollectionRules",
    "CompiledPolicy",
    "Condition",
    "DocumentRules",
    "DocumentSchema",
    "Explanation",
    "FieldPath",
    "Grant",
    "Limits",
    "NamedQuery",
    "Policy",
    "PolicyError",
    "Principal",
    "QueryAccess",
    "Role",
    "Rule",
    "check_policy",
    "is_reserved",
    "query_digest",
    "read_policy",
]
