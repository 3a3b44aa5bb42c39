"""What document rules mean to a store that has the documents in its hands.

Three questions, asked inside the transaction that does the work, by every store in the same way:
which documents are there (`sees`), what is stored in the place of what the caller's change made
(`new_version`), and how many documents one command may touch (`refuse_more`). A document that is
not seen is treated as one that does not exist; where its key is taken by it, that is a
`UniqueViolation`, which tells nothing but the key that the caller named.

What can be told from arguments alone was refused before, and results are concealed after (see
`mallku_workers.restrictions`); stores return documents and effects as they are.
"""

from __future__ import annotations

from typing import Any, Never

from mallku_contracts.arguments import Document
from mallku_contracts.errors import PermissionDenied
from mallku_contracts.policy import DocumentRules, FieldPath


def sees(rules: DocumentRules | None, document: Document) -> bool:
    """Whether the document is there for whoever is held to the rules."""
    return rules is None or rules.where is None or rules.where.matches(document)


def new_version(rules: DocumentRules, old: Document | None, new: Document) -> Document:
    """What is stored where a caller's change of `old` made `new`; neither is altered.

    Hidden fields are as they were in `old`, and absent in a new document: who cannot see a field
    neither sets nor removes it. Forced fields have the rule's values.

    Raises:
        PermissionDenied: the documents are immutable, or the result would not meet `where`.
        InvalidDocument: the result is not what the collection's schema describes.
    """
    if old is not None:
        refuse_change(rules)
    version = _with_hidden_of(old, new, rules) if rules.hidden else new
    if rules.forced:
        version = {**version, **rules.forced}
    if not sees(rules, version):
        denied(rules, f"the document would not be as {rules.rule} asks; nothing was done")
    if rules.schema is not None:
        rules.schema.check(version)
    return version


def refuse_change(rules: DocumentRules) -> None:
    """Refuse, where documents are immutable, to change or remove one.

    Raises:
        PermissionDenied
    """
    if rules.immutable:
        denied(rules, "the documents of this collection are inserted and stay as they are")


def refuse_more(rules: DocumentRules | None, count: int) -> None:
    """Refuse to touch `count` documents by one command where the rules allow fewer.

    Raises:
        PermissionDenied
    """
    if rules is not None and rules.max_affected is not None and count > rules.max_affected:
        most = rules.max_affected
        denied(
            rules,
            f"{rules.rule} lets one command touch at most {most} documents; nothing was done",
            max_affected=most,
        )


def denied(rules: DocumentRules, message: str, **details: Any) -> Never:
    """Raise `PermissionDenied` in the name of the rule."""
    raise PermissionDenied(message, details={"rule": rules.rule, **details})


def _with_hidden_of(old: Document | None, new: Document, rules: DocumentRules) -> Document:
    version = rules.conceal(new)
    if old is not None:
        for path in rules.hidden:
            version = _kept(old, version, path)
    return version


def _kept(old: Document, new: Document, path: FieldPath) -> Document:
    """`new` with what `old` has at `path`.

    A list on the way is kept as a whole: nobody can say which item of a new one an item of the old
    one became.
    """
    name, below = path[0], path[1:]
    if name not in old:
        return new
    kept = old[name]
    if not below or isinstance(kept, list):
        return {**new, name: kept}
    if not isinstance(kept, dict):
        return new
    inside = new.get(name)
    inside = inside if isinstance(inside, dict) else {}
    merged = _kept(kept, inside, below)
    return new if merged is inside else {**new, name: merged}
