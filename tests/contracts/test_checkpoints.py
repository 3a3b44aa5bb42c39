"""Checkpoints: what holds is believed, and nothing that was bent or contradicts itself."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.envelope import Envelope, token_hash
from mallku_contracts.limits import MAX_CHECKPOINT_BYTES, MAX_CLOCK_SKEW_MS, MAX_NAME_CHARS
from mallku_contracts.tokens import REPLY_AUDIENCE
from mallku_contracts.trail import Verb, about_gateway
from mallku_contracts.trail.checkpoint import (
    MAX_COUNT,
    MAX_COVERED,
    MAX_HEADS,
    MAX_KNOWN_TOKENS,
    MAX_VOID,
    MAX_VOUCHES,
    NO_CHECKPOINT,
    Checkpoint,
    CheckpointError,
    CheckpointHeader,
    CheckpointOpener,
    ForgedCheckpoint,
    Head,
    MalformedCheckpoint,
    Statement,
    UntrustedCheckpoint,
    Vouch,
    checkpoint_signing_input,
    checkpoint_subject,
    open_checkpoint,
    record_leaf,
    seal_checkpoint,
)
from mallku_contracts.trail.merkle import EMPTY_ROOT, leaf_hash
from mallku_contracts.trust import Trust
from tests.vectors.world import CALLER_TOKEN, KEYS, NOW_MS, NOW_S, TRUST, WORKER_TOKEN, packed
from tests.vectors.world import token as make_token

ROOT = bytes(range(32))
HASH = bytes(range(1, 33))
GOOD = Statement("MALLKU_AUDIT", 5, 9, 4, ROOT, (7,), 40)
NOTHING = Statement("MALLKU_AUDIT", 10, 9, 0, EMPTY_ROOT)
VOUCH = Vouch("w-2", 3, 6, 3, ROOT, 77)


def header(**changes: Any) -> CheckpointHeader:
    """The header of the worker's third checkpoint."""
    worker = KEYS["worker"].kid
    good = CheckpointHeader(1, worker, "w-1", 3, NOW_MS, HASH, token_hash(WORKER_TOKEN))
    return replace(good, **changes)


def sealed(statement: Statement = GOOD, **changes: Any) -> Checkpoint:
    """A checkpoint of the worker."""
    return seal_checkpoint(header(**changes), statement, KEYS["worker"], WORKER_TOKEN)


def forged(protected: bytes, body: bytes, *, key: str = "worker") -> bytes:
    """A message whose signature holds, whatever stands in its parts."""
    signature = KEYS[key].sign(checkpoint_signing_input(protected, body))
    return Envelope(protected, body, signature, WORKER_TOKEN).join()


counts = st.integers(1, MAX_COUNT)
hashes = st.binary(min_size=32, max_size=32)
names = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    """Anything that a worker may say."""
    first, covered = draw(st.integers(1, MAX_COUNT // 2)), draw(st.integers(0, 300))
    numbers = st.integers(first, first + covered - 1) if covered else st.nothing()
    void = tuple(sorted(draw(st.sets(numbers, max_size=covered))))
    size = covered - len(void)
    heads = draw(st.dictionaries(names, st.builds(Head, counts, hashes), max_size=3))
    vouches = st.builds(lambda name, root: Vouch(name, 1, 9, 4, root, 5), names, hashes)
    return Statement(
        draw(names),
        first,
        first + covered - 1,
        size,
        draw(hashes) if size else EMPTY_ROOT,
        void,
        draw(counts) if size else 0,
        heads,
        tuple(draw(st.lists(vouches, max_size=3))),
        draw(st.booleans()),
    )


@given(statements())
def test_whatever_is_sealed_opens_again(statement: Statement) -> None:
    """What a worker says is what a reader gets, to the last field."""
    checkpoint = sealed(statement)
    assert open_checkpoint(checkpoint.data, TRUST) == checkpoint
    assert checkpoint.statement == statement


def test_where_it_is_published() -> None:
    """Subject and message id follow from worker and number."""
    checkpoint = sealed()
    assert checkpoint.subject == checkpoint_subject("w-1") == "mallku.v1.checkpoint.w-1"
    assert checkpoint.message_id == "c.w-1.3"
    assert checkpoint.head == Head(3, checkpoint.hash)


def test_the_leaf_of_a_record() -> None:
    """Number and sequence are eight bytes each, big-endian, before the record's hash."""
    entry = (5).to_bytes(8) + (40).to_bytes(8) + HASH
    assert record_leaf(5, 40, HASH) == leaf_hash(entry)


@pytest.mark.parametrize("verb", Verb)
def test_the_gateway_has_subjects_of_its_own(verb: Verb) -> None:
    """Records about the gateway stand where no principal's can."""
    assert str(about_gateway(verb)) == f"mallku.v1.cmd._gateway.mallku_audit.@.{verb}"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_bit_can_be_changed(place: int, mask: int) -> None:
    """Whichever byte is changed, the checkpoint is not believed."""
    data = bytearray(sealed().data)
    data[place % len(data)] ^= mask
    with pytest.raises(CheckpointError):
        open_checkpoint(bytes(data), TRUST)


@given(st.binary(max_size=300))
def test_junk_is_refused_by_its_type(data: bytes) -> None:
    """Bytes that are no checkpoint end in the typed error and no other."""
    with pytest.raises(MalformedCheckpoint):
        open_checkpoint(data, TRUST)


@given(st.binary(max_size=300))
def test_a_signed_body_of_junk_is_refused(body: bytes) -> None:
    """Not even whoever may sign can make a reader stumble over the body."""
    with pytest.raises(MalformedCheckpoint):
        open_checkpoint(forged(header().pack(), body), TRUST)


def test_too_large() -> None:
    """A message above the limit is not looked at; none that large can be made."""
    with pytest.raises(MalformedCheckpoint, match="at most"):
        open_checkpoint(bytes(MAX_CHECKPOINT_BYTES + 1), TRUST)


def test_the_largest_fits() -> None:
    """All that one may say at once, with the longest numbers and names, is within the limit."""
    name = "w" * (MAX_NAME_CHARS - 4)
    first = MAX_COUNT - MAX_COVERED
    void = tuple(range(first, first + MAX_VOID))
    statement = Statement(
        name,
        first,
        first + MAX_COVERED - 1,
        MAX_COVERED - MAX_VOID,
        ROOT,
        void,
        MAX_COUNT,
        {f"{name}{number:04}": Head(MAX_COUNT, HASH) for number in range(MAX_HEADS)},
        (Vouch(name, 2**40, MAX_COUNT, 2**33, ROOT, MAX_COUNT),) * MAX_VOUCHES,
    )
    token = make_token(
        principal="w" * MAX_NAME_CHARS,
        audience=REPLY_AUDIENCE,
        key=KEYS["worker"].public,
        roles=frozenset(f"{number:02}" + "r" * (MAX_NAME_CHARS - 2) for number in range(32)),
        token_id="t" * 128,
    )
    ath = token_hash(token)
    checkpoint = seal_checkpoint(header(ath=ath), statement, KEYS["worker"], token)
    assert open_checkpoint(checkpoint.data, TRUST) == checkpoint


def test_another_key_is_not_believed() -> None:
    """A valid key that the token does not name signs nothing in the worker's name."""
    protected, body = header().pack(), GOOD.pack()
    with pytest.raises(ForgedCheckpoint, match="signature"):
        open_checkpoint(forged(protected, body, key="caller"), TRUST)
    borrowed = header(kid=KEYS["caller"].kid).pack()
    with pytest.raises(ForgedCheckpoint, match="another key"):
        open_checkpoint(forged(borrowed, body, key="caller"), TRUST)


def test_another_token_is_not_believed() -> None:
    """The token is the one that was signed, and not another good one of the same worker."""
    renewed = make_token(
        audience=REPLY_AUDIENCE, principal="worker", key=KEYS["worker"].public, token_id="other"
    )
    parts = Envelope.split(sealed().data)
    with pytest.raises(ForgedCheckpoint, match="another token"):
        open_checkpoint(replace(parts, token=renewed).join(), TRUST)


def test_a_callers_token_is_no_workers() -> None:
    """A caller, whose token was made for commands, cannot make a checkpoint."""
    ath = token_hash(CALLER_TOKEN)
    caller = KEYS["caller"]
    checkpoint = seal_checkpoint(header(kid=caller.kid, ath=ath), GOOD, caller, CALLER_TOKEN)
    with pytest.raises(UntrustedCheckpoint, match="aud"):
        open_checkpoint(checkpoint.data, TRUST)


def test_an_unknown_issuer_is_not_believed() -> None:
    """Whoever trusts another issuer believes none of it."""
    with pytest.raises(UntrustedCheckpoint, match="kid"):
        open_checkpoint(sealed().data, Trust.of("elsewhere", KEYS["stranger"].public))


def test_the_token_is_judged_at_the_checkpoints_own_time() -> None:
    """An old checkpoint stays good for ever; one signed after its token's end never was."""
    opener = CheckpointOpener(TRUST)
    good, over = sealed(), sealed(time=(NOW_S + 3_540) * 1_000 + MAX_CLOCK_SKEW_MS)
    for _ in range(2):  # the second time the token is known
        assert opener.believe(good.data) == good
        with pytest.raises(UntrustedCheckpoint, match="exp"):
            opener.believe(over.data)


def test_known_tokens_are_bounded() -> None:
    """An opener that sees many workers forgets the oldest token, and still opens all of them."""
    opener, worker = CheckpointOpener(TRUST), KEYS["worker"]
    checkpoints = []
    for number in range(MAX_KNOWN_TOKENS + 2):
        token = make_token(
            audience=REPLY_AUDIENCE, key=worker.public, principal="worker", token_id=str(number)
        )
        checkpoints.append(seal_checkpoint(header(ath=token_hash(token)), GOOD, worker, token))
    for checkpoint in (*checkpoints, checkpoints[0]):
        assert opener.believe(checkpoint.data) == checkpoint
    assert len(opener._known) == MAX_KNOWN_TOKENS


HEADERS: dict[str, dict[str, Any]] = {
    "version 2": {"v": 2},
    "version true": {"v": True},
    "no number": {"number": 0},
    "a number too high": {"number": MAX_COUNT + 1},
    "a number that is true": {"number": True},
    "a time below zero": {"time": -1},
    "a worker with a dot": {"worker": "w.1"},
    "no worker": {"worker": ""},
    "a former hash that is short": {"previous": HASH[:-1]},
    "a token hash that is short": {"ath": HASH[:-1]},
    "a former hash in the first": {"number": 1},
    "no former hash in the third": {"previous": NO_CHECKPOINT},
}


@pytest.mark.parametrize("changes", HEADERS.values(), ids=HEADERS)
def test_headers_that_are_refused(changes: dict[str, Any]) -> None:
    """Neither is one sealed with such a header, nor is it opened."""
    wrong = header(**changes)
    with pytest.raises(MalformedCheckpoint):
        open_checkpoint(forged(wrong.pack(), GOOD.pack()), TRUST)
    with pytest.raises(MalformedCheckpoint):
        seal_checkpoint(wrong, GOOD, KEYS["worker"], WORKER_TOKEN)


@pytest.mark.parametrize("name", [entry.name for entry in fields(CheckpointHeader)])
def test_a_header_has_all_fields(name: str) -> None:
    """None may be missing, and none may be there that is unknown."""
    values = asdict(header())
    del values[name]
    for wrong in (values, {**asdict(header()), "more": 1}):
        with pytest.raises(MalformedCheckpoint):
            open_checkpoint(forged(packed(wrong), GOOD.pack()), TRUST)


STATEMENTS: dict[str, Statement] = {
    "a stream with a dot": replace(GOOD, stream="a.b"),
    "from zero": replace(GOOD, first=0, size=9),
    "backwards": replace(NOTHING, first=12),
    "too many numbers": replace(GOOD, first=1, last=MAX_COVERED + 1, size=MAX_COVERED, void=(1,)),
    "above the highest number": replace(GOOD, first=MAX_COUNT, last=MAX_COUNT + 1, size=1),
    "void that is not covered": replace(GOOD, void=(10,)),
    "void before the first": replace(GOOD, void=(4,)),
    "void that descends": replace(GOOD, void=(8, 7), size=3),
    "void twice": replace(GOOD, void=(7, 7), size=3),
    "void that is true": replace(GOOD, first=1, last=2, void=(True,), size=1),
    "more leaves than numbers": replace(GOOD, size=5),
    "fewer leaves than numbers": replace(GOOD, size=3),
    "leaves without sequence": replace(GOOD, sequence=0),
    "a sequence without leaves": replace(NOTHING, sequence=1),
    "a root without leaves": replace(NOTHING, root=ROOT),
    "a root that is short": replace(GOOD, root=ROOT[:-1]),
    "a sequence too high": replace(GOOD, sequence=MAX_COUNT + 1),
    "a head without a name": replace(GOOD, heads={"": Head(1, HASH)}),
    "a head without a number": replace(GOOD, heads={"w": Head(0, HASH)}),
    "a head whose hash is short": replace(GOOD, heads={"w": Head(1, HASH[:-1])}),
    "too many heads": replace(GOOD, heads={f"w{n}": Head(1, HASH) for n in range(MAX_HEADS + 1)}),
    "too many vouches": replace(GOOD, vouches=(VOUCH,) * (MAX_VOUCHES + 1)),
    "a vouch for nobody": replace(GOOD, vouches=(replace(VOUCH, worker=""),)),
    "a vouch with more leaves": replace(GOOD, vouches=(replace(VOUCH, size=5),)),
    "a vouch with less than none": replace(GOOD, vouches=(replace(VOUCH, size=-1),)),
    "a vouch from zero": replace(GOOD, vouches=(replace(VOUCH, first=0),)),
    "a vouch without sequence": replace(GOOD, vouches=(replace(VOUCH, sequence=0),)),
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_statements_that_are_refused(statement: Statement) -> None:
    """What contradicts itself is not sealed, nor opened where its worker signed it."""
    with pytest.raises(MalformedCheckpoint, match="body"):
        open_checkpoint(forged(header().pack(), statement.pack()), TRUST)
    with pytest.raises(MalformedCheckpoint, match="body"):
        sealed(statement)


VALUES: dict[str, dict[str, Any]] = {
    "a missing field": {"root": None},
    "an unknown field": {"more": 1},
    "a number for a list": {"void": 7},
    "a text among the void": {"void": ["7"]},
    "a float": {"sequence": 40.0},
    "a number for true": {"final": 1},
    "heads as a list": {"heads": []},
    "a head as a number": {"heads": {"w": 1}},
    "a head of three": {"heads": {"w": [1, HASH, 1]}},
    "a vouch as a list": {"vouches": [[1]]},
    "a vouch with a field too many": {"vouches": [{**asdict(VOUCH), "void": []}]},
    "a vouch whose worker is bytes": {"vouches": [{**asdict(VOUCH), "worker": b"w"}]},
}


@pytest.mark.parametrize("changes", VALUES.values(), ids=VALUES)
def test_values_of_another_type_are_refused(changes: dict[str, Any]) -> None:
    """Every field has its one type, and no field is missing or unknown."""
    values = {**asdict(GOOD), "void": [7], "vouches": [], **changes}
    body = packed({name: value for name, value in values.items() if value is not None})
    with pytest.raises(MalformedCheckpoint, match="body"):
        open_checkpoint(forged(header().pack(), body), TRUST)
