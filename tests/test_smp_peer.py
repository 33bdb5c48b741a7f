"""The stock commands, errors and console framing against another implementation of SMP, the PyPI package `smp`."""

# pyright: reportMissingTypeStubs=false, reportPrivateUsage=false

from __future__ import annotations

import random
from typing import Any

import cbor2
import pytest
import smp.enumeration_management
import smp.file_management
import smp.image_management
import smp.os_management
import smp.settings_management
import smp.shell_management
import smp.statistics_management
import smp.zephyr_management
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st
from smp import error, message, packet

from fieldlog_protocol.commands import Op, image, os, settings
from fieldlog_protocol.error_texts import GROUP_TEXTS, RC_TEXTS, Rc
from fieldlog_protocol.errors import RefusedError
from fieldlog_protocol.framing import ConsoleFraming
from fieldlog_protocol.wire import Packet, decode_body, decode_map, decode_packet, decode_reply, encode_error
from golden_stock import STOCK, Golden

MODULES = (
    smp.enumeration_management,
    smp.file_management,
    smp.image_management,
    smp.os_management,
    smp.settings_management,
    smp.shell_management,
    smp.statistics_management,
    smp.zephyr_management,
)
# not in smp 4.2: echo as a read, slot info, what to save; its boot loader reply nests the answer, which no server does,
# and its reply to a state write bears the operation of a read
NOT_IN_SMP = {os.ECHO_READ.key, image.SLOT_INFO.key}
REQUESTS_NOT_IN_SMP = NOT_IN_SMP | {settings.SAVE.key}
REPLIES_NOT_IN_SMP = NOT_IN_SMP | {os.BOOTLOADER.key, image.STATE_WRITE.key}


def _types() -> list[type[Any]]:
    return [value for module in MODULES for value in vars(module).values() if isinstance(value, type)]


def _classes(base: type[Any]) -> dict[tuple[int, int, int], type[Any]]:
    """smp's message classes of one base by (op, group, id)."""
    return {
        (class_._OP, class_._GROUP_ID, class_._COMMAND_ID): class_
        for class_ in _types()
        if issubclass(class_, base) and hasattr(class_, "_COMMAND_ID")
    }


def _error_classes() -> list[tuple[int, type[Any]]]:
    """(group, enumeration of its codes) for every group that smp knows errors of."""
    return [(type_._GROUP_ID, type_) for type_ in _types() if type_.__name__.endswith("ManagementErrorV2")]


def _assert_same_message(data: bytes, theirs: type[Any]) -> bytes:
    """smp reads `data` whole, and writes a message of the same content; that one is returned."""
    read = theirs.loads(data)
    fields = read.model_dump(exclude={"header", "version", "sequence", "smp_data"}, exclude_unset=True)
    written = bytes(theirs(**fields, sequence=read.sequence))
    ours, back = decode_packet(data), decode_packet(written)
    assert (back.op, back.version, back.key) == (ours.op, 1, ours.key)
    assert decode_map(back.payload) == decode_map(ours.payload)
    return back.payload


def _id(golden: Golden) -> str:
    return f"{golden.command.name}-{golden.sequence}"


def _is_stock(golden: Golden) -> bool:
    """Not a write that names the settings transaction it belongs to: that key is fieldlog's own."""
    return not (isinstance(golden.request, settings.SettingWriteRequest) and golden.request.t is not None)


_REQUESTS = [golden for golden in STOCK if golden.command.key not in REQUESTS_NOT_IN_SMP and _is_stock(golden)]


@pytest.mark.parametrize("golden", _REQUESTS, ids=_id)
def test_requests_agree(golden: Golden) -> None:
    theirs = _classes(message.Request)[golden.command.key]
    payload = _assert_same_message(bytes.fromhex(golden.request_hex), theirs)
    assert decode_body(payload, golden.command.request) == golden.request


@pytest.mark.parametrize("golden", [g for g in STOCK if g.command.key not in REPLIES_NOT_IN_SMP], ids=_id)
def test_responses_agree(golden: Golden) -> None:
    op, group, id_ = golden.command.key
    classes = _classes(message.ReadResponse) | _classes(message.WriteResponse)
    payload = _assert_same_message(bytes.fromhex(golden.response_hex), classes[op + 1, group, id_])
    assert decode_reply(payload, golden.command) == golden.response


def test_every_command_that_smp_knows_is_in_the_table() -> None:
    assert set(_classes(message.Request)) == {golden.command.key for golden in STOCK} - NOT_IN_SMP


def test_codes_of_the_protocol_agree() -> None:
    codes = {code.value for code in error.MGMT_ERR} - {error.MGMT_ERR.EPERUSER}
    assert codes == set(RC_TEXTS) == {code.value for code in Rc}


@pytest.mark.parametrize(("group", "theirs"), _error_classes(), ids=str)
def test_codes_of_groups_have_texts_and_are_read_by_both(group: int, theirs: type[Any]) -> None:
    codes = {code.value for code in theirs.model_fields["err"].annotation.model_fields["rc"].annotation}
    assert codes - {0, 1} <= set(GROUP_TEXTS[group])
    command = next(golden.command for golden in STOCK if golden.command.group == group)
    for code in codes - {0}:
        reply = Packet(Op.READ_REPLY, 1, group, 0, 9, encode_error(1, code, group))
        read = theirs.loads(reply.encode())
        assert (read.err.group, read.err.rc) == (group, code)
        with pytest.raises(RefusedError) as refused:
            decode_reply(cbor2.dumps(read.model_dump(include={"err"})), command)
        assert (refused.value.group, refused.value.code) == (group, code)


def _decoded_by_smp(stream: bytes) -> bytes:
    decoder = packet.decode()
    next(decoder)
    for line in stream.splitlines(keepends=True):
        try:
            decoder.send(line)
        except StopIteration as end:
            return bytes(end.value)
    raise AssertionError("smp wants more lines")


SIZES = st.integers(8, 4000) | st.integers(84, 100) | st.integers(176, 192)


@rules(deadline=None)
@given(size=SIZES, seed=st.integers(0, 2**32 - 1), line=st.sampled_from([8, 127, 128, 512, 1024]))
def test_console_frames_agree_both_ways(size: int, seed: int, line: int) -> None:
    sent = random.Random(seed).randbytes(size)
    assert _decoded_by_smp(ConsoleFraming().encode(sent)) == sent
    framing = ConsoleFraming()
    assert framing.feed(b"".join(packet.encode(sent, line)), 0.0) == [sent]
    assert framing.dropped == 0
