"""The deployment's metadata: a blob of texts, cut into events for the log and put together again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog_protocol.blocks.events import (
    Mark,
    Metadata,
    SessionStart,
    TimedEvent,
    decode_events,
    encode_events,
    event_payloads,
)
from fieldlog_protocol.blocks.metadata import decode_metadata, encode_metadata, last_metadata, metadata_events
from fieldlog_protocol.errors import BlockError

TEXTS = st.dictionaries(st.text(max_size=12), st.text(max_size=60), max_size=8)
SMALL_BLOCK = 256 - 48


@given(TEXTS, st.sampled_from([SMALL_BLOCK, 512 - 48, 1024 - 48]))
def test_texts_travel_through_a_log_of_any_block_size(texts: dict[str, str], room: int) -> None:
    blob = encode_metadata(texts)
    written = [TimedEvent(5, event) for event in (SessionStart(1, "x" * 32), *metadata_events(blob, room))]
    payloads = event_payloads(written, room)
    assert all(0 < len(payload) <= room for payload in payloads)
    read = [timed for payload in payloads for timed in decode_events(payload)]
    assert read == written
    found = last_metadata(timed.event for timed in read)
    assert found is not None
    assert decode_metadata(found) == texts


def test_events_share_a_block_as_long_as_it_has_room() -> None:
    events = [TimedEvent(tick, Mark("y" * 90)) for tick in range(5)]
    assert [len(decode_events(payload)) for payload in event_payloads(events, SMALL_BLOCK)] == [2, 2, 1]
    assert event_payloads(events, 10) == [encode_events([event]) for event in events], "each at least by itself"


def test_the_last_that_is_whole_counts() -> None:
    first, second = metadata_events(b"first", 100), metadata_events(bytes(150), SMALL_BLOCK - 80)
    assert len(second) == 2
    assert last_metadata([*first, *second]) == bytes(150)
    assert last_metadata([*first, second[0], Mark("power lost")]) == b"first"
    assert last_metadata([*first, second[1]]) == b"first"
    assert last_metadata([second[0], *first, second[1]]) == b"first"
    assert last_metadata([*first, *metadata_events(b"", 100)]) == b"", "none any more"
    assert last_metadata([Mark("nothing of the kind"), Metadata(0, 0, b"x"), Metadata(2, 1, b"x")]) is None


@pytest.mark.parametrize(
    "blob", [b"\xff", b"\x01", b"\x81\x01", b"\xa1\x01\x61a", b"\xa1\x61a\x01", b"\xa0\xa0", b"\x5f" * 900]
)
def test_what_is_no_map_of_texts_is_a_block_error(blob: bytes) -> None:
    with pytest.raises(BlockError):
        decode_metadata(blob)
