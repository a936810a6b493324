"""Faults: processes that are killed, disks that are full, commands at the same time, stores that are damaged."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.builders.sabotage import kill_one
from tests.faults.store import RUN, SWEEP, WORKS, Command, Ended, Store, Words, Work, check_kept, whole


def kills(folder: Path, count: int, seed: int) -> str:
    """Kill a command or one of its processes at any moment, and start it again, until it is done."""
    rng, counts, stores = random.Random(seed), Counter[str](), 0
    while counts["kills"] < count:
        work, store = WORKS[stores % 2], _fresh(folder, stores)
        stores += 1
        most = min(counts["kills"] + rng.randint(6, 14), count)
        while counts["kills"] < most and not _killed(store, work, rng, counts, most):
            pass
        _check_same(store, work)
    kinds = f"{counts['run']} of run, {counts['sweep']} of sweep; {counts['worker']} of them a worker's"
    return f"{count} kills ({kinds}), {stores} stores: no finished row lost, none twice, {stores} same tables"


def _killed(store: Store, work: Work, rng: random.Random, counts: Counter[str], most: int) -> bool:
    """Run `work` and kill its workers until it is its own turn; says whether it was done all the same."""
    before = store.rows()
    command = store.start(work.words)
    while command.running and counts["kills"] < most:
        _wait(store, command, rng, rng.choice([-1, 0, 1, 2, 4]))
        if command.running:
            victim = kill_one(command.pid, rng)
            counts.update(["kills", work.verb, "worker" if victim != command.pid else "command"])
    done = command.ended()
    if done.status != -signal.SIGKILL:
        done.check()  # it gives up a job at which workers die again and again
    check_kept(before, store)
    return done.status == 0


def _wait(store: Store, command: Command, rng: random.Random, rows: int) -> None:
    """Wait for so many more rows, or for none, and then a little longer."""
    aim = store.episodes + rows
    while command.running and rows >= 0 and store.episodes < aim:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.3 if rows >= 0 else whole(RUN)[1]))


def disks(folder: Path, count: int, seed: int) -> str:
    """Fill the disk at any byte: of a file, or where file systems may be mounted of a small one. Then make room."""
    rng, counts = random.Random(seed), Counter[str]()
    for number in range(count):
        work, store = WORKS[number % 2], _fresh(folder, number)
        with _small_disk(store, rng, number % 4 < 2) as (limit, grow):
            before = store.rows()
            for _ in range(2):
                done = store.run(work.words, limit).check()
                counts["failed"] += done.status == 2
                counts["named"] += str(store.folder) in done.last or "/" in done.last
                before = check_kept(before, store)
            grow()
            _check_same(store, work)
            counts["tmpfs" if limit is None else "limit"] += 1
    kinds = f"{counts['tmpfs']} of file systems, {counts['limit']} of files; {counts['failed']} commands failed on them"
    return f"{count} full disks ({kinds}): each one line, no finished row lost, none twice, {count} same tables"


@contextmanager
def _small_disk(store: Store, rng: random.Random, mounted: bool) -> Iterator[tuple[int | None, Callable[[], None]]]:
    """The most bytes of a file, or None for a small file system at the store's folder; and what makes room."""
    size = f"size={rng.randint(1, 40) * 4}k"
    if not mounted or _root("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(store.folder)):
        yield int(10 ** rng.uniform(0, 4.7)), lambda: None
        return

    def grow() -> None:
        assert not _root("mount", "-o", "remount,size=50m", str(store.folder))

    try:
        yield None, grow
    finally:
        _root("umount", "-l", str(store.folder))


def _root(*words: str) -> int:
    """The status of a command that only root may give."""
    return 1 if os.getuid() else subprocess.run(words, capture_output=True).returncode


def pairs(folder: Path, count: int, seed: int) -> str:
    """Start two commands on one folder, the second one a little later."""
    rng, counts = random.Random(seed), Counter[str]()
    kinds = (_two_runs, _two_resumed, _two_unnamed, _two_sweeps, _run_and_report, _two_reports, _sweep_and_report)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        kind(_fresh(folder, number), rng, counts)
    found = f"{counts['both']} times both ran, {counts['one']} times one was refused in one line"
    return f"{count} pairs of commands ({found}): no finished row lost, none twice, all tables the same"


def _together(store: Store, first: Words, second: Words, rng: random.Random, counts: Counter[str]) -> list[Ended]:
    """Run two commands at once; the first is not refused unless the second was quicker."""
    before = store.rows()
    one = store.start(first)
    time.sleep(rng.choice([0, 0, rng.uniform(0, whole(RUN)[1])]))
    both = [process.ended().check() for process in (one, store.start(second))]
    check_kept(before, store)
    assert any(each.status == 0 for each in both), both
    for each in both:
        assert each.status == 0 or any(word in each.last for word in ("another", "not empty")), each
    counts["both" if all(each.status == 0 for each in both) else "one"] += 1
    return both


def _two_runs(store: Store, rng: random.Random, counts: Counter[str]) -> None:
    _together(store, RUN.words[:-1], RUN.words[:-1], rng, counts)
    _check_same(store, RUN)


def _two_resumed(store: Store, rng: random.Random, counts: Counter[str]) -> None:
    command = store.start(RUN.words)
    _wait(store, command, rng, rng.choice([-1, 1, 4]))
    command.kill()
    command.ended()
    _together(store, RUN.words, RUN.words, rng, counts)
    _check_same(store, RUN)


def _two_unnamed(store: Store, rng: random.Random, counts: Counter[str]) -> None:
    words = RUN.words[: RUN.words.index("--out")]
    both = _together(store, words, words, rng, counts)
    assert [each.status for each in both] == [0, 0], both
    folders = {name for name, _, _ in store.rows()}
    assert len(folders) == 2, folders
    for name in folders:
        rows = {key[1:]: row for key, row in store.rows().items() if key[0] == name}
        assert rows == {key[1:]: row for key, row in whole(RUN)[0].rows.items()}


def _two_sweeps(store: Store, rng: random.Random, counts: Counter[str]) -> None:
    _together(store, SWEEP.words, SWEEP.words, rng, counts)
    _check_same(store, SWEEP)


def _two_reports(store: Store, rng: random.Random, counts: Counter[str]) -> None:
    store.finish(RUN)
    _together(store, ("report", "X"), ("report", "X"), rng, counts)
    _check_same(store, RUN)


def _run_and_report(store: Store, rng: random.Random, counts: Counter[str]) -> None:
    store.finish(RUN)
    more = _with_episodes(RUN.words, 8)
    _together(store, more, ("report", "X"), rng, counts)
    assert len(store.rows()) == 16


def _sweep_and_report(store: Store, rng: random.Random, counts: Counter[str]) -> None:
    store.run(_with_episodes(SWEEP.words, 1)).check()
    (folder,) = store.folder.glob("runs/sweep-*")
    _together(store, SWEEP.words, ("report", str(folder)), rng, counts)
    shutil.rmtree(folder)
    _check_same(store, SWEEP)


def _with_episodes(words: Words, episodes: int) -> Words:
    place = words.index("--episodes") + 1
    return (*words[:place], str(episodes), *words[place + 1 :])


Damage = Callable[[bytes, random.Random], bytes]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _hole(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + bytes(rng.choice([1, 100, 1977])) + content[start + rng.choice([0, 100]) :]


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 20])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _twice(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    return content + b"".join(rng.sample(lines, rng.randint(1, len(lines))))


def _joined(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    return b"\n".join(lines[:place]) + b"\n".join(lines[place:])


def _shuffled(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(rng.sample(lines, len(lines)))


def _foreign(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    words = [
        b"<<<<<<< HEAD\n",
        b"\xff\xfe\n",
        b"null\n",
        b"[" * 9999 + b"\n",
        b'{"mode": 1, "seed": [], "success": ""}\n',
    ]
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(words))
    return b"".join(lines)


def _windows(content: bytes, rng: random.Random) -> bytes:
    return content.replace(b"\n", b"\r\n")


def _gone(content: bytes, rng: random.Random) -> bytes:
    return b""


DAMAGES: tuple[Damage, ...] = (_cut, _hole, _flip, _twice, _joined, _shuffled, _foreign, _windows, _gone)


def stores(folder: Path, count: int, seed: int) -> str:
    """Damage files of a store, and go on with it."""
    rng, counts = random.Random(seed), Counter[str]()
    finished = {}
    for number, work in enumerate(WORKS):
        finished[work] = _fresh(folder, f"finished-{number}").folder
        Store(finished[work]).finish(work)
    for number in range(count):
        work = WORKS[number % 2]
        store = Store(folder / f"{number}")
        shutil.copytree(finished[work], store.folder)
        intact = _damaged(store, work, rng, counts)
        done = store.run(work.words).check()
        if done.status == 2:  # what a run's rows are of, its config.json alone says
            assert (work, "config.json" in done.last) == (RUN, True), done
            assert intact.items() <= store.rows(once=False).items()
            counts["refused"] += 1
        else:
            check_kept(intact, store)
            _check_same(store, work)
    fine = count - counts["refused"]
    left = f"{fine} same tables, {counts['refused']} runs without a config.json refused in one line"
    return f"{count} damaged stores ({counts['files']} files): no whole row lost, none twice, {left}"


def _damaged(store: Store, work: Work, rng: random.Random, counts: Counter[str]) -> dict[tuple[str, str, int], object]:
    """Damage some files of a store; returns the rows that are still whole."""
    files = sorted(path for path in store.folder.rglob("*.json*") if path.parent.name != "traces")
    rows = [path for path in files if path.suffix == ".jsonl"]
    lines = {}
    configs = [path for path in files if path.name in ("config.json", "sweep.json")]
    for path in rng.sample(rows, rng.randint(1, min(2, len(rows)))) + rng.sample(configs, rng.randint(0, 1)):
        before = set(path.read_bytes().splitlines())
        damage = rng.choice(DAMAGES)
        path.write_bytes(damage(path.read_bytes(), rng))
        if damage is _gone and rng.random() < 0.5:
            path.unlink()
        counts["files"] += 1
        lines[path] = before
    whole_rows = {}
    for key, row in whole(work)[0].rows.items():
        path = store.folder / key[0] / "episodes.jsonl"
        content = path.read_bytes() if path.is_file() else b""
        mine = [line for line in content.split(b"\n")[:-1] if line in lines.get(path, {line})]
        if any(f'"mode": "{key[1]}", "seed": {key[2]},'.encode() in line for line in mine):
            whole_rows[key] = row
    return whole_rows


def _fresh(folder: Path, name: object) -> Store:
    (folder / str(name)).mkdir(parents=True)
    return Store(folder / str(name))


def _check_same(store: Store, work: Work) -> None:
    """AssertionError unless `work`, carried to its end, leaves what it leaves if nothing happens."""
    before = store.rows()
    found, expected = store.finish(work), whole(work)[0]
    check_kept(before, store)
    assert found.rows == expected.rows, "other rows"
    assert found.table == expected.table, "\n".join(found.table)
    assert found.summary == expected.summary
    assert found.films >= expected.films, found.films
