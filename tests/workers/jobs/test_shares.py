"""What one principal may hold of a stream that is getting full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mallku_broker.filling import Filling
from mallku_contracts.errors import GatewayUnreachable
from mallku_contracts.limits import KIB
from mallku_workers.jobs.shares import LOOK_EVERY_S, OVERHEAD_BYTES, SPREAD, Shares

MOST = 1_024 * KIB
SHARE = 0.25


class Stream:
    """A stream with messages of several principals, and a clock."""

    def __init__(self, held: int = 0) -> None:
        self.held = held
        self.counts: dict[str, int] = {}
        self.looks = 0
        self.now_s = 0.0
        self.answers = True

    async def filling(self, stream: str) -> Filling:
        """How full it is."""
        self.looks += 1
        if not self.answers:
            raise GatewayUnreachable("nobody")
        return Filling(self.held, MOST)

    async def count(self, stream: str, subjects: str) -> int:
        """Messages of a principal."""
        return self.counts.get(subjects, 0)

    def shares(self) -> Shares:
        """With a quarter for each."""
        return Shares(self, SHARE, lambda: self.now_s)


async def test_half_a_stream_is_free_for_all() -> None:
    """Whoever holds however much: nobody is held to a share before it is half full."""
    stream = Stream(held=MOST // 2 - 1)
    stream.counts["eve"] = 10_000
    assert not await stream.shares().beyond("S", "eve", MOST)
    stream.held += 1
    assert await stream.shares().beyond("S", "eve", 1)
    assert not await stream.shares().beyond("S", "ada", 1)


async def put(stream: Stream, shares: Shares, held: list[int], size: int) -> None:
    """Try to put one more message of a principal there."""
    if not await shares.beyond("S", "eve", size):
        held.append(size + OVERHEAD_BYTES)
        stream.counts["eve"] = len(held)


@given(st.lists(st.tuples(st.integers(0, 128 * KIB), st.booleans(), st.booleans()), max_size=300))
async def test_what_is_let_in_is_never_more_than_the_share(
    acts: list[tuple[int, bool, bool]],
) -> None:
    """Sizes in any order, some gone again, within one look or many: the sum is within the share."""
    stream = Stream(held=MOST // 2)
    shares, held = stream.shares(), list[int]()
    for size, goes, looks in acts:
        await put(stream, shares, held, size)
        if looks:
            if goes and held:
                del held[size % len(held)]
                stream.counts["eve"] = len(held)
            stream.now_s += LOOK_EVERY_S
        assert sum(held) <= SHARE * MOST


async def test_the_worst_mix_of_sizes_gets_no_more_than_the_share() -> None:
    """Each message as large as is let in at its turn, until nothing is let in any more."""
    stream = Stream(held=MOST // 2)
    shares, held = stream.shares(), list[int]()
    for count in range(1, 400):
        await put(stream, shares, held, max(int(SHARE * MOST / SPREAD / count) - OVERHEAD_BYTES, 0))
    assert SHARE * MOST * 0.3 < sum(held) <= SHARE * MOST


async def test_nobody_is_refused_where_nobody_answers() -> None:
    """A server that is away refuses no job, and is not asked for each of them."""
    stream = Stream(held=MOST)
    stream.counts["eve"], stream.answers = 10_000, False
    shares = stream.shares()
    assert not await shares.beyond("S", "eve", 1)
    assert not await shares.beyond("S", "eve", 1)
    assert stream.looks == 1
    stream.answers, stream.now_s = True, LOOK_EVERY_S
    assert await shares.beyond("S", "eve", 1)
