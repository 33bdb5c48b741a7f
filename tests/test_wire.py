"""Headers, CBOR bodies and error replies: what is read and what is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st

from fieldlog_protocol.commands import (
    Command,
    Empty,
    Group,
    Message,
    Op,
    enum,
    fs,
    image,
    logger,
    os,
    settings,
    shell,
    stat,
)
from fieldlog_protocol.error_texts import GROUP_TEXTS, RC_TEXTS, error_text
from fieldlog_protocol.errors import ProtocolError, RefusedError, UsageError
from fieldlog_protocol.wire import (
    HEADER_SIZE,
    Packet,
    decode_body,
    decode_map,
    decode_packet,
    decode_reply,
    encode_body,
    encode_error,
    iter_packets,
    known_codes,
    message_length,
    refusal,
)

ECHO_BYTES = bytes.fromhex("0a00000600004200 a16164626869")
PARAMS_BYTES = bytes.fromhex("0800000100000706 a0")

# the codes of docs/smp.md#errors, group by group; 0 and 1 mean the same everywhere
CODES: dict[int, range] = {
    Group.OS: range(2, 8),
    Group.IMAGE: range(2, 35),
    Group.STAT: range(2, 6),
    Group.SETTINGS: range(2, 9),
    Group.FS: range(2, 18),
    Group.SHELL: range(2, 4),
    Group.ENUM: range(2, 5),
    Group.TRANSPORT: range(2, 18),
    Group.BASIC: range(2, 5),
    Group.LOGGER: range(2, 18),
}
ALL_CODES = [(group, code) for group, codes in CODES.items() for code in (1, *codes)]


# headers


def test_header_fields_stand_where_smp_puts_them() -> None:
    assert decode_packet(ECHO_BYTES) == Packet(Op.WRITE, 1, 0, 0, 0x42, bytes.fromhex("a16164626869"))
    assert decode_packet(PARAMS_BYTES) == Packet(Op.READ, 1, 0, 6, 7, b"\xa0")
    v1 = decode_packet(bytes.fromhex("01 00 0001 0102 ff 03 a0"))
    assert v1 == Packet(Op.READ_REPLY, 0, 0x0102, 3, 0xFF, b"\xa0")


packets = st.builds(
    Packet,
    st.sampled_from(Op),
    st.integers(0, 3),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFF),
    st.integers(0, 0xFF),
    st.binary(max_size=40),
)


@rules(deadline=None)
@given(sent=st.lists(packets, max_size=4))
def test_messages_back_to_back_round_trip(sent: list[Packet]) -> None:
    assert list(iter_packets(b"".join(packet.encode() for packet in sent))) == sent


@pytest.mark.parametrize("cut", range(1, len(ECHO_BYTES)))
def test_a_message_cut_short_or_followed_by_more_is_refused(cut: int) -> None:
    for data in (ECHO_BYTES[:cut], ECHO_BYTES + ECHO_BYTES[:cut]):
        with pytest.raises(ProtocolError):
            decode_packet(data)


def test_the_messages_before_a_torn_one_are_still_given_out() -> None:
    messages = iter_packets(ECHO_BYTES + PARAMS_BYTES + b"\x0a\x00")
    assert [next(messages).sequence, next(messages).sequence] == [0x42, 7]
    with pytest.raises(ProtocolError, match="too few"):
        next(messages)


@pytest.mark.parametrize("data", [b"", ECHO_BYTES * 2])
def test_not_exactly_one_message(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="where one belongs"):
        decode_packet(data)


@pytest.mark.parametrize("op", [4, 5, 6, 7])
def test_operations_that_do_not_exist(op: int) -> None:
    with pytest.raises(ProtocolError, match=f"operation {op}"):
        decode_packet(bytes([8 | op]) + ECHO_BYTES[1:])


@pytest.mark.parametrize("changed", [{"group": 0x10000}, {"id": 256}, {"sequence": -1}, {"payload": bytes(0x10000)}])
def test_a_packet_that_no_header_can_describe_is_a_usage_error(changed: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"op": Op.READ, "version": 1, "group": 0, "id": 0, "sequence": 0, "payload": b"\xa0"}
    with pytest.raises(UsageError):
        Packet(**fields | changed).encode()


def test_message_length_is_known_from_the_fourth_byte_on() -> None:
    assert [message_length(ECHO_BYTES[:size]) for size in range(6)] == [None, None, None, None, 14, 14]
    assert message_length(bytearray(b"\x00\x00\xff\xff")) == HEADER_SIZE + 0xFFFF


# bodies


def test_indefinite_length_maps_and_lists_are_read_as_zephyr_sends_them() -> None:
    payload = bytes.fromhex(
        "bf 66 696d61676573 9f bf 64 736c6f74 00 67 76657273696f6e 7f 63 312e32 62 2e33 ff ff ff ff"
    )
    slot = image.ImageSlot(slot=0, version="1.2.3")
    assert decode_reply(payload, image.STATE_READ) == image.ImageStateResponse(images=(slot,))
    assert decode_reply(b"\xbf\xff", os.RESET) == Empty()


def test_keys_that_nobody_declared_are_ignored() -> None:
    body = {"r": "hi", "new": {"nested": [1, 2]}, "rc": 0}
    assert decode_reply(cbor2.dumps(body), os.ECHO) == os.EchoResponse(r="hi")
    slot = {"slot": 0, "version": "1", "colour": "blue"}
    assert decode_reply(cbor2.dumps({"images": [slot]}), image.STATE_READ).images[0].version == "1"


def test_fields_that_are_none_are_left_out_and_false_and_zero_are_not() -> None:
    assert encode_body(logger.InfoRequest()) == b"\xa0"
    assert decode_map(encode_body(logger.InfoRequest(p=0))) == {"p": 0}
    assert decode_map(encode_body(image.ImageStateRequest(confirm=False))) == {"confirm": False}


def test_pools_are_the_map_itself_with_or_without_rc() -> None:
    pool = os.PoolInfo(blksiz=64, nblks=32, nfree=9, min=4)
    body = {"heap": {"blksiz": 64, "nblks": 32, "nfree": 9, "min": 4}}
    for extra in ({}, {"rc": 0}):
        reply = decode_reply(cbor2.dumps(body | extra), os.MPSTAT)
        assert reply == os.MpstatResponse(pools={"heap": pool})
    with pytest.raises(RefusedError):
        decode_reply(cbor2.dumps(body | {"rc": 8}), os.MPSTAT)


def _tasks(prios: list[int], *, definite: bool) -> bytes:
    """Threads named by their priority, as Zephyr names them where it keeps no names."""
    body = b"".join(cbor2.dumps(str(prio)) + cbor2.dumps({"prio": prio, "tid": 1, "state": 2}) for prio in prios)
    head = bytes([0xA0 + len(prios)]) if definite else b"\xbf"
    return b"\xbf\x62rc\x00\x65tasks" + head + body + (b"\xff" if definite else b"\xff\xff")


def _cut_short(at: int) -> bytes:
    return _tasks([7, 7], definite=True)[:at]


@pytest.mark.parametrize("definite", [False, True])
def test_tasks_that_share_a_name_are_all_told(definite: bool) -> None:
    found = decode_reply(_tasks([7, -1, 7, 7], definite=definite), os.TASKSTAT).tasks
    assert {name: task.prio for name, task in found.items()} == {"7": 7, "-1": -1, "7 (2)": 7, "7 (3)": 7}


@pytest.mark.parametrize("command", [os.TASKSTAT, os.MPSTAT], ids=lambda command: command.name)
@rules(deadline=None)
@given(payload=st.binary(max_size=60) | st.integers(0, 60).map(_cut_short))
def test_tasks_are_refused_as_other_messages_are(command: Command[Any, Any], payload: bytes) -> None:
    with contextlib.suppress(ProtocolError, RefusedError):
        decode_reply(payload, command)


@pytest.mark.parametrize("wrapper", ["mpools", "tasks"])
def test_pools_may_lie_in_a_map_of_their_own_and_tell_no_size(wrapper: str) -> None:
    """Mynewt (smp_os.c) and Zephyr's pull request 119769; Zephyr's issues 105317 and 119748, its pull request 107251."""
    told = {"nblks": 316, "nfree": 315, "min": 300}
    pools = {
        "0": os.PoolInfo(nblks=316, nfree=315, min=300),
        "1": os.PoolInfo(blksiz=64, nblks=316, nfree=315, min=300),
    }
    inner = {"0": told, "1": told | {"blksiz": 64}}
    for body in (inner, {wrapper: inner}, {"rc": 0, wrapper: inner}):
        assert decode_reply(cbor2.dumps(body), os.MPSTAT) == os.MpstatResponse(pools=pools)
    assert decode_reply(cbor2.dumps({wrapper: {}}), os.MPSTAT) == os.MpstatResponse(pools={})
    assert decode_reply(cbor2.dumps({wrapper: told}), os.MPSTAT).pools == {wrapper: pools["0"]}
    assert decode_reply(b"\xbf\xff", os.MPSTAT).pools == {}


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "00",
        "80",
        "a0a0",
        "a000",
        "a1",
        "a10102",
        "a1416100",
        "bf",
        "a1617861",
        "d9d9f7a0",
        "a16161a0" * 2,
        "f6",
        "ff",
    ],
)
def test_what_is_not_one_map_with_text_keys_is_refused(payload: str) -> None:
    with pytest.raises(ProtocolError):
        decode_map(bytes.fromhex(payload))


MISFITS: list[tuple[dict[str, Any], Command[Any, Any]]] = [
    ({}, os.ECHO),
    ({"r": 1}, os.ECHO),
    ({"r": b"hi"}, os.ECHO),
    ({"r": None}, os.ECHO),
    ({"buf_size": 384}, os.PARAMS),
    ({"buf_size": 0, "buf_count": 4}, os.PARAMS),
    ({"buf_size": "384", "buf_count": 4}, os.PARAMS),
    ({"buf_size": 384.0, "buf_count": 4}, os.PARAMS),
    ({"buf_size": 2**64, "buf_count": 4}, os.PARAMS),
    ({"buf_size": True, "buf_count": 4}, os.PARAMS),
    ({"off": -1}, image.UPLOAD),
    ({"off": 0, "match": 1}, image.UPLOAD),
    ({"images": {}}, image.STATE_READ),
    ({"images": [{}]}, image.STATE_READ),
    ({"heap": 3}, os.MPSTAT),
    ({"mpools": 3}, os.MPSTAT),
    ({"mpools": {"heap": 3}}, os.MPSTAT),
    ({"off": 0, "data": "text"}, fs.READ),
    ({"session": 0x10000, "state": 0}, logger.ARM),
    ({"groups": [0, "os"]}, enum.LIST),
]


@pytest.mark.parametrize(("body", "command"), MISFITS)
def test_a_reply_that_does_not_fit_its_declaration_is_refused(body: object, command: Command[Any, Any]) -> None:
    with pytest.raises(ProtocolError):
        decode_reply(cbor2.dumps(body), command)


@pytest.mark.parametrize("field", ["label", "text", "len"])
def test_limits_hold_for_requests_as_for_replies(field: str) -> None:
    too_much: dict[str, tuple[type[Message], dict[str, Any]]] = {
        "label": (logger.ArmRequest, {"id": 1, "label": "x" * 33}),
        "text": (logger.MarkRequest, {"id": 1, "text": "x" * 121}),
        "len": (logger.MetadataWriteRequest, {"o": 0, "len": 513, "d": b""}),
    }
    type_, body = too_much[field]
    with pytest.raises(ProtocolError, match=field):
        decode_body(cbor2.dumps(body), type_)


def test_shell_output_arrives_as_the_device_sent_it() -> None:
    """Control characters are the terminal's business, not the wire's."""
    reply = decode_reply(cbor2.dumps({"o": "\x1b[31mred\x00", "ret": -1}), shell.EXECUTE)
    assert reply.o == "\x1b[31mred\x00"


def test_shell_output_that_is_no_utf_8_is_told_all_the_same() -> None:
    """Zephyr puts into the text what the command printed, whatever it is."""
    payload = b"\xbf\x61o\x6423 \xb0\x63ret\x00\xff"
    assert decode_reply(payload, shell.EXECUTE) == shell.ShellResponse(o="23 \ufffd", ret=0)
    pieces = b"\xbf\x61o\x7f\x6323 \x61\xb0\xff\x63ret\x00\xff"
    assert decode_reply(pieces, shell.EXECUTE) == shell.ShellResponse(o="23 \ufffd", ret=0)
    with pytest.raises(ProtocolError, match="CBOR"):
        decode_reply(b"\xa1\x61r\x6423 \xb0", os.ECHO)


@pytest.mark.parametrize("code", [0, 1, -8])
def test_old_servers_call_what_a_shell_command_returned_rc(code: int) -> None:
    """mynewt-mcumgr, and Zephyr with CONFIG_MCUMGR_GRP_SHELL_LEGACY_RC_RETURN_CODE; text of indefinite length as there."""
    payload = b"\xbf\x61o\x7f\x63up \xff" + b"\x62rc" + cbor2.dumps(code) + b"\xff"
    assert decode_reply(payload, shell.EXECUTE) == shell.ShellResponse(o="up ", ret=code)
    with pytest.raises(RefusedError if code else ProtocolError):
        decode_reply(cbor2.dumps({"rc": code}), shell.EXECUTE)


# errors


def test_the_codes_of_every_group_have_texts_of_their_own() -> None:
    assert set(RC_TEXTS) == set(range(14))
    assert len(set(RC_TEXTS.values())) == len(RC_TEXTS)
    assert set(GROUP_TEXTS) == set(CODES)
    for group, codes in CODES.items():
        texts = GROUP_TEXTS[group]
        assert set(texts) == set(codes) == known_codes(group)
        assert len(set(texts.values())) == len(texts)


def test_the_logger_names_every_code_it_may_answer() -> None:
    assert {code.value for code in logger.LoggerError} == set(CODES[Group.LOGGER])


@pytest.mark.parametrize("text", [text for texts in (RC_TEXTS, *GROUP_TEXTS.values()) for text in texts.values()])
def test_a_text_is_a_plain_sentence_to_be_quoted_in_another(text: str) -> None:
    assert text.isprintable()
    assert text == " ".join(text.split())
    assert text[0].islower()
    assert not text.endswith((".", "!"))
    assert len(text) >= 8


@pytest.mark.parametrize(("group", "code"), ALL_CODES)
def test_a_group_error_keeps_group_code_and_text_in_v2(group: int, code: int) -> None:
    payload = encode_error(1, code, group)
    assert decode_map(payload) == {"err": {"group": group, "rc": code}}
    assert refusal(payload) == (group, code)
    with pytest.raises(RefusedError) as refused:
        decode_reply(payload, os.ECHO)
    assert (refused.value.group, refused.value.code) == (group, code)
    assert str(refused.value) == error_text(code, group)
    assert GROUP_TEXTS[group].get(code, RC_TEXTS[1]) in str(refused.value)


@pytest.mark.parametrize("group", CODES)
def test_a_group_error_becomes_rc_1_in_v1(group: int) -> None:
    payload = encode_error(0, 5, group)
    assert decode_map(payload) == {"rc": 1}
    assert refusal(payload) == (None, 1)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("code", range(1, 14))
def test_an_error_of_the_protocol_is_rc_in_both_versions(version: int, code: int) -> None:
    payload = encode_error(version, code, None)
    assert decode_map(payload) == {"rc": code}
    with pytest.raises(RefusedError, match=RC_TEXTS[code]) as refused:
        decode_reply(payload, os.ECHO)
    assert (refused.value.group, refused.value.code) == (None, code)


def test_the_golden_error() -> None:
    payload = bytes.fromhex("a163657272a26567726f75700162726309")
    assert encode_error(1, 9, Group.IMAGE) == payload
    with pytest.raises(RefusedError, match="no free slot") as refused:
        decode_reply(payload, image.UPLOAD)
    assert (refused.value.group, refused.value.code, refused.value.details) == (1, 9, {})


@pytest.mark.parametrize("command", [image.ERASE, os.RESET, image.UPLOAD], ids=lambda command: command.name)
def test_zephyr_3_4_says_its_errors_under_another_key(command: Command[Any, Any]) -> None:
    """Zephyr's migration guide to 3.5 tells of `ret`, renamed to `err`; a number there is the result of a shell command."""
    payload = cbor2.dumps({"ret": {"group": 1, "rc": 9}, "off": 5})
    assert refusal(payload) == (1, 9)
    with pytest.raises(RefusedError, match="no free slot") as refused:
        decode_reply(payload, command)
    assert (refused.value.group, refused.value.code, refused.value.details) == (1, 9, {"off": 5})
    assert decode_reply(cbor2.dumps({"o": "", "ret": -1}), shell.EXECUTE).ret == -1
    assert refusal(cbor2.dumps({"o": "", "ret": -1})) is None


@pytest.mark.parametrize("body", [{"rc": 0}, {"err": {"group": 1, "rc": 0}}, {"ret": {"group": 1, "rc": 0}}, {}])
def test_zero_is_success(body: dict[str, Any]) -> None:
    payload = cbor2.dumps(body)
    assert refusal(payload) is None
    assert decode_reply(payload, os.RESET) == Empty()
    assert decode_reply(cbor2.dumps(body | {"r": "hi"}), os.ECHO).r == "hi"


def test_what_came_with_an_error_is_kept() -> None:
    """fs upload at a wrong offset: the reply names the device's file size."""
    payload = encode_error(1, fs.OFFSET_NOT_VALID, Group.FS, {"len": 1234})
    with pytest.raises(RefusedError) as refused:
        decode_reply(payload, fs.WRITE)
    assert refused.value.details == {"len": 1234}


def test_the_device_s_own_reason_is_told() -> None:
    payload = cbor2.dumps({"rc": 3, "rsn": "name missing"})
    with pytest.raises(RefusedError, match="name missing") as refused:
        decode_reply(payload, settings.READ)
    assert refused.value.details == {}


def test_statistics_errors_bear_group_63_and_mean_group_2() -> None:
    payload = encode_error(1, stat.NO_SUCH_GROUP, Group.BASIC)
    with pytest.raises(RefusedError, match="no statistics group of this name"):
        decode_reply(payload, stat.DATA)
    with pytest.raises(RefusedError, match="storage partition"):
        decode_reply(payload, os.ECHO)


@pytest.mark.parametrize(("code", "group"), [(99, None), (256, None), (99, 1), (99, 64), (7, 0x1234), (-1, 1)])
def test_unknown_codes_are_named_by_number(code: int, group: int | None) -> None:
    assert str(code) in error_text(code, group)


@pytest.mark.parametrize(
    "body",
    [
        {"rc": "8"},
        {"rc": None},
        {"rc": True},
        {"rc": 1.0},
        {"rc": 1 << 20000},
        {"rc": -(1 << 40)},
        {"err": 8},
        {"err": []},
        {"err": {}},
        {"err": {"group": 1}},
        {"err": {"rc": 1}},
        {"err": {"group": "1", "rc": 1}},
        {"err": {"group": 1 << 20000, "rc": 1 << 20000}},
        {"ret": {"group": 1}},
        {"ret": {}},
    ],
    ids=range(15),
)
def test_a_malformed_error_is_neither_success_nor_refusal(body: dict[str, Any]) -> None:
    payload = cbor2.dumps(body)
    with pytest.raises(ProtocolError):
        refusal(payload)
    with pytest.raises(ProtocolError):
        decode_reply(payload, os.RESET)
