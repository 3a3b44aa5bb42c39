"""What a verified reply says: a result with its receipt, or a coded error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mallku_contracts import codec
from mallku_contracts.errors import InternalError, MallkuError, UnverifiedReply, from_wire

if TYPE_CHECKING:  # brings pydantic, which a client has no other use for
    from mallku_contracts.results import Receipt


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything a reply says about one command.

    Attributes:
        result: In the shape that the table of operations gives.
        id: The id of the attempt that was answered.
        idempotency_key: What all attempts shared; `outcome` knows the command by it.
        receipt: Where the audit trail holds the outcome; mutations always have one.
        replayed: The effect is an earlier attempt's, and this its remembered answer.
        attempts: How often the command was sent.
        reply: The worker's signed reply, where there is a receipt in it: what proves the receipt.
    """

    result: Any
    id: str
    idempotency_key: str
    receipt: Receipt | None = None
    replayed: bool = False
    attempts: int = 1
    reply: bytes = field(default=b"", repr=False)

    @property
    def receipt_bundle(self) -> str:
        """The receipt as JSON to be kept: it proves itself to everybody who trusts the issuer.

        `mallku-gateway audit prove` adds the proof that the record stands in the trail, and
        `audit verify --receipt` checks it without any gateway. The whole reply stands in it, the
        result included.

        Raises:
            UnverifiedReply: this answer has no receipt; only answers to mutations have one.
        """
        from mallku_contracts.trail.proof import ReceiptBundle  # for those who keep receipts

        if not self.reply:
            raise UnverifiedReply("the answer has no receipt: only answers to mutations have one")
        return ReceiptBundle(self.reply).to_json()


def read_body(body: bytes) -> dict[str, Any] | MallkuError:
    """The fields of a reply's body, or the error in it, as a value.

    Raises:
        UnverifiedReply: it is not the map that a gateway of this version sends.
    """
    try:
        fields = codec.unpack(body, allow_bytes=True)
    except codec.CodecError as error:
        raise UnverifiedReply(f"the reply's body is unreadable: {error}") from None
    if type(fields) is not dict or not ("error" in fields or "result" in fields):
        raise UnverifiedReply("the reply's body holds neither a result nor an error")
    if "error" not in fields:
        return fields
    wire = fields["error"]
    if type(wire) is dict:
        return from_wire(wire)
    return InternalError("the reply's error has another shape than the wire asks for")
