"""The instants of a block's frames: t0 + i * span / (n - 1) in exact fractions, rounded half up, for whatever a header says."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from fieldlog_protocol.blocks.timeline import line_ticks

MOST_FRAMES = 65_535
blocks = st.lists(
    st.tuples(st.integers(0, 2**61), st.integers(0, 2**61), st.integers(1, 300) | st.integers(60_000, MOST_FRAMES)),
    min_size=1,
    max_size=4,
)


def exact(t0: int, span: int, count: int) -> list[int]:
    steps = max(count - 1, 1)
    return [t0 + (2 * i * span + steps) // (2 * steps) for i in range(count)]


@given(blocks)
@example([(0, MOST_FRAMES - 2, MOST_FRAMES)])  # the least below a whole number, again and again
@example([(7, (MOST_FRAMES - 1) // 2, MOST_FRAMES), (2**61, 2**61, MOST_FRAMES), (3, 0, 1)])
@example([(0, (MOST_FRAMES - 1) // 2 - 1, MOST_FRAMES), (0, (MOST_FRAMES - 1) // 2 + 1, MOST_FRAMES - 1)])
def test_instants_lie_on_the_line_to_the_nearest_tick(described: list[tuple[int, int, int]]) -> None:
    t0, span, counts = (np.array(column, np.int64) for column in zip(*described, strict=True))
    span = np.where(counts == 1, 0, span)
    expected = [exact(*block) for block in zip(t0.tolist(), span.tolist(), counts.tolist(), strict=True)]
    assert line_ticks(t0, span, counts).tolist() == [tick for block in expected for tick in block]
