"""Every coded error there is, on the wire and in the client.

::

    MallkuError
    ├── AdmissionError          1xx  before anything was read
    │   ├── MessageTooLarge         101  message_too_large
    │   ├── InvalidSubject          102  invalid_subject
    │   ├── ForeignReplyInbox       103  foreign_reply_inbox
    │   ├── Busy                    104  busy                      retryable
    │   └── NoSuchPath              105  no_such_path              said by HTTP doors alone
    ├── EnvelopeError           2xx  who sent it, and is it whole and fresh
    │   ├── MalformedEnvelope       201  malformed_envelope
    │   ├── UnsupportedVersion      202  unsupported_version
    │   ├── StaleCommand            203  stale_command
    │   ├── CommandFromFuture       204  command_from_future
    │   ├── SubjectMismatch         205  subject_mismatch
    │   ├── InvalidToken            206  invalid_token
    │   ├── TokenExpired            207  token_expired
    │   ├── Revoked                 208  revoked
    │   ├── InvalidSignature        209  invalid_signature
    │   ├── PrincipalMismatch       210  principal_mismatch
    │   ├── Replayed                211  replayed
    │   ├── MalformedBody           212  malformed_body
    │   ├── UnverifiedReply         213  unverified_reply          raised by clients alone
    │   └── InvalidProof            214  invalid_proof
    ├── AuthorizationError      3xx  may they
    │   ├── PermissionDenied        301  permission_denied
    │   ├── ReservedName            302  reserved_name
    │   ├── RateLimited             303  rate_limited              retryable
    │   └── SecurityViolation       304  security_violation
    ├── RequestError            4xx  arguments and documents
    │   ├── InvalidArguments        401  invalid_arguments
    │   ├── NotSupported            402  not_supported
    │   ├── IdempotencyConflict     403  idempotency_conflict
    │   ├── ResultTooLarge          404  result_too_large
    │   ├── DocumentError
    │   │   ├── DocumentNotFound        410  document_not_found          ArangoDB 1202
    │   │   ├── RevisionMismatch        411  revision_mismatch           ArangoDB 1200
    │   │   ├── UniqueViolation         412  unique_violation            ArangoDB 1210
    │   │   ├── InvalidKey              413  invalid_key                 ArangoDB 1221
    │   │   ├── InvalidDocument         414  invalid_document            ArangoDB 1227
    │   │   └── InvalidEdge             415  invalid_edge                ArangoDB 1233
    │   ├── CollectionError
    │   │   ├── CollectionNotFound      420  collection_not_found        ArangoDB 1203
    │   │   └── CollectionExists        421  collection_exists           ArangoDB 1207
    │   ├── IndexingError
    │   │   ├── IndexNotFound           430  index_not_found             ArangoDB 1212
    │   │   └── InvalidIndex            431  invalid_index               ArangoDB 10
    │   ├── DatabaseNotFound        440  database_not_found          ArangoDB 1228
    │   ├── GraphError
    │   │   ├── GraphNotFound           441  graph_not_found             ArangoDB 1924
    │   │   └── GraphExists             442  graph_exists                ArangoDB 1925
    │   └── QueryError              a query; `error_code` is each error's own
    │       ├── InvalidQuery            450  invalid_query               ArangoDB 1501 and others
    │       ├── QueryFailed             451  query_failed                ArangoDB 15xx
    │       └── ResourceLimit           452  resource_limit              ArangoDB 32
    ├── ExecutionError          5xx  the store
    │   ├── Unavailable             501  unavailable               retryable
    │   ├── DeadlineExceeded        502  deadline_exceeded         retryable
    │   ├── OutcomeUnknown          503  outcome_unknown
    │   ├── StoreFailure            504  store_failure
    │   └── CursorLost              505  cursor_lost               retryable
    ├── AuditError              6xx  the trail
    │   ├── AuditUnavailable        601  audit_unavailable         retryable
    │   └── OutcomePending          602  outcome_pending
    ├── JobError                7xx  durable jobs
    │   ├── JobUnconfirmed          701  job_unconfirmed           retryable
    │   ├── JobPending              702  job_pending               retryable
    │   ├── JobGivenUp              703  job_given_up
    │   ├── JobNotFound             704  job_not_found
    │   └── JobShareUsed            705  job_share_used            retryable
    ├── ClientError             8xx  never on the wire: raised where the call was made
    │   ├── GatewayUnreachable      801  gateway_unreachable       retryable
    │   ├── ConfigurationError      802  configuration
    │   └── ClientClosed            803  client_closed
    └── InternalError           901  internal

7xx is about jobs. A number that is retired is never used again. Only errors of this tree cross
the wire; whatever else happens in a worker becomes one bland `InternalError` with a correlation id.
`error_code` and `http_code` are ArangoDB's, so that whoever handled python-arango's errors finds
them where they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from mallku_contracts.limits import KIB, MAX_RETRY_AFTER_S

MAX_MESSAGE_CHARS: Final = 2 * KIB
"""An error message that crosses the wire, characters; a longer one is cut."""


class MallkuError(Exception):
    """Something was refused or failed, and `code` and `number` say which.

    Args:
        message: One sentence: what was wrong, where, and what to do.
        retry_after: Seconds after which another try makes sense, when known.
        details: Plain JSON values for machines, such as the rule that was missing.
        correlation: The id under which a worker's log tells more.
        retryable: Overrules the class, for errors that know better.
    """

    code: ClassVar[str] = "mallku_error"
    number: ClassVar[int] = 0
    retryable: bool = False
    error_code: int | None = None
    http_code: int = 500

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
        correlation: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.details: dict[str, Any] = dict(details or {})
        self.correlation = correlation
        if retryable is not None:
            self.retryable = retryable

    @property
    def error_message(self) -> str:
        """The message, under the name that python-arango gives it."""
        return self.message

    def to_wire(self) -> dict[str, Any]:
        """The error as a map of plain values, as `docs/wire.md` describes it."""
        wire: dict[str, Any] = {
            "code": self.code,
            "number": self.number,
            "message": self.message[:MAX_MESSAGE_CHARS],
            "retryable": self.retryable,
        }
        if self.retry_after is not None:
            wire["retry_after"] = self.retry_after
        if self.details:
            wire["details"] = self.details
        if self.correlation is not None:
            wire["correlation"] = self.correlation
        return wire


class AdmissionError(MallkuError):
    """The message was turned away before it was read."""

    http_code = 400


class MessageTooLarge(AdmissionError):
    """The message is larger than a command may be."""

    code, number, http_code = "message_too_large", 101, 413


class InvalidSubject(AdmissionError):
    """The subject, or a name that was to become part of one, does not follow the grammar."""

    code, number = "invalid_subject", 102


class ForeignReplyInbox(AdmissionError):
    """The reply was asked for at a place that is not the principal's own inbox."""

    code, number = "foreign_reply_inbox", 103


class Busy(AdmissionError):
    """There is no free slot now; `retry_after` says when to come back."""

    code, number, http_code = "busy", 104, 503
    retryable = True


class NoSuchPath(AdmissionError):
    """The HTTP door has no such path, or the path no such method."""

    code, number, http_code = "no_such_path", 105, 404


class EnvelopeError(MallkuError):
    """The envelope or the identity behind it does not hold."""

    http_code = 401


class MalformedEnvelope(EnvelopeError):
    """The envelope does not have the shape that the wire asks for."""

    code, number, http_code = "malformed_envelope", 201, 400


class UnsupportedVersion(EnvelopeError):
    """The envelope speaks a version that this side does not know."""

    code, number, http_code = "unsupported_version", 202, 400


class StaleCommand(EnvelopeError):
    """The command's validity is over."""

    code, number = "stale_command", 203


class CommandFromFuture(EnvelopeError):
    """The command was issued later than the allowed clock skew explains."""

    code, number = "command_from_future", 204


class SubjectMismatch(EnvelopeError):
    """What was signed and the subject it came on do not say the same."""

    code, number = "subject_mismatch", 205


class InvalidToken(EnvelopeError):
    """The token is not one that a trusted issuer gave for this use."""

    code, number = "invalid_token", 206


class TokenExpired(EnvelopeError):
    """The token's validity is over, or has not begun."""

    code, number = "token_expired", 207


class Revoked(EnvelopeError):
    """The key or the principal was revoked."""

    code, number = "revoked", 208


class InvalidSignature(EnvelopeError):
    """The signature does not fit these bytes and the token's key."""

    code, number = "invalid_signature", 209


class PrincipalMismatch(EnvelopeError):
    """The token was given to another principal than the subject names."""

    code, number = "principal_mismatch", 210


class Replayed(EnvelopeError):
    """The same transmission was seen before; a retry must be signed anew."""

    code, number = "replayed", 211


class MalformedBody(EnvelopeError):
    """The body is not one map of plain values within the limits."""

    code, number, http_code = "malformed_body", 212, 400


class UnverifiedReply(EnvelopeError):
    """A reply came that no trusted worker signed for this command."""

    code, number = "unverified_reply", 213


class InvalidProof(EnvelopeError):
    """What a door brings does not prove that the caller asked for exactly this, and now."""

    code, number = "invalid_proof", 214


class AuthorizationError(MallkuError):
    """The principal may not do this, or not now."""

    http_code = 403


class PermissionDenied(AuthorizationError):
    """No rule of the policy allows this; `details` names what was missing."""

    code, number, error_code = "permission_denied", 301, 11


class ReservedName(AuthorizationError):
    """The name begins with `_` or `mallku_`, which belong to the gateway."""

    code, number = "reserved_name", 302


class RateLimited(AuthorizationError):
    """The principal's rate is used up; `retry_after` says when it is not."""

    code, number, http_code = "rate_limited", 303, 429
    retryable = True


class SecurityViolation(AuthorizationError):
    """A secured collection was approached without a secured model that it lets in."""

    code, number, error_code = "security_violation", 304, 11


class RequestError(MallkuError):
    """The command is permitted, but cannot be carried out as it stands."""

    http_code = 400


class InvalidArguments(RequestError):
    """An argument is missing, unknown or of the wrong type; `details["fields"]` says which."""

    code, number, error_code = "invalid_arguments", 401, 10


class NotSupported(RequestError):
    """The gateway does not do this; the message names it."""

    code, number, error_code, http_code = "not_supported", 402, 9, 501


class IdempotencyConflict(RequestError):
    """The idempotency key was used for another command."""

    code, number, http_code = "idempotency_conflict", 403, 409


class ResultTooLarge(RequestError):
    """The result does not fit a reply; ask for less at a time."""

    code, number, http_code = "result_too_large", 404, 413


class DocumentError(RequestError):
    """A document stands in the way of the operation."""


class DocumentNotFound(DocumentError):
    """There is no document with this key."""

    code, number, error_code, http_code = "document_not_found", 410, 1202, 404


class RevisionMismatch(DocumentError):
    """The document has another revision than the one expected."""

    code, number, error_code, http_code = "revision_mismatch", 411, 1200, 412


class UniqueViolation(DocumentError):
    """A document with this key or this unique value exists already."""

    code, number, error_code, http_code = "unique_violation", 412, 1210, 409


class InvalidKey(DocumentError):
    """The document key is empty, too long, or has characters that keys cannot have."""

    code, number, error_code = "invalid_key", 413, 1221


class InvalidDocument(DocumentError):
    """The value cannot be stored as a document."""

    code, number, error_code = "invalid_document", 414, 1227


class InvalidEdge(DocumentError):
    """An edge lacks `_from` or `_to`, or they are not document ids."""

    code, number, error_code = "invalid_edge", 415, 1233


class CollectionError(RequestError):
    """A collection stands in the way of the operation."""


class CollectionNotFound(CollectionError):
    """There is no collection with this name."""

    code, number, error_code, http_code = "collection_not_found", 420, 1203, 404


class CollectionExists(CollectionError):
    """A collection with this name exists already."""

    code, number, error_code, http_code = "collection_exists", 421, 1207, 409


class IndexingError(RequestError):
    """An index stands in the way of the operation."""


class IndexNotFound(IndexingError):
    """There is no index with this id or name."""

    code, number, error_code, http_code = "index_not_found", 430, 1212, 404


class InvalidIndex(IndexingError):
    """The index definition cannot be fulfilled."""

    code, number, error_code = "invalid_index", 431, 10


class DatabaseNotFound(RequestError):
    """There is no database with this name."""

    code, number, error_code, http_code = "database_not_found", 440, 1228, 404


class GraphError(RequestError):
    """A named graph is not as the operation needs it."""


class GraphNotFound(GraphError):
    """There is no graph of this name."""

    code, number, error_code, http_code = "graph_not_found", 441, 1924, 404


class GraphExists(GraphError):
    """There is a graph of this name already."""

    code, number, error_code, http_code = "graph_exists", 442, 1925, 409


class QueryError(RequestError):
    """A query cannot be run as it stands; `details` say where and under which number of ArangoDB.

    Args:
        error_code: ArangoDB's number of the error; kept in `details["error_code"]`.
        line, column: Where in the query's text, both from 1; kept in `details`.
    """

    def __init__(
        self,
        message: str,
        *,
        error_code: int | None = None,
        line: int | None = None,
        column: int | None = None,
        details: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        own = {"error_code": error_code, "line": line, "column": column}
        given = {name: value for name, value in own.items() if value is not None}
        super().__init__(message, details={**given, **(details or {})}, **more)
        number = self.details.get("error_code")
        if isinstance(number, int) and not isinstance(number, bool):
            self.error_code = number


class InvalidQuery(QueryError):
    """The query's text or its bind values are wrong: nothing was run."""

    code, number, error_code = "invalid_query", 450, 1501


class QueryFailed(QueryError):
    """The query ran into something that it cannot go on from: nothing of it was kept."""

    code, number, error_code = "query_failed", 451, 1503


class ResourceLimit(QueryError):
    """The query needs more memory or rows than it may have: nothing of it was kept."""

    code, number, error_code, http_code = "resource_limit", 452, 32, 413


class ExecutionError(MallkuError):
    """The store could not do it, or cannot say."""


class Unavailable(ExecutionError):
    """The store cannot be reached now, and nothing was done."""

    code, number, http_code = "unavailable", 501, 503
    retryable = True


class DeadlineExceeded(ExecutionError):
    """The caller's time was over before the command began; nothing was done."""

    code, number, http_code = "deadline_exceeded", 502, 504
    retryable = True


class OutcomeUnknown(ExecutionError):
    """The command may or may not have had its effect; ask with `outcome`."""

    code, number, http_code = "outcome_unknown", 503, 504


class StoreFailure(ExecutionError):
    """The store refused for a reason that has no code of its own; nothing was done."""

    code, number = "store_failure", 504


class CursorLost(ExecutionError):
    """The worker that held the cursor is gone, or has given it back: ask the query again."""

    code, number, error_code, http_code = "cursor_lost", 505, 1600, 404
    retryable = True


class AuditError(MallkuError):
    """The audit trail stands in the way."""

    http_code = 503


class AuditUnavailable(AuditError):
    """The intent was not acknowledged in time, so nothing was executed."""

    code, number = "audit_unavailable", 601
    retryable = True


class OutcomePending(AuditError):
    """The effect is committed, but its record is not acknowledged yet."""

    code, number = "outcome_pending", 602


class JobError(MallkuError):
    """About durable jobs."""


class JobUnconfirmed(JobError):
    """Nobody said that the job is kept; it may be. Submitted again with its key it is one job."""

    code, number, http_code = "job_unconfirmed", 701, 503
    retryable = True


class JobPending(JobError):
    """The job has no result yet; it is kept, and can be asked about again."""

    code, number, http_code = "job_pending", 702, 504
    retryable = True


class JobGivenUp(JobError):
    """The job was tried as often as it may be; it lies among the dead ones."""

    code, number = "job_given_up", 703


class JobNotFound(JobError):
    """There is no dead job at this place, or it is too old for another try."""

    code, number, http_code = "job_not_found", 704, 404


class JobShareUsed(JobError):
    """The principal's jobs, or their results, fill its share of what all share; nothing was done.

    Submit it again when others of them are done.
    """

    code, number, http_code = "job_share_used", 705, 429
    retryable = True


class ClientError(MallkuError):
    """Something on the caller's own side stands in the way."""


class GatewayUnreachable(ClientError):
    """No gateway answers there; the message lists what was tried."""

    code, number, http_code = "gateway_unreachable", 801, 503
    retryable = True


class ConfigurationError(ClientError):
    """A setting, a file or an environment variable is missing or wrong."""

    code, number = "configuration", 802


class ClientClosed(ClientError):
    """The client was closed before the call."""

    code, number = "client_closed", 803


class InternalError(MallkuError):
    """Something unexpected happened; the worker's log knows it under `correlation`."""

    code, number = "internal", 901


def _leaves(root: type[MallkuError]) -> list[type[MallkuError]]:
    found = [root] if root.number else []
    return found + [leaf for child in root.__subclasses__() for leaf in _leaves(child)]


BY_CODE: Final[Mapping[str, type[MallkuError]]] = {leaf.code: leaf for leaf in _leaves(MallkuError)}
"""Every leaf of the tree by its stable string code."""


_LOCAL: Final = frozenset({UnverifiedReply.code, *(leaf.code for leaf in _leaves(ClientError))})
"""What is raised where the call was made; from the wire it would be a lie."""

_MAX_CODE_CHARS: Final = 64


def from_wire(wire: object) -> MallkuError:
    """Rebuild the error that `to_wire` described, whatever came in its place.

    A code that this side does not know, or that nobody may send, becomes `InternalError` with that
    code in its message, so that an older client still learns whether to retry. Texts are cut to
    what `to_wire` may write, `retry_after` to 0 and `MAX_RETRY_AFTER_S`; what has another type than
    it should have counts as absent.
    """
    fields = wire if isinstance(wire, Mapping) else {}
    code, message = _text(fields, "code", _MAX_CODE_CHARS), _text(fields, "message")
    kind = None if code in _LOCAL else BY_CODE.get(code)
    if kind is None:
        kind, message = InternalError, f"{code or 'no code'}: {message}"
    details = fields.get("details")
    return kind(
        message,
        retry_after=_seconds(fields.get("retry_after")),
        details=details if isinstance(details, dict) else None,
        correlation=_text(fields, "correlation", _MAX_CODE_CHARS) or None,
        retryable=fields.get("retryable") is True,
    )


def _text(fields: Mapping[Any, Any], name: str, most: int = MAX_MESSAGE_CHARS) -> str:
    value = fields.get(name)
    return value[:most] if isinstance(value, str) else ""


def _seconds(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:  # noqa: PLR0124 - NaN
        return None
    return float(min(max(value, 0), MAX_RETRY_AFTER_S))
