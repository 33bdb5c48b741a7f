"""Golden bytes of every command of the stock groups, both ways: what any other end of an SMP v2 link sends and understands.

The bytes were written from docs/smp.md#commands, map by map, without the declarations they are compared with: header
first, body behind it, keys in the order of the declaration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fieldlog_protocol.commands import Command, Empty, Message, basic, enum, fs, image, os, settings, shell, stat


@dataclass(frozen=True, slots=True)
class Golden:
    """One exchange; the hex is whole messages."""

    command: Command[Any, Any]
    sequence: int
    request: Message
    request_hex: str
    response: Message
    response_hex: str


STOCK: tuple[Golden, ...] = (
    Golden(
        os.ECHO,
        66,
        os.EchoRequest(d="hi"),
        "0a00000600004200 a16164626869",
        os.EchoResponse(r="hi"),
        "0b00000600004200 a16172626869",
    ),
    Golden(
        os.ECHO_READ,
        1,
        os.EchoRequest(d="°C"),
        "0800000700000100 a1616463c2b043",
        os.EchoResponse(r="°C"),
        "0900000700000100 a1617263c2b043",
    ),
    Golden(
        os.TASKSTAT,
        2,
        Empty(),
        "0800000100000202 a0",
        os.TaskstatResponse(
            tasks={
                "idle": os.TaskInfo(prio=15, tid=0, state=0),
                "main": os.TaskInfo(
                    prio=-1,
                    tid=1,
                    state=2,
                    stkuse=100,
                    stksiz=256,
                    cswcnt=70000,
                    runtime=5000000000,
                    last_checkin=0,
                    next_checkin=0,
                ),
            }
        ),
        "0900008400000202 "
        "a1657461736b73a26469646c65a3647072696f0f637469640065737461746500646d61696ea9647072696f2063746964"
        "01657374617465026673746b75736518646673746b73697a19010066637377636e741a000111706772756e74696d651b"
        "000000012a05f2006c6c6173745f636865636b696e006c6e6578745f636865636b696e00",
    ),
    Golden(
        os.MPSTAT,
        3,
        Empty(),
        "0800000100000303 a0",
        os.MpstatResponse(pools={"heap": os.PoolInfo(blksiz=64, nblks=32, nfree=9, min=4)}),
        "0900002400000303 a16468656170a466626c6b73697a1840656e626c6b731820656e6672656509636d696e04",
    ),
    Golden(
        os.DATETIME_READ,
        4,
        Empty(),
        "0800000100000404 a0",
        os.DatetimeResponse(datetime="2025-01-02T03:04:05.678"),
        "0900002200000404 a1686461746574696d6577323032352d30312d30325430333a30343a30352e363738",
    ),
    Golden(
        os.DATETIME_WRITE,
        5,
        os.DatetimeRequest(datetime="2025-01-02T03:04:05"),
        "0a00001e00000504 a1686461746574696d6573323032352d30312d30325430333a30343a3035",
        Empty(),
        "0b00000100000504 a0",
    ),
    Golden(
        os.RESET,
        6,
        os.ResetRequest(force=1, boot_mode=1),
        "0a00001300000605 a265666f7263650169626f6f745f6d6f646501",
        Empty(),
        "0b00000100000605 a0",
    ),
    Golden(
        os.RESET,
        106,
        os.ResetRequest(force=True),
        "0a00000800006a05 a165666f726365f5",
        Empty(),
        "0b00000100006a05 a0",
    ),
    Golden(
        os.PARAMS,
        7,
        Empty(),
        "0800000100000706 a0",
        os.ParamsResponse(buf_size=384, buf_count=4),
        "0900001800000706 a2686275665f73697a65190180696275665f636f756e7404",
    ),
    Golden(
        os.INFO,
        8,
        os.OsInfoRequest(format="sbp"),
        "0800000c00000807 a166666f726d617463736270",
        os.OsInfoResponse(output="Zephyr unknown arm"),
        "0900001b00000807 a1666f7574707574725a657068797220756e6b6e6f776e2061726d",
    ),
    Golden(
        os.BOOTLOADER,
        9,
        os.BootloaderRequest(query="mode"),
        "0800000c00000908 a1657175657279646d6f6465",
        os.BootloaderResponse(mode=-1, no_downgrade=True),
        "0900001500000908 a2646d6f6465206c6e6f2d646f776e6772616465f5",
    ),
    Golden(
        image.STATE_READ,
        10,
        Empty(),
        "0800000100010a00 a0",
        image.ImageStateResponse(
            images=(
                image.ImageSlot(
                    slot=0, version="1.2.3", hash=bytes.fromhex("01020304"), bootable=True, confirmed=True, active=True
                ),
                image.ImageSlot(
                    image=1,
                    slot=1,
                    version="1.2.4.5",
                    hash=bytes.fromhex("0506"),
                    bootable=True,
                    pending=True,
                    confirmed=False,
                    active=False,
                    permanent=False,
                ),
            ),
            split_status=0,
        ),
        "090000a900010a00 "
        "a266696d6167657382a664736c6f74006776657273696f6e65312e322e336468617368440102030468626f6f7461626c"
        "65f569636f6e6669726d6564f566616374697665f5a965696d6167650164736c6f74016776657273696f6e67312e322e"
        "342e35646861736842050668626f6f7461626c65f56770656e64696e67f569636f6e6669726d6564f466616374697665"
        "f4697065726d616e656e74f46b73706c697453746174757300",
    ),
    Golden(
        image.STATE_WRITE,
        11,
        image.ImageStateRequest(hash=bytes.fromhex("0506"), confirm=False),
        "0a00001200010b00 a2646861736842050667636f6e6669726df4",
        image.ImageStateResponse(
            images=(
                image.ImageSlot(
                    slot=0, version="1.2.3", hash=bytes.fromhex("01020304"), bootable=True, confirmed=True, active=True
                ),
            )
        ),
        "0b00004500010b00 "
        "a166696d6167657381a664736c6f74006776657273696f6e65312e322e336468617368440102030468626f6f7461626c"
        "65f569636f6e6669726d6564f566616374697665f5",
    ),
    Golden(
        image.UPLOAD,
        12,
        image.ImageUploadRequest(
            image=0, len=70000, off=0, sha=bytes(range(32)), data=bytes.fromhex("3db8f396"), upgrade=True
        ),
        "0a00004f00010c01 "
        "a665696d61676500636c656e1a00011170636f666600637368615820000102030405060708090a0b0c0d0e0f10111213"
        "1415161718191a1b1c1d1e1f6464617461443db8f3966775706772616465f5",
        image.ImageUploadResponse(off=70000, match=True),
        "0b00001100010c01 a2636f66661a00011170656d61746368f5",
    ),
    Golden(
        image.ERASE,
        13,
        image.ImageEraseRequest(slot=1),
        "0a00000700010d05 a164736c6f7401",
        Empty(),
        "0b00000100010d05 a0",
    ),
    Golden(
        image.SLOT_INFO,
        14,
        Empty(),
        "0800000100010e06 a0",
        image.SlotInfoResponse(
            images=(
                image.ImageSlots(
                    image=0,
                    slots=(
                        image.SlotSize(slot=0, size=483328),
                        image.SlotSize(slot=1, size=483328, upload_image_id=0),
                        image.SlotSize(slot=2, rc=-5),
                    ),
                    max_image_size=479232,
                ),
            )
        ),
        "0900006a00010e06 "
        "a166696d6167657381a365696d6167650065736c6f747383a264736c6f74006473697a651a00076000a364736c6f7401"
        "6473697a651a000760006f75706c6f61645f696d6167655f696400a264736c6f7402627263246e6d61785f696d616765"
        "5f73697a651a00075000",
    ),
    Golden(
        stat.DATA,
        15,
        stat.StatRequest(name="link"),
        "0800000b00020f00 a1646e616d65646c696e6b",
        stat.StatResponse(name="link", fields={"rx": 300, "tx": 2}),
        "0900001d00020f00 a2646e616d65646c696e6b666669656c6473a262727819012c62747802",
    ),
    Golden(
        stat.LIST,
        16,
        Empty(),
        "0800000100021001 a0",
        stat.StatListResponse(stat_list=("link", "log")),
        "0900001500021001 a169737461745f6c69737482646c696e6b636c6f67",
    ),
    Golden(
        settings.READ,
        17,
        settings.SettingReadRequest(name="log/period", max_size=32),
        "0800001c00031100 a2646e616d656a6c6f672f706572696f64686d61785f73697a651820",
        settings.SettingReadResponse(val=bytes.fromhex("10270000"), max_size=32),
        "0900001500031100 a26376616c4410270000686d61785f73697a651820",
    ),
    Golden(
        settings.WRITE,
        18,
        settings.SettingWriteRequest(name="log/period", val=bytes.fromhex("10270000")),
        "0a00001a00031200 a2646e616d656a6c6f672f706572696f646376616c4410270000",
        Empty(),
        "0b00000100031200 a0",
    ),
    Golden(
        settings.WRITE,
        28,
        settings.SettingWriteRequest(name="log/period", val=bytes.fromhex("10270000"), t=0xCAFE0006),
        "0a00002100031c00 a3646e616d656a6c6f672f706572696f646376616c441027000061741acafe0006",
        Empty(),
        "0b00000100031c00 a0",
    ),
    Golden(
        settings.DELETE,
        19,
        settings.SettingDeleteRequest(name="log/period"),
        "0a00001100031301 a1646e616d656a6c6f672f706572696f64",
        Empty(),
        "0b00000100031301 a0",
    ),
    Golden(
        settings.COMMIT,
        20,
        Empty(),
        "0a00000100031402 a0",
        Empty(),
        "0b00000100031402 a0",
    ),
    Golden(
        settings.LOAD,
        21,
        Empty(),
        "0800000100031503 a0",
        Empty(),
        "0900000100031503 a0",
    ),
    Golden(
        settings.SAVE,
        22,
        settings.SettingSaveRequest(name="log"),
        "0a00000a00031603 a1646e616d65636c6f67",
        Empty(),
        "0b00000100031603 a0",
    ),
    Golden(
        fs.READ,
        23,
        fs.FileReadRequest(name="/lfs/a.txt", off=0),
        "0800001600081700 a2646e616d656a2f6c66732f612e747874636f666600",
        fs.FileReadResponse(off=0, data=b"abc", len=3),
        "0900001400081700 a3636f666600646461746143616263636c656e03",
    ),
    Golden(
        fs.WRITE,
        24,
        fs.FileWriteRequest(name="/lfs/a.txt", off=0, data=b"abc", len=3),
        "0a00002400081800 a4646e616d656a2f6c66732f612e747874636f666600646461746143616263636c656e03",
        fs.FileWriteResponse(off=3),
        "0b00000600081800 a1636f666603",
    ),
    Golden(
        fs.STATUS,
        25,
        fs.FileStatusRequest(name="/lfs/a.txt"),
        "0800001100081901 a1646e616d656a2f6c66732f612e747874",
        fs.FileStatusResponse(len=65536),
        "0900000a00081901 a1636c656e1a00010000",
    ),
    Golden(
        fs.HASH,
        26,
        fs.FileHashRequest(name="/lfs/a.txt", type="crc32", off=1, len=2),
        "0800002600081a02 a4646e616d656a2f6c66732f612e7478746474797065656372633332636f666601636c656e02",
        fs.FileHashResponse(type="crc32", off=1, len=2, output=0x352441C2),
        "0900002200081a02 a46474797065656372633332636f666601636c656e02666f75747075741a352441c2",
    ),
    Golden(
        fs.HASH,
        27,
        fs.FileHashRequest(name="/lfs/a.txt", type="sha256"),
        "0800001d00081b02 a2646e616d656a2f6c66732f612e747874647479706566736861323536",
        fs.FileHashResponse(type="sha256", len=3, output=bytes(range(32))),
        "0900003b00081b02 "
        "a3647479706566736861323536636c656e03666f75747075745820000102030405060708090a0b0c0d0e0f1011121314"
        "15161718191a1b1c1d1e1f",
    ),
    Golden(
        fs.HASH_TYPES,
        28,
        Empty(),
        "0800000100081c03 a0",
        fs.HashTypesResponse(types={"crc32": fs.HashType(format=0, size=4), "sha256": fs.HashType(format=1, size=32)}),
        "0900003400081c03 "
        "a1657479706573a2656372633332a266666f726d6174006473697a650466736861323536a266666f726d617401647369"
        "7a651820",
    ),
    Golden(
        fs.CLOSE,
        29,
        Empty(),
        "0a00000100081d04 a0",
        Empty(),
        "0b00000100081d04 a0",
    ),
    Golden(
        shell.EXECUTE,
        30,
        shell.ShellRequest(argv=("kernel", "uptime")),
        "0a00001500091e00 a1646172677682666b65726e656c66757074696d65",
        shell.ShellResponse(o="Uptime: 5 ms\n", ret=-22),
        "0b00001600091e00 a2616f6d557074696d653a2035206d730a6372657435",
    ),
    Golden(
        enum.COUNT,
        31,
        Empty(),
        "08000001000a1f00 a0",
        enum.CountResponse(count=9),
        "09000008000a1f00 a165636f756e7409",
    ),
    Golden(
        enum.LIST,
        32,
        Empty(),
        "08000001000a2001 a0",
        enum.ListResponse(groups=(0, 63, 0x464C)),
        "0900000f000a2001 a16667726f7570738300183f19464c",
    ),
    Golden(
        enum.SINGLE,
        33,
        enum.SingleRequest(index=2),
        "08000008000a2102 a165696e64657802",
        enum.SingleResponse(group=0x464C, end=True),
        "0900000f000a2102 a26567726f757019464c63656e64f5",
    ),
    Golden(
        enum.DETAILS,
        34,
        enum.DetailsRequest(groups=(0, 8)),
        "0800000b000a2203 a16667726f757073820008",
        enum.DetailsResponse(
            groups=(enum.GroupDetails(group=0, name="os mgmt", handlers=9), enum.GroupDetails(group=8))
        ),
        "09000030000a2203 a16667726f75707382a36567726f757000646e616d65676f73206d676d746868616e646c65727309a16567726f757008",
    ),
    Golden(
        basic.ERASE_STORAGE,
        35,
        Empty(),
        "0a000001003f2300 a0",
        Empty(),
        "0b000001003f2300 a0",
    ),
)
