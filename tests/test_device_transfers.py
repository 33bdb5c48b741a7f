"""Files and firmware on the simulated device, chunk by chunk, with the quirks that a Zephyr server has."""

from __future__ import annotations

import hashlib
import random
from functools import partial
from typing import Any

import pytest

from device_bench import Bench, refused
from fieldlog_protocol.commands import Command, Empty, Group, fs, image, os
from fieldlog_protocol.errors import RefusedError
from fieldlog_protocol.image import ImageVersion, build_image, parse_image
from fieldlog_protocol.wire import HEADER_SIZE, encode_body
from fieldlog_sim.port import Buffers

NAME = "/lfs/data.bin"
SIZES = [Buffers(96, 2), Buffers(128, 3), Buffers(384, 4), Buffers(2048, 4)]
NEW = build_image(random.Random(9).randbytes(5000), ImageVersion(2, 0, 0))
OLD = build_image(bytes(3000), ImageVersion(0, 9, 0))


def write(bench: Bench, offset: int, data: bytes, length: int | None = None, name: str = NAME) -> int:
    return bench.ask(fs.WRITE, fs.FileWriteRequest(name=name, off=offset, data=data, len=length)).off


def close(bench: Bench) -> None:
    bench.ask(fs.CLOSE, Empty())


def put(bench: Bench, data: bytes, name: str = NAME, piece: int = 30) -> None:
    close(bench)
    for offset in range(0, max(1, len(data)), piece):
        write(bench, offset, data[offset : offset + piece], None if offset else len(data), name)
    close(bench)


def content(bench: Bench, name: str = NAME) -> bytes:
    read = b""
    size = bench.ask(fs.STATUS, fs.FileStatusRequest(name=name)).len
    while len(read) < size:
        read += bench.ask(fs.READ, fs.FileReadRequest(name=name, off=len(read))).data
    return read


def refusal(bench: Bench, message: fs.FileWriteRequest) -> tuple[int | None, int, object]:
    with pytest.raises(RefusedError) as caught:
        bench.ask(fs.WRITE, message)
    return caught.value.group, caught.value.code, caught.value.details.get("len")


# files


@pytest.mark.parametrize("profile", ["logger", "smp-server"])
@pytest.mark.parametrize("buffers", SIZES, ids=str)
def test_a_chunk_fills_the_buffer_or_ends_the_file(buffers: Buffers, profile: str) -> None:
    bench = Bench(buffers=buffers, profile=profile)
    data = random.Random(1).randbytes(9000)
    put(bench, data)
    read = b""
    while len(read) < len(data):
        chunk = bench.ask(fs.READ, fs.FileReadRequest(name=NAME, off=len(read)))
        assert (chunk.len, chunk.off) == (len(data) if not read else None, len(read))
        read += chunk.data
        length = HEADER_SIZE + len(encode_body(chunk)) + (profile == "smp-server")
        gap = 1 if len(chunk.data) in (23, 255) else 0  # a byte more of data takes two of the reply
        assert buffers.size - gap <= length <= buffers.size or len(read) == len(data)
    assert read == data
    assert bench.ask(fs.READ, fs.FileReadRequest(name=NAME, off=len(data))).data == b""


def test_repeating_the_first_chunk_of_an_open_file_appends() -> None:
    bench = Bench()
    assert write(bench, 0, b"abcd", 100) == 4
    assert write(bench, 0, b"abcd", 100) == 8
    close(bench)
    assert write(bench, 0, b"new", 100) == 3
    assert content(bench) == b"new"


def test_a_chunk_at_a_wrong_offset_is_answered_with_the_length() -> None:
    bench = Bench()
    write(bench, 0, b"abcd", 100)
    assert write(bench, 4, b"efgh") == 8
    for offset in (4, 3, 9, 1000):
        wrong = fs.FileWriteRequest(name=NAME, off=offset, data=b"efgh")
        assert refusal(bench, wrong) == (Group.FS, fs.OFFSET_NOT_VALID, 8)
    assert write(bench, 8, b"ij") == 10, "it goes on where it was"
    assert content(bench) == b"abcdefghij"


def test_an_upload_goes_on_after_a_power_cut() -> None:
    bench = Bench()
    write(bench, 0, b"abcd", 8)
    bench.power_cycle()
    assert content(bench) == b"abcd"
    assert write(bench, 4, b"efgh") == 8
    assert content(bench) == b"abcdefgh"


def test_files_are_replaced_and_kept_apart() -> None:
    bench = Bench()
    put(bench, b"first" * 2000, "a")
    put(bench, b"other", "b")
    put(bench, b"", "a")
    assert (content(bench, "a"), content(bench, "b")) == (b"", b"other")
    bench.power_cycle()
    assert (content(bench, "a"), content(bench, "b")) == (b"", b"other")


def test_refusals_of_the_fs_group() -> None:
    bench = Bench()
    put(bench, b"0123456789")
    put(bench, b"", "empty")
    cases: tuple[tuple[Command[Any, Any], Any, int], ...] = (
        (fs.READ, fs.FileReadRequest(name="none", off=0), fs.NOT_FOUND),
        (fs.READ, fs.FileReadRequest(name="", off=0), fs.INVALID_NAME),
        (fs.READ, fs.FileReadRequest(name=NAME, off=11), fs.OFFSET_LARGER_THAN_FILE),
        (fs.STATUS, fs.FileStatusRequest(name="n" * 65), fs.INVALID_NAME),
        (fs.WRITE, fs.FileWriteRequest(name="x\0y", off=0, data=b"", len=0), fs.INVALID_NAME),
        (fs.WRITE, fs.FileWriteRequest(name="no length", off=0, data=b"x"), fs.OFFSET_NOT_VALID),
        (fs.HASH, fs.FileHashRequest(name=NAME, type="md5"), fs.HASH_NOT_FOUND),
        (fs.HASH, fs.FileHashRequest(name="empty"), fs.FILE_EMPTY),
        (fs.HASH, fs.FileHashRequest(name=NAME, off=10), fs.OFFSET_LARGER_THAN_FILE),
        (fs.HASH, fs.FileHashRequest(name="none"), fs.NOT_FOUND),
    )
    for command, message, code in cases:
        assert bench.refusal(command, message) == (Group.FS, code)
        assert code in command.errors
    assert content(bench) == b"0123456789"


def test_a_full_file_system_refuses_and_keeps_what_it_has() -> None:
    bench = Bench()
    names = [f"file {number}" for number in range(1100)]  # the partition has 1024 sectors, each file takes one
    full = 0
    while (answer := refused(partial(put, bench, names[full].encode(), names[full]))) is None:
        full += 1
    assert answer == (Group.FS, fs.WRITE_FAILED)
    assert 1000 < full < 1100
    close(bench)
    written = names[0].encode()
    while (answer := refused_write(bench, names[0], len(written), b"x" * 900)) is None:
        written += b"x" * 900
    assert answer == (Group.FS, fs.WRITE_FAILED)
    assert 3000 < len(written) < 4096, "what its one sector takes"
    assert content(bench, names[0]) == written
    assert all(content(bench, name) == name.encode() for name in names[1:full:97])


def refused_write(bench: Bench, name: str, offset: int, data: bytes) -> tuple[int | None, int] | None:
    return refused(lambda: bench.ask(fs.WRITE, fs.FileWriteRequest(name=name, off=offset, data=data)))


# images


def upload(bench: Bench, offset: int, data: bytes, **first: object) -> image.ImageUploadResponse:
    return bench.ask(image.UPLOAD, image.ImageUploadRequest(off=offset, data=data, **first))  # type: ignore[arg-type]


def start(bench: Bench, firmware: bytes = NEW, **fields: object) -> image.ImageUploadResponse:
    said: dict[str, object] = {"len": len(firmware), "sha": hashlib.sha256(firmware).digest()} | fields
    return upload(bench, 0, firmware[:1000], **said)


def finish(bench: Bench, firmware: bytes = NEW, offset: int = 1000) -> image.ImageUploadResponse:
    answer = image.ImageUploadResponse(off=offset)
    while answer.off < len(firmware):
        answer = upload(bench, answer.off, firmware[answer.off : answer.off + 1000])
    return answer


def images(bench: Bench) -> dict[int, image.ImageSlot]:
    return {slot.slot: slot for slot in bench.ask(image.STATE_READ, Empty()).images}


def upload_refusal(bench: Bench, **fields: object) -> int:
    """The image group's code for a first chunk with these fields."""
    said: dict[str, object] = {"off": 0, "len": len(NEW), "data": NEW[:1000]} | fields
    message = image.ImageUploadRequest(**{key: value for key, value in said.items() if value is not None})  # type: ignore[arg-type]
    group, code = bench.refusal(image.UPLOAD, message)
    assert group == Group.IMAGE
    assert code in image.UPLOAD.errors
    return code


def test_gaps_and_repeats_are_no_errors() -> None:
    bench = Bench()
    assert upload(bench, 500, NEW[500:600]).off == 0, "nothing has begun"
    assert start(bench).off == 1000
    for offset in (2000, 500, 999, 10**6):
        assert upload(bench, offset, b"x" * 50).off == 1000
    answer = finish(bench)
    assert (answer.off, answer.match) == (len(NEW), True)
    assert images(bench)[1].hash == parse_image(NEW).hash
    assert images(bench)[0].image is None


def test_the_same_sha_resumes_and_another_or_none_restarts() -> None:
    bench = Bench()
    start(bench)
    upload(bench, 1000, NEW[1000:1500])
    assert start(bench).off == 1500
    assert start(bench, OLD).off == 1000
    assert start(bench).off == 1000, "the first one was given up"
    upload(bench, 1000, NEW[1000:1500])
    assert start(bench, sha=None).off == 1000
    answer = finish(bench)
    assert (answer.off, answer.match) == (len(NEW), False), "no sha was said"
    assert start(bench) == image.ImageUploadResponse(off=len(NEW), match=True), "the slot holds it already"


def test_a_restart_forgets_an_upload() -> None:
    bench = Bench()
    start(bench)
    bench.power_cycle()
    assert upload(bench, 1000, NEW[1000:2000]).off == 0
    assert 1 not in images(bench)
    start(bench)
    assert finish(bench).match is True


def test_a_corrupt_upload_does_not_match() -> None:
    bench = Bench()
    start(bench)
    upload(bench, 1000, b"x" * 1000)
    assert finish(bench, offset=2000).match is False


def test_refusals_of_an_upload() -> None:
    bench = Bench()
    assert upload_refusal(bench, data=NEW[:31]) == image.INVALID_IMAGE_HEADER
    assert upload_refusal(bench, data=b"\0" * 40) == image.INVALID_IMAGE_HEADER_MAGIC
    assert upload_refusal(bench, len=None) == image.INVALID_LENGTH
    assert upload_refusal(bench, len=512 * 1024) == image.IMAGE_TOO_LARGE
    assert upload_refusal(bench, sha=b"short") == image.INVALID_HASH
    assert upload_refusal(bench, len=100) == image.IMAGE_DATA_OVERRUN
    old = {"len": len(OLD), "data": OLD[:1000], "upgrade": True}
    assert upload_refusal(bench, **old) == image.CURRENT_VERSION_IS_NEWER
    start(bench, OLD)
    finish(bench, OLD)
    assert str(images(bench)[1].version) == "0.9.0", "without upgrade an older one is taken"


def test_a_slot_that_waits_to_be_swapped_in_is_not_free() -> None:
    bench = Bench()
    start(bench)
    finish(bench)
    bench.ask(image.STATE_WRITE, image.ImageStateRequest(hash=parse_image(NEW).hash, confirm=False))
    assert upload_refusal(bench) == image.NO_FREE_SLOT
    group_and_code = Group.IMAGE, image.NO_FREE_SLOT
    assert bench.refusal(image.ERASE, image.ImageEraseRequest()) == group_and_code
    bench.ask(os.RESET, os.ResetRequest())
    assert bench.refusal(image.ERASE, image.ImageEraseRequest()) == group_and_code, "the former one, to go back to"
    bench.ask(image.STATE_WRITE, image.ImageStateRequest(confirm=True))
    bench.ask(image.ERASE, image.ImageEraseRequest(slot=1))
    assert set(images(bench)) == {0}


def test_an_image_under_test_is_reverted_unless_confirmed() -> None:
    bench = Bench()
    start(bench)
    finish(bench)
    hash_ = parse_image(NEW).hash
    state = bench.ask(image.STATE_WRITE, image.ImageStateRequest(hash=hash_, confirm=False)).images[1]
    assert (state.pending, state.permanent) == (True, False)
    bench.ask(os.RESET, os.ResetRequest())
    assert (images(bench)[0].version, images(bench)[0].confirmed) == ("2.0.0", False)
    bench.power_cycle()
    assert (images(bench)[0].version, images(bench)[0].confirmed) == ("1.0.0", True)
    bench.ask(image.STATE_WRITE, image.ImageStateRequest(hash=hash_, confirm=True))
    bench.ask(os.RESET, os.ResetRequest())
    bench.power_cycle()
    assert (images(bench)[0].version, images(bench)[0].confirmed) == ("2.0.0", True)
    assert bench.info().fw == "2.0.0"


def test_refusals_of_the_image_state() -> None:
    bench = Bench()
    running = images(bench)[0].hash
    for message, code in (
        (image.ImageStateRequest(hash=b"\1" * 32), image.HASH_NOT_FOUND),
        (image.ImageStateRequest(), image.INVALID_HASH),
        (image.ImageStateRequest(hash=running, confirm=False), image.SETTING_TEST_TO_ACTIVE_DENIED),
    ):
        assert bench.refusal(image.STATE_WRITE, message) == (Group.IMAGE, code)
        assert code in image.STATE_WRITE.errors
    bench.ask(image.STATE_WRITE, image.ImageStateRequest(hash=running, confirm=True))
    assert bench.refusal(image.ERASE, image.ImageEraseRequest(slot=0)) == (Group.IMAGE, image.INVALID_SLOT)
    assert bench.refusal(image.ERASE, image.ImageEraseRequest(slot=2)) == (Group.IMAGE, image.INVALID_SLOT)
