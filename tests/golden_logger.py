"""Golden bytes of every command of the FL group, both ways: what firmware that implements the group must reproduce.

The bytes were written from the list of the group's commands, map by map, without the declarations they are compared
with.
"""

from __future__ import annotations

from fieldlog_protocol.commands import Empty, logger
from golden_stock import Golden

LOGGER: tuple[Golden, ...] = (
    Golden(
        logger.INFO,
        36,
        logger.InfoRequest(),
        "08000001464c2400 a0",
        logger.InfoResponse(
            parts=2,
            v=1,
            schema=bytes.fromhex("a1b2c3d4"),
            uid=bytes.fromhex("0011223344556677"),
            log=0xDEADBEEF,
            serial="FL-0001",
            name="roof",
            product="fieldlog-th",
            hw="th-2",
            fw="1.4.0",
            caps=0x7F0,
            block=1024,
            ppm=50_000,
        ),
        "09000083464c2400 "
        "ad6570617274730261760166736368656d6144a1b2c3d463756964480011223344556677636c6f671adeadbeef667365"
        "7269616c67464c2d30303031646e616d6564726f6f666770726f647563746b6669656c646c6f672d7468626877647468"
        "2d3262667765312e342e3064636170731907f065626c6f636b1904006370706d19c350",
    ),
    Golden(
        logger.INFO,
        37,
        logger.InfoRequest(p=1),
        "08000004464c2500 a1617001",
        logger.InfoResponse(
            parts=2,
            boot=7,
            tick=141557760000,
            state=2,
            first=3,
            open=(40, 41),
            next=42,
            used=38912,
            total=4194304,
            released=0,
            wrap=False,
            session=5,
            mv=3312,
            reset="watchdog",
            utc=1735787045,
            set=1735700000,
            token=0x11223344,
        ),
        "09000099464c2500 "
        "b16570617274730264626f6f7407647469636b1b00000020f58000006573746174650265666972737403646f70656e82"
        "18281829646e657874182a647573656419980065746f74616c1a004000006872656c6561736564006477726170f46773"
        "657373696f6e05626d76190cf0657265736574687761746368646f67637574631a67760225637365741a6774ae206574"
        "6f6b656e1a11223344",
    ),
    Golden(
        logger.INFO,
        57,
        logger.InfoRequest(p=2),
        "08000004464c3900 a1617002",
        logger.InfoResponse(
            parts=3,
            plan=logger.ArmRequest(
                id=0xCAFE0001,
                label="north",
                start=1,
                at=1735787045,
                frames=1000,
                streams=(logger.StreamPeriod(s=1, us=10000),),
            ),
            left=3600,
            pct=87,
            mah=2088,
            ua=310,
            rua=420,
        ),
        "09000070464c3900 "
        "a76570617274730364706c616ea66269641acafe0001656c6162656c656e6f727468657374617274016261741a677602"
        "25666672616d65731903e86773747265616d7381a2617301627573192710646c656674190e10637063741857636d6168"
        "190828627561190136637275611901a4",
    ),
    Golden(
        logger.STREAMS,
        38,
        logger.StreamsRequest(i=1, c=2),
        "08000007464c2601 a2616901616302",
        logger.StreamsResponse(
            n=2,
            i=1,
            id=4,
            name="climate",
            us=1000000,
            min=100000,
            max=3600000000,
            nc=3,
            c=2,
            ch=(
                logger.ChannelInfo(
                    n="temp", u="Cel", t=1, mul=5, exp=-3, off=-8100, miss=-32768, lo=-40.0, hi=85.0, cal=(0.25, 1.0)
                ),
            ),
        ),
        "09000096464c2601 "
        "aa616e0261690162696404646e616d6567636c696d6174656275731a000f4240636d696e1a000186a0636d61781ad693"
        "a400626e630361630262636881aa616e6474656d7061756343656c617401636d756c056365787022636f6666391fa364"
        "6d697373397fff626c6ffbc044000000000000626869fb40554000000000006363616c82fb3fd0000000000000fb3ff0"
        "000000000000",
    ),
    Golden(
        logger.SCHEMA,
        39,
        logger.SchemaRequest(i=3, c=1),
        "08000007464c2702 a2616903616301",
        logger.SchemaResponse(
            n=9,
            i=3,
            s=(
                logger.SettingInfo(
                    k="log/mode",
                    t=7,
                    u="1",
                    lo=0,
                    hi=1.5,
                    step=1,
                    d=bytes(1),
                    f=1,
                    x="full or wrap",
                    nc=2,
                    ch=("wrap",),
                ),
            ),
        ),
        "09000056464c2702 "
        "a3616e09616903617381ab616b686c6f672f6d6f646561740761756131626c6f00626869fb3ff8000000000000647374"
        "6570016164410061660161786c66756c6c206f722077726170626e6302626368816477726170",
    ),
    Golden(
        logger.SESSIONS,
        40,
        logger.SessionsRequest(i=2),
        "08000004464c2803 a1616902",
        logger.SessionsResponse(
            n=5,
            s=(
                logger.SessionInfo(
                    id=2, label="north", boot=7, start=32768, eboot=8, stop=65536, first=3, last=9, frames=3600, why=1
                ),
                logger.SessionInfo(id=3, label="", boot=8, start=70000, first=10, frames=0, why=0),
            ),
            more=True,
        ),
        "0900008b464c2803 "
        "a3616e05617382aa62696402656c6162656c656e6f72746864626f6f74076573746172741980006565626f6f74086473"
        "746f701a0001000065666972737403646c61737409666672616d6573190e106377687901a762696403656c6162656c60"
        "64626f6f74086573746172741a000111706566697273740a666672616d6573006377687900646d6f7265f5",
    ),
    Golden(
        logger.BLOCKS,
        41,
        logger.BlocksRequest(q=3, o=350, n=300),
        "0800000e464c2904 a3617103616f19015e616e19012c",
        logger.BlocksResponse(q=3, o=350, f=1, d=bytes.fromhex("4c4210")),
        "09000012464c2904 a4617103616f19015e6166016164434c4210",
    ),
    Golden(
        logger.BLOCKS,
        56,
        logger.BlocksRequest(q=3, o=350, n=300, m=31),
        "08000012464c3804 a4617103616f19015e616e19012c616d181f",
        logger.BlocksResponse(q=3, o=350, f=1, d=bytes.fromhex("4c4210"), m=31),
        "09000016464c3804 a5617103616f19015e6166016164434c4210616d181f",
    ),
    Golden(
        logger.ARM,
        42,
        logger.ArmRequest(
            id=0xCAFE0001,
            label="north",
            start=3,
            at=0,
            s=4,
            ch=1,
            level=-(2**63),
            below=True,
            until=1735787045,
            secs=86400,
            frames=1000,
            wrap=True,
            streams=(logger.StreamPeriod(s=1, us=10000), logger.StreamPeriod(s=4)),
        ),
        "0a000079464c2a05 "
        "ad6269641acafe0001656c6162656c656e6f727468657374617274036261740061730462636801656c6576656c"
        "3b7fffffffffffffff6562656c6f77f565756e74696c1a6776022564736563731a00015180666672616d65731903e86477726170f567737472"
        "65616d7382a2617301627573192710a1617304",
        logger.ArmResponse(session=6, state=1),
        "0b000011464c2a05 a26773657373696f6e0665737461746501",
    ),
    Golden(
        logger.STOP,
        43,
        logger.StopRequest(id=0xCAFE0002),
        "0a000009464c2b06 a16269641acafe0002",
        logger.StopResponse(session=6, next=44),
        "0b000011464c2b06 a26773657373696f6e06646e657874182c",
    ),
    Golden(
        logger.RELEASE,
        44,
        logger.ReleaseRequest(q=40),
        "0a000005464c2c07 a161711828",
        Empty(),
        "0b000001464c2c07 a0",
    ),
    Golden(
        logger.ERASE,
        45,
        logger.EraseRequest(id=0xCAFE0003, token=0x11223344),
        "0a000014464c2d08 a26269641acafe000365746f6b656e1a11223344",
        logger.EraseResponse(next=44),
        "0b000008464c2d08 a1646e657874182c",
    ),
    Golden(
        logger.CLOCK_PROBE,
        46,
        Empty(),
        "08000001464c2e09 a0",
        logger.ClockResponse(boot=7, rx=141557760000, tx=141557760033, utc=1735787045678000),
        "0900002c464c2e09 a464626f6f74076272781b00000020f58000006274781b00000020f5800021637574631b00062ab06a436bb0",
    ),
    Golden(
        logger.CLOCK_ANCHOR,
        47,
        logger.ClockAnchor(boot=7, tick=141557760000, utc=1735787045678000, err=1500, src=1),
        "0a00002e464c2f09 a564626f6f7407647469636b1b00000020f5800000637574631b00062ab06a436bb0636572721905dc6373726301",
        Empty(),
        "0b000001464c2f09 a0",
    ),
    Golden(
        logger.LATEST,
        48,
        logger.LatestRequest(s=4, c=1000),
        "08000009464c300a a261730461631903e8",
        logger.LatestResponse(s=4, c=1001, n=1, lost=20, d=bytes.fromhex("00800000000000001a09")),
        "0900001f464c300a a561730461631903e9616e01646c6f73741461644a00800000000000001a09",
    ),
    Golden(
        logger.MARK,
        49,
        logger.MarkRequest(id=0xCAFE0004, text="door opened"),
        "0a00001a464c310b a26269641acafe000464746578746b646f6f72206f70656e6564",
        logger.MarkResponse(tick=65536),
        "0b00000b464c310b a1647469636b1a00010000",
    ),
    Golden(
        logger.CALIBRATE,
        50,
        logger.CalibrateRequest(id=0xCAFE0005, s=4, c=2, cal=(0.25, 1.0), t=0xCAFE0006),
        "0a00002d464c320c a56269641acafe00056173046163026363616c82fb3fd0000000000000fb3ff000000000000061741acafe0006",
        Empty(),
        "0b000001464c320c a0",
    ),
    Golden(
        logger.SELF_TEST_RESULT,
        51,
        logger.SelfTestRequest(i=0),
        "08000004464c330d a1616900",
        logger.SelfTestResponse(
            run=False,
            n=2,
            i=0,
            r=(logger.TestResult(n="flash", ok=True), logger.TestResult(n="battery", ok=False, x="2.1 V")),
        ),
        "09000033464c330d "
        "a46372756ef4616e02616900617282a2616e65666c617368626f6bf5a3616e6762617474657279626f6bf4617865322e"
        "312056",
    ),
    Golden(
        logger.SELF_TEST_START,
        52,
        Empty(),
        "0a000001464c340d a0",
        Empty(),
        "0b000001464c340d a0",
    ),
    Golden(
        logger.IDENTIFY,
        53,
        logger.IdentifyRequest(s=10),
        "0a000004464c350e a161730a",
        Empty(),
        "0b000001464c350e a0",
    ),
    Golden(
        logger.SEAL,
        54,
        Empty(),
        "0a000001464c360f a0",
        logger.SealResponse(next=45),
        "0b000008464c360f a1646e657874182d",
    ),
    Golden(
        logger.TRANSACTION,
        55,
        logger.TransactionRequest(step=0, id=0xCAFE0006, secs=60),
        "0a000016464c3710 a36473746570006269641acafe00066473656373183c",
        Empty(),
        "0b000001464c3710 a0",
    ),
    Golden(
        logger.METADATA_READ,
        56,
        logger.MetadataRequest(o=300),
        "08000006464c3811 a1616f19012c",
        logger.MetadataResponse(o=300, len=302, d=b"ab"),
        "09000012464c3811 a3616f19012c636c656e19012e6164426162",
    ),
    Golden(
        logger.METADATA_WRITE,
        255,
        logger.MetadataWriteRequest(o=0, len=2, d=b"ab", t=0xCAFE0006),
        "0a000015464cff11 a4616f00636c656e02616442616261741acafe0006",
        logger.MetadataWriteResponse(o=2),
        "0b000004464cff11 a1616f02",
    ),
)
