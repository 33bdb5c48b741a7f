"""What is said of lists of images, and of refusals that have to do with them."""

from __future__ import annotations

import pytest

from fieldlog.image_words import next_restart
from fieldlog_protocol.commands import Empty, image
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import RefusedError
from fieldlog_sim.boot_config import BootConfig
from flash_bench import FlashBench, firmware, install, mark, restart, upload
from flash_lies import lying, refuse

NEW = firmware("2.0.0")


def told(bench: FlashBench) -> list[str]:
    return next_restart(bench.ask(image.STATE_READ, Empty()).images)


def test_what_the_next_restart_does() -> None:
    bench = FlashBench()
    assert told(bench) == []
    upload(bench, NEW)
    assert told(bench) == []
    mark(bench, NEW)
    assert told(bench) == ["2.0.0 waits in slot 1: the next restart starts it on trial"]
    restart(bench)
    assert [words.split(":")[0] for words in told(bench)] == ["2.0.0 runs on trial"]
    restart(bench)
    assert told(bench) == []
    mark(bench, NEW, permanent=True)
    assert told(bench) == ["2.0.0 waits in slot 1: the next restart starts it for good"]
    restart(bench)
    assert told(bench) == []


def test_of_several_images_it_is_told_which() -> None:
    bench = FlashBench(BootConfig(images=2))
    upload(bench, NEW)
    mark(bench, NEW)
    assert told(bench) == ["image 0: 2.0.0 waits in slot 1: the next restart starts it on trial"]


def test_a_list_that_does_not_fit_comes_with_a_way_out() -> None:
    bench = lying(FlashBench(), image.STATE_READ, lambda _, asked: refuse(Rc.MESSAGE_SIZE))
    with pytest.raises(RefusedError, match=r"does not fit its buffers.*needs larger buffers") as refused:
        install(bench, NEW)
    assert (refused.value.code, refused.value.group) == (Rc.MESSAGE_SIZE, None)
