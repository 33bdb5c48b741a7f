"""Marks whose answer is lost, refused, too long or a lie: what is said of the device is what can be known of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fieldlog.flash import FlashOptions, Outcome
from fieldlog_protocol.commands import image
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import LinkError, ProtocolError, RefusedError, VerificationError
from flash_bench import FlashBench, firmware, install, runs, slots, upload
from flash_lies import Answer, lying, refuse

NEW = firmware("2.0.0")


def _done_but_not_told(asked: Any) -> Answer:
    asked()
    return {}


def _done_but_too_long(asked: Any) -> Answer:
    asked()
    return refuse(Rc.MESSAGE_SIZE)


def test_a_mark_that_was_perhaps_set_is_not_said_to_be_missing() -> None:
    bench = lying(FlashBench(), image.STATE_WRITE, lambda _, asked: _done_but_not_told(asked))
    with pytest.raises(ProtocolError, match=r"2\.0\.0 is on it, and may be marked.*Repeat the command") as told:
        install(bench, NEW)
    assert "Nothing was installed" not in str(told.value)
    assert slots(bench)[1].pending


def test_a_mark_that_is_never_answered_was_perhaps_set() -> None:
    bench = lying(FlashBench(), image.STATE_WRITE, lambda _, asked: None)
    with pytest.raises(LinkError, match="may be marked"):
        install(bench, NEW)


def test_a_mark_that_is_refused_was_not_set() -> None:
    bench = lying(FlashBench(), image.STATE_WRITE, lambda _, asked: refuse(28, 1))
    with pytest.raises(RefusedError, match="Nothing was installed: the device runs what it ran"):
        install(bench, NEW)
    bench = FlashBench()
    upload(bench, NEW)
    lying(bench, image.STATE_WRITE, lambda _, asked: refuse(image.HASH_NOT_FOUND, 1))
    with pytest.raises(RefusedError, match="Nothing was installed: the device runs what it ran"):
        install(bench, NEW)


def test_answers_to_marks_that_do_not_fit_the_buffers_are_looked_up() -> None:
    """The device does what it is asked, and then finds no room for the new list."""
    bench = lying(FlashBench(), image.STATE_WRITE, lambda _, asked: _done_but_too_long(asked))
    assert install(bench, NEW).outcome is Outcome.CONFIRMED
    assert runs(bench) == ("2.0.0", True)


def _yes() -> Answer:
    return {"images": []}


def _unknown() -> Answer:
    return refuse(Rc.NOT_SUPPORTED)


@pytest.mark.parametrize("answer", [_yes, _unknown])
def test_a_mark_that_the_device_never_lists_is_not_blamed_on_the_image(answer: Callable[[], Answer]) -> None:
    bench = lying(FlashBench(), image.STATE_WRITE, lambda _, asked: answer())
    with pytest.raises(
        VerificationError, match=r"2\.0\.0 is on the device but was not started.*never listed it as marked"
    ):
        install(bench, NEW, FlashOptions(return_s=30))
    assert runs(bench) == ("1.0.0", True)
