"""Step 5, what rules and limits say about a command before any document is looked at.

What can be told from the arguments is refused here, before there is an intent; what takes a
document to tell is the store's (see `mallku_workers.stores.rules`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from mallku_contracts import arguments as a
from mallku_contracts.arguments import Arguments, Document
from mallku_contracts.errors import ReservedName, ResultTooLarge
from mallku_contracts.operations import Access, Operation
from mallku_contracts.policy import DocumentRules, FieldPath, Grant
from mallku_contracts.policy.closed import is_reserved
from mallku_workers.stores.rules import denied, refuse_more

_BLIND: Final = frozenset({"truncate", "drop-collection"})
"""Operations that remove every document and look at none."""

_CHANGES: Final = frozenset({"replace", "update"})
_OF_MANY: Final = frozenset({a.GetMany, a.InsertMany, a.UpdateMany, a.ReplaceMany, a.DeleteMany})


def restrict(
    arguments: Arguments, operation: Operation, grant: Grant, rules: DocumentRules | None
) -> Arguments:
    """The arguments as they may be carried out: a page of `find` may become smaller.

    Raises:
        PermissionDenied: as `refuse_unfit`.
        ReservedName: an edge would lead to the gateway's own documents.
        ResultTooLarge: more documents are asked for at once than the principal may have.
    """
    for body, _ in _bodies(arguments):
        _refuse_reserved_ends(body)
    if rules is not None:
        refuse_unfit(operation, arguments, rules)
    return _within(arguments, grant.limits.of(operation.access).rows)


def _refuse_reserved_ends(body: Document) -> None:
    """Refuse an edge that would lead a traversal into the gateway's own collections."""
    for end in ("_from", "_to"):
        handle = body.get(end)
        if isinstance(handle, str) and is_reserved(handle):
            raise ReservedName(
                f"{end}: names that begin with _ or mallku_ belong to the gateway",
                details={"field": end},
            )


def _within(arguments: Arguments, rows: int) -> Arguments:
    if isinstance(arguments, a.Find):
        if arguments.batch_size <= rows:
            return arguments
        return arguments.model_copy(update={"batch_size": rows})
    _refuse_rows(_answers(arguments), rows)
    return arguments


def restrict_together(steps: Iterable[Arguments], grant: Grant) -> None:
    """Hold what the steps of a transaction answer with together to what one command may.

    Raises:
        ResultTooLarge: more documents are asked for than the principal may have.
    """
    _refuse_rows(sum(map(_answers, steps)), grant.limits.of(Access.WRITE).rows)


def _refuse_rows(wanted: int, rows: int) -> None:
    if wanted > rows:
        raise ResultTooLarge(
            f"{wanted} documents in one answer, where at most {rows} are allowed;"
            " ask for fewer at a time"
        )


def _answers(arguments: Arguments) -> int:
    """How many documents will be answered with; old and new version of one count as one."""
    many = type(arguments) in _OF_MANY
    count = len(getattr(arguments, "documents")) if many else 1  # noqa: B009 - those have them
    match arguments:
        case a.GetMany():
            return count
        case (
            a.Insert()
            | a.Update()
            | a.Replace()
            | a.Upsert()
            | a.InsertMany()
            | a.UpdateMany()
            | a.ReplaceMany()
        ):
            return count if arguments.return_new or arguments.return_old else 0
        case a.Delete() | a.DeleteMany():
            return count if arguments.return_old else 0
        case _:
            return 0


def refuse_unfit(operation: Operation, arguments: Arguments, rules: DocumentRules) -> None:
    """Refuse what the rules forbid whatever the documents are.

    Raises:
        PermissionDenied: a hidden field is named or written, more documents are to be changed than
            is allowed, or the operation looks at no document and so cannot be held to a rule.
    """
    if operation.name in _BLIND:
        _refuse_blind(operation, rules)
    if isinstance(arguments, a.InsertMany | a.UpdateMany | a.ReplaceMany | a.DeleteMany):
        refuse_more(rules, len(arguments.documents))
    if rules.hidden:
        rules.refuse_hidden(_named_fields(arguments))
        for body, changes in _bodies(arguments):
            _refuse_written(rules, body, changes=changes)


def _refuse_blind(operation: Operation, rules: DocumentRules) -> None:
    if rules.where is not None or rules.max_affected is not None or rules.immutable:
        denied(
            rules,
            f"{operation.name} looks at no document and cannot be held to {rules.rule};"
            " nothing was done",
        )


def _named_fields(arguments: Arguments) -> Iterable[str]:
    """The fields by which documents are chosen or ordered."""
    match arguments:
        case a.Find():
            return (*arguments.filters, *(by.sort_by for by in arguments.sort))
        case a.Count() | a.UpdateMatch() | a.ReplaceMatch() | a.DeleteMatch() | a.Upsert():
            return arguments.filters
        case a.CreateIndex():
            return arguments.fields
        case _:
            return ()


def _bodies(arguments: Arguments) -> Iterator[tuple[Document, bool]]:
    """What is to be written, and whether it may change what is there."""
    match arguments:
        case a.Insert():
            yield arguments.document, _overwrites(arguments)
        case a.InsertMany():
            yield from ((body, _overwrites(arguments)) for body in arguments.documents)
        case a.Update() | a.Replace():
            yield arguments.document, True
        case a.UpdateMany() | a.ReplaceMany():
            yield from ((body, True) for body in arguments.documents)
        case a.UpdateMatch() | a.ReplaceMatch():
            yield arguments.body, True
        case a.Upsert():
            yield arguments.insert, False
            yield arguments.update or arguments.replace or {}, True
        case _:
            return


def _overwrites(options: a.Insert | a.InsertMany) -> bool:
    mode = options.overwrite_mode
    return mode in _CHANGES or (mode is None and options.overwrite)


def _refuse_written(rules: DocumentRules, body: Document, *, changes: bool) -> None:
    """Refuse a body that holds a hidden field.

    One that changes a document may also put nothing but objects above a hidden field: anything
    else would take its place.
    """
    for path in rules.hidden:
        if _holds(body, path) or (changes and _covers(body, path)):
            name = ".".join(path)
            denied(
                rules,
                f"the field {name!r} cannot be written, nor what holds it replaced: {rules.rule}"
                " hides it; nothing was done",
                field=name,
            )


def _holds(value: Any, path: FieldPath) -> bool:
    if isinstance(value, list):
        return any(_holds(item, path) for item in value)
    if not isinstance(value, dict) or path[0] not in value:
        return False
    return len(path) == 1 or _holds(value[path[0]], path[1:])


def _covers(body: Document, path: FieldPath) -> bool:
    value: Any = body
    for name in path[:-1]:
        if name not in value:
            return False
        value = value[name]
        if not isinstance(value, dict):
            return True
    return False
