"""Uploads to devices that take little at once, say nothing of what they take, or never answer."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fieldlog.flash import FlashOptions, Outcome
from fieldlog_protocol.commands import image, os
from fieldlog_protocol.errors import LinkError
from flash_bench import FlashBench, Told, firmware, install, runs
from flash_lies import Answer, lying, refuse
from virtual_link import LinkKind, VirtualTransport

NEW = firmware("2.0.0", 6000)
HUGE = firmware("2.0.0", 60_000)


def _sized(bench: FlashBench, size: int | None) -> FlashBench:
    """A device that says that its buffers are so large, or nothing of them."""
    return lying(bench, os.PARAMS, lambda _, asked: refuse(8) if size is None else {"buf_size": size, "buf_count": 2})


@pytest.mark.parametrize("size", [None, 93, 100, 110, 65_535])
def test_an_upload_fits_whatever_a_device_says_of_its_buffers(size: int | None) -> None:
    bench, pieces = _sized(FlashBench(), size), list[int]()

    def watch(request: dict[str, Any], asked: Any) -> Answer:
        if not request["off"]:
            pieces.append(len(request["data"]))
        return asked()

    lying(bench, image.UPLOAD, watch)
    assert install(bench, NEW).version == "2.0.0"
    assert min(pieces) >= 32, "MCUboot's header must be in the first piece"
    assert runs(bench) == ("2.0.0", True)


@pytest.mark.parametrize("framing", ["console", "raw"])
def test_buffers_beyond_what_a_message_can_be_are_no_reason_to_fail(framing: str) -> None:
    """The device says 2 GiB, and takes what it takes."""
    bench, huge = _sized(FlashBench(), 1 << 31), firmware("2.0.0", 150_000)
    assert install(bench, huge, kind=LinkKind(framing, baud=None)).version == "2.0.0"


@pytest.mark.parametrize("at", [0, 2000])
def test_a_device_that_answers_all_but_uploads_is_given_up_in_minutes(at: int) -> None:
    bench = FlashBench()
    lying(bench, image.UPLOAD, lambda request, asked: None if request["off"] >= at else asked())
    with pytest.raises(LinkError, match=r"answers, but not to the upload any more.*runs what it ran"):
        install(bench, NEW, kind=LinkKind())
    assert bench.now < 400


def test_an_erase_that_is_never_answered_is_given_up_in_minutes() -> None:
    bench = FlashBench()
    lying(bench, image.ERASE, lambda request, asked: None)
    with pytest.raises(LinkError):
        install(bench, NEW, FlashOptions(erase=True))
    assert bench.now < 240


@pytest.mark.parametrize("framing", ["console", "datagrams", "raw"])
@pytest.mark.parametrize("which", ["first", "last"])
def test_a_lost_first_or_last_piece_costs_seconds(framing: str, which: str) -> None:
    """They may take long, so that waiting for them alone would cost 40 s, or 20."""
    bench, seen = FlashBench(), list[int]()

    def lose_once(request: dict[str, Any], asked: Any) -> Answer:
        at, end = request["off"], request["off"] + len(request["data"])
        if (at == 0) if which == "first" else (end >= len(NEW)):
            seen.append(at)
            return None if len(seen) == 1 else asked()
        return asked()

    lying(bench, image.UPLOAD, lose_once)
    install(bench, NEW, kind=LinkKind(framing, baud=None))
    assert len(seen) > 1
    assert bench.now < 10


def test_what_the_device_holds_already_is_told() -> None:
    bench, told = FlashBench(), Told()
    cut = VirtualTransport(bench, LinkKind(baud=None, deliveries=45))
    with pytest.raises(LinkError):
        install(bench, HUGE, FlashOptions(reconnect_s=0), transport=cut)
    install(bench, HUGE, told=told)
    assert any(re.fullmatch(r"the device holds [1-9]\d? % of it already: going on there", step) for step in told.steps)


def test_an_answer_that_is_misread_in_the_middle_is_not_taken_for_what_the_device_held() -> None:
    bench, told, asked = FlashBench(), Told(), list[int]()

    def flip_once(request: dict[str, Any], asked_for: Any) -> Answer:
        asked.append(request["off"])
        answer: dict[str, Any] = asked_for()
        return answer | ({"off": len(HUGE) - 8} if len(asked) == 4 else {})

    lying(bench, image.UPLOAD, flip_once)
    assert install(bench, HUGE, told=told, kind=LinkKind("raw", latency_s=0.05)).outcome is Outcome.CONFIRMED
    assert len(asked) > 4
    assert not [step for step in told.steps if "already" in step]
