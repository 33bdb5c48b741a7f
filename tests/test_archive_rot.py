"""An archive whose file rots: whatever bit flips, commands end in a sentence, and nothing is made up about its cause."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from archive_data import CLIMATE, DOOR, LOG_ID, UID, PaperLogger, climate
from fieldlog.archive.records import Session
from fieldlog.archive.store import open_archive
from fieldlog.cli.main import invoke
from fieldlog.clock_sync import Sync
from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.blocks.events import Boot, ClockSync, Mark

READERS = ("archive ls", "archive events", "archive check", "export -o {}.csv", "archive merge {} --archive {}/into")
DRAWERS = (*READERS, "archive ls --json", "archive rebuild", "plot -o {}.png")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a small archive with something in every table."""
    folder = tmp_path_factory.mktemp("sound")
    paper = PaperLogger(utc=1_700_000_000)
    paper.schema()
    paper.events((0, Boot("power", "1.2.3")), (4, ClockSync(4, 1_700_000_000_000_000, 500, "host")), (5, Mark("begun")))
    paper.data(CLIMATE, *climate(1500))
    paper.data(DOOR, [100, 2000, TICK_HZ], [0, 1, 0])
    paper.session = 2
    paper.data(CLIMATE, *climate(300, start_s=4000))
    with open_archive(folder) as archive:
        log = archive.log(UID, LOG_ID)
        log.describe(serial="SN-0001", label="attic", product="paper", firmware="1.2.3")
        log.add_blocks(paper.blocks)
        log.add_syncs([Sync(1, TICK_HZ * 5000, 1_700_005_000_000_000, 400)])
        log.add_sessions([Session(1, "run", 1, 0, 1500 * TICK_HZ, 0, 20, 1500, "stopped")])
        log.add_gap(5000, 5010)
        log.end_pull(log.begin_pull(), blocks=20, size=5000)
    return (folder / "archive.sqlite").read_bytes()


def ends_in_words(words: str, capsys: pytest.CaptureFixture[str], about: str) -> None:
    code = invoke(words.split())
    said = capsys.readouterr().err
    assert code in (0, 1, 2, 5), f"{about}: {words} ended with {code}: {said}"
    assert "has a bug" not in said, f"{about}: {words}: {said}"
    assert "Traceback" not in said, f"{about}: {words}: {said}"


def rot(sound: bytes, seed: int) -> bytes:
    """One to three bits turned round; half of the time near the rows, which are few among the blocks' bytes."""
    rng = random.Random(seed)
    spoiled = bytearray(sound)
    rows = [at for at in range(0, len(sound), 512) if any(sound[at : at + 512])]
    for _ in range(rng.randint(1, 3)):
        at = rng.choice(rows) + rng.randrange(512)
        spoiled[at] ^= 1 << rng.randrange(8)
    return bytes(spoiled)


def campaign(
    sound: bytes, seeds: range, commands: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "archive.sqlite").write_bytes(rot(sound, seed))
        for words in commands:
            full = words.replace("{}", str(folder))
            ends_in_words(full if "--archive" in full else f"{full} --archive {folder}", capsys, f"seed {seed}")


def test_a_few_flipped_bits_end_in_a_sentence(sound: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    campaign(sound, range(12), READERS, tmp_path, capsys)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(0, 1000, 250))
def test_flipped_bits_end_in_a_sentence(
    sound: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], first: int
) -> None:
    campaign(sound, range(first, first + 250), READERS, tmp_path, capsys)
    campaign(sound, range(first + 250, first + 252), DRAWERS, tmp_path, capsys)
