"""Files on flash: contents, space, speed, and exactly what was written when power goes."""

from __future__ import annotations

from random import Random

import pytest

from fieldlog_protocol.errors import UsageError
from fieldlog_sim.file_store import MAX_NAME, FileStore
from fieldlog_sim.nor_flash import KIB, MIB, NorFlash, Partition, PowerCut
from fieldlog_sim.store_errors import NoSuchFile, StoreFull

SECTOR = 4096


def partition(sectors: int = 8, seed: int = 0) -> Partition:
    return Partition(NorFlash((sectors + 2) * SECTOR, seed=seed), SECTOR, sectors * SECTOR)


def contents(store: FileStore) -> dict[str, bytes]:
    return {name: store.read(name, 0, store.size(name)) for name in store.names()}


def write(store: FileStore, name: str, data: bytes, piece: int) -> None:
    store.create(name)
    for offset in range(0, len(data), piece):
        store.append(name, data[offset : offset + piece])


def test_a_fresh_partition_holds_no_files() -> None:
    part = partition()
    assert FileStore(part).names() == ()
    assert part.flash.operations == 0


@pytest.mark.parametrize("piece", [1, 100, 4006, 5000, 20_000])
def test_a_file_reads_back_whole_and_in_parts_also_after_a_restart(piece: int) -> None:
    part = partition()
    data = Random(piece).randbytes(min(20_000, piece * 400))
    store = FileStore(part)
    write(store, "/lfs/a.bin", data, piece)
    random = Random(1)
    for seen in (store, FileStore(part)):
        assert seen.size("/lfs/a.bin") == len(data)
        assert seen.read("/lfs/a.bin", 0, len(data) + 5) == data
        for _ in range(200):
            offset, length = random.randrange(len(data) + 10), random.randrange(6000)
            assert seen.read("/lfs/a.bin", offset, length) == data[offset : offset + length]


def test_files_stand_side_by_side() -> None:
    part = partition()
    store = FileStore(part)
    store.create("a")
    store.create("empty")
    store.create("ü")
    for _ in range(100):
        store.append("a", b"aaaa" * 10)
        store.append("ü", b"uu" * 10)
    assert contents(store) == contents(FileStore(part)) == {"a": b"a" * 4000, "empty": b"", "ü": b"u" * 2000}
    assert store.names() == ("a", "empty", "ü")


def test_a_file_goes_on_after_a_restart() -> None:
    part = partition()
    FileStore(part).create("a")
    for number in range(300):
        FileStore(part).append("a", b"%4d" % number)
    assert contents(FileStore(part)) == {"a": b"".join(b"%4d" % number for number in range(300))}


def test_creating_again_begins_anew() -> None:
    part = partition()
    store = FileStore(part)
    write(store, "a", b"former" * 1000, 500)
    store.create("a")
    assert store.size("a") == FileStore(part).size("a") == 0
    store.append("a", b"new")
    assert contents(FileStore(part)) == {"a": b"new"}


def test_a_deleted_file_is_gone_and_no_older_one_comes_back() -> None:
    part = partition()
    store = FileStore(part)
    for text in (b"first", b"second", b"third"):
        write(store, "a", text, 10)
    store.delete("a")
    for seen in (store, FileStore(part)):
        assert seen.names() == ()
        assert_no_file(seen, "a")


def assert_no_file(store: FileStore, name: str) -> None:
    for act in (
        lambda: store.read(name, 0, 1),
        lambda: store.size(name),
        lambda: store.delete(name),
        lambda: store.append(name, b""),
    ):
        with pytest.raises(NoSuchFile):
            act()


def test_erase_deletes_every_file_and_gives_all_space_back() -> None:
    store = FileStore(partition())
    free = store.free
    write(store, "a", bytes(5000), 1000)
    write(store, "b", bytes(5000), 1000)
    assert store.free < free
    store.erase()
    assert store.names() == ()
    assert store.free == free


def test_the_free_space_stated_is_the_space_there_is() -> None:
    part = partition()
    store = FileStore(part)
    free = store.free
    store.create("a")
    with pytest.raises(StoreFull, match="Nothing was written"):
        store.append("a", bytes(free + 1))
    assert store.size("a") == 0
    store.append("a", bytes(free))
    assert store.free == 0
    assert FileStore(part).size("a") == free
    with pytest.raises(StoreFull):
        store.create("b")
    assert store.names() == FileStore(part).names() == ("a",)


def test_a_file_that_fills_the_store_can_be_replaced() -> None:
    part = partition()
    store = FileStore(part)
    for value in (b"1", b"2", b"3"):
        store.create("a")
        store.append("a", value * (store.free or 1))
    assert contents(FileStore(part))["a"].startswith(b"3")


@pytest.mark.parametrize("name", ["", "n" * (MAX_NAME + 1), "ü" * 33])
def test_names_have_a_limit_in_bytes(name: str) -> None:
    with pytest.raises(UsageError):
        FileStore(partition()).create(name)


@pytest.mark.parametrize("restarts", [True, False])
def test_all_sectors_wear_alike(restarts: bool) -> None:
    part = partition(sectors=16)
    store = FileStore(part)
    for number in range(200):
        store = FileStore(part) if restarts else store
        write(store, "log.csv", bytes([number]) * 9000, 3000)
    wear = part.flash.wear[1:17]
    assert max(wear) - min(wear) <= 3


@pytest.mark.parametrize("seed", range(4))
def test_the_store_is_a_dictionary_of_bytes_that_survives(seed: int) -> None:
    random = Random(seed)
    part = partition(sectors=24)
    store = FileStore(part)
    model: dict[str, bytes] = {}
    for _ in range(400):
        name = random.choice(("a", "b", "/lfs/c.txt"))
        act = random.random()
        if act < 0.15 or name not in model:
            store.create(name)
            model[name] = b""
        elif act < 0.25:
            store.delete(name)
            del model[name]
        elif len(model[name]) < 20_000:
            data = random.randbytes(random.choice((0, 1, 200, 3000, 9000)))
            store.append(name, data)
            model[name] += data
        if random.random() < 0.1:
            store = FileStore(part)
        assert contents(store) == model, f"seed {seed}"


class CountedFlash(NorFlash):
    """Flash that counts what is read of it."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.reads = self.bytes_read = 0

    def read(self, offset: int, length: int) -> bytes:
        self.reads += 1
        self.bytes_read += length
        return super().read(offset, length)


def test_of_megabytes_every_byte_is_read_about_once() -> None:
    flash = CountedFlash(6 * MIB)
    data = Random(1).randbytes(4 * MIB)
    store = FileStore(Partition(flash, 0, 6 * MIB))
    piece = 400
    write(store, "big", data, piece)
    flash.reads = flash.bytes_read = 0
    sequential_read(store, data)
    assert flash.bytes_read < 1.1 * len(data)
    assert flash.reads < len(data) / piece + 4 * len(data) / (8 * KIB)


def sequential_read(store: FileStore, data: bytes) -> None:
    for offset in range(0, len(data), 8 * KIB):
        assert store.read("big", offset, 8 * KIB) == data[offset : offset + 8 * KIB]


Step = tuple[str, str, bytes]


def story(seed: int, steps: int) -> list[Step]:
    random = Random(seed)
    made: list[Step] = [("create", "a", b""), ("create", "b", b"")]
    for _ in range(steps):
        name = random.choice("ab")
        kind = random.choices(("append", "create", "recreate"), (8, 1, 1))[0]
        if kind == "recreate":
            made.append(("delete", name, b""))
        made.append(
            ("append", name, random.randbytes(random.choice((3, 300, 2500))))
            if kind == "append"
            else ("create", name, b"")
        )
    return made


def do(store: FileStore, step: Step) -> None:
    kind, name, data = step
    if kind == "append":
        store.append(name, data)
    elif kind == "create":
        store.create(name)
    elif store.exists(name):
        store.delete(name)


def allowed(model: dict[str, bytes], step: Step, held: dict[str, bytes]) -> bool:
    """After a cut in `step`: nothing of it, all of it, or of an append a part from its start."""
    kind, name, data = step
    others = {key: value for key, value in model.items() if key != name}
    if {key: value for key, value in held.items() if key != name} != others:
        return False
    former, found = model.get(name), held.get(name)
    if kind == "append" and former is not None and found is not None:
        return (former + data).startswith(found) and len(found) >= len(former)
    return found in (former, b"" if kind == "create" else None)


def cut_everywhere(seed: int, steps: int, every: int = 1) -> int:
    script = story(seed, steps)
    part = partition(sectors=24)
    for step in script:
        do(FileStore(part), step)
    cuts = range(1, part.flash.operations + 1, every)
    for cut in cuts:
        run_cut(script, cut, f"seed {seed}, cut at operation {cut}")
    return len(cuts)


def run_cut(script: list[Step], cut: int, context: str) -> None:
    part = partition(sectors=24, seed=cut)
    part.flash.cut_after = cut
    store = FileStore(part)
    model: dict[str, bytes] = {}
    for step in script:
        try:
            do(store, step)
        except PowerCut:
            part.flash.power_on()
            store = FileStore(part)
            held = contents(store)
            assert allowed(model, step, held), context
            assert contents(FileStore(part)) == held, context
            model = held
            finish(store, step, model)
        else:
            repeat_in_model(step, model)
    assert contents(store) == contents(FileStore(part)) == model, context


def finish(store: FileStore, step: Step, model: dict[str, bytes]) -> None:
    """Go on as a device would, with other bytes than those that were torn."""
    kind, name, _ = step
    follow: Step = ("append", name, b"after the cut") if kind == "append" else step
    do(store, follow)
    repeat_in_model(follow, model)


def repeat_in_model(step: Step, model: dict[str, bytes]) -> None:
    kind, name, data = step
    if kind == "append":
        model[name] += data
    elif kind == "create":
        model[name] = b""
    else:
        model.pop(name, None)


@pytest.mark.parametrize("seed", range(20))
def test_a_replacement_cut_off_leaves_one_file_and_deleting_it_leaves_none(seed: int) -> None:
    part = partition(seed=seed)
    write(FileStore(part), "a", b"former", 10)
    part.flash.cut_after = 3
    with pytest.raises(PowerCut):
        FileStore(part).create("a")
    part.flash.power_on()
    assert contents(FileStore(part)) == {"a": b""}
    FileStore(part).delete("a")
    assert FileStore(part).names() == ()


def test_a_power_cut_keeps_what_was_written_and_no_torn_piece() -> None:
    assert cut_everywhere(seed=1, steps=25) > 60


def count(request: pytest.FixtureRequest, sentence: str) -> None:
    """Into the report of the run, also through xdist."""
    request.node.user_properties.append(("counted", sentence))


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(10))
def test_power_is_cut_at_every_operation(seed: int, request: pytest.FixtureRequest) -> None:
    cuts = cut_everywhere(seed, steps=60)
    count(request, f"files, seed {seed}: power cut at {cuts} operations")
