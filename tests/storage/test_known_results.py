"""Known results: the same bytes or none, of the last run, whatever happened to their folder."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from knee.storage import known_results
from knee.storage.known_results import KnownResults

KEYS = [bytes([number]) * 32 for number in range(4)]
VALUES = [b"zero" * 50, b"one", b"two", b"three" * 9]


@pytest.fixture(autouse=True)
def made_with(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without the code and the machine: to look at them takes a hundredth of a second."""
    monkeypatch.setattr(known_results, "made_with", lambda facts: {"code": "c", **facts})
    caplog.set_level(logging.INFO)


def kept(folder: Path, facts: dict[str, str] | None = None, numbers: range = range(3)) -> list[int]:
    """A run with these results: the numbers of those that it knew and need not compute."""
    knew = []
    with KnownResults(folder, facts or {}) as known:
        for number in numbers:
            value = known.get(KEYS[number])
            if value is not None:
                assert value == VALUES[number]
                knew.append(number)
            known.add(KEYS[number], VALUES[number])
    return knew


def test_a_run_knows_the_results_of_the_last_run_and_no_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "made" / "known"
    assert kept(folder) == []
    assert kept(folder) == [0, 1, 2]
    assert "not used" not in caplog.text
    assert kept(folder, numbers=range(2, 4)) == [2]
    assert kept(folder, numbers=range(4)) == [2, 3]
    assert [path.name for path in folder.parent.iterdir()] == ["known"]


def test_results_made_with_something_else_are_not_used_and_a_line_says_what(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept(tmp_path / "known", {"fit": "crop"})
    assert kept(tmp_path / "known", {"fit": "squash"}) == []
    assert "known: made with other fit: not used" in caplog.text
    assert kept(tmp_path / "known", {"fit": "squash"}) == [0, 1, 2]


def changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """A change of a file of the folder."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


DAMAGE = {  # what happens to the folder: the results that are known still
    "a bit of a value": (changed("values/0.bin", lambda c: bytes([c[0] ^ 1]) + c[1:]), [1, 2]),
    "values cut off": (changed("values/0.bin", lambda c: c[:100]), []),
    "no values": (lambda folder: (folder / "values/0.bin").unlink(), []),
    "index cut off": (changed("index.bin", lambda c: c[:100]), [0]),
    "a bit of a key": (changed("index.bin", lambda c: bytes([c[0] ^ 1]) + c[1:]), [1, 2]),
    "a length": (changed("index.bin", lambda c: c[:50] + b"\x7f" + c[51:]), [1, 2]),
    "a file": (changed("index.bin", lambda c: c[:32] + b"\x01" + c[33:]), [1, 2]),
    "a start": (changed("index.bin", lambda c: c[:43] + b"\xff" + c[44:]), [1, 2]),
    "a foreign index": (changed("index.bin", lambda _: b"PK\x03\x04" * 100), []),
    "no index": (lambda folder: (folder / "index.bin").unlink(), []),
    "no JSON": (changed("made_with.json", lambda _: b"\xff{"), []),
    "other JSON": (changed("made_with.json", lambda _: b"[]"), []),
    "empty": (lambda folder: [p.unlink() for p in folder.rglob("*") if p.is_file()], []),
}


@pytest.mark.parametrize(("damage", "known"), DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_damaged_is_computed_again_and_a_line_says_so(
    tmp_path: Path,
    damage: Callable[[Path], object],
    known: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept(tmp_path / "known")
    damage(tmp_path / "known")
    caplog.clear()
    assert kept(tmp_path / "known") == known
    assert f"known: {len(known)} known results, {3 - len(known)} new" in caplog.text
    assert kept(tmp_path / "known") == [0, 1, 2]


def test_a_line_says_how_many_were_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept(tmp_path / "known")
    DAMAGE["a bit of a value"][0](tmp_path / "known")
    kept(tmp_path / "known")
    assert "known: 1 damaged results were not used" in caplog.text
    assert re.search("known: 2 known results, 1 new$", caplog.text)


def test_where_nothing_can_be_written_a_line_says_so_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert kept(tmp_path / "file" / "known") == []
    assert caplog.text.count("known cannot be written (Not a directory): not kept") == 1
    if Path("/dev/full").exists():
        with KnownResults(tmp_path / "known", {}) as known:
            known._stream = Path("/dev/full").open("wb")  # noqa: SIM115
            known.add(KEYS[0], VALUES[0])
        assert "known cannot be written (No space left on device): not kept" in caplog.text
        assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_run_that_fails_leaves_what_was_known_and_what_it_had_made(tmp_path: Path) -> None:
    kept(tmp_path / "known")
    with pytest.raises(ValueError, match="of the stage"), KnownResults(tmp_path / "known", {}) as k:
        k.add(KEYS[3], VALUES[3])
        raise ValueError("of the stage")
    assert kept(tmp_path / "known", numbers=range(4)) == [0, 1, 2, 3]


def test_two_runs_at_once_end_well_and_what_stays_is_right(tmp_path: Path) -> None:
    with KnownResults(tmp_path / "known", {}) as one:
        one.add(KEYS[0], VALUES[0])
        with KnownResults(tmp_path / "known", {}) as two:
            two.add(KEYS[1], VALUES[1])
        one.add(KEYS[2], VALUES[2])
    assert set(kept(tmp_path / "known")) <= {0, 1, 2}  # `kept` looks at the values
    assert kept(tmp_path / "known") == [0, 1, 2]


def test_values_in_an_output_are_known_by_links_and_survive_its_removal(tmp_path: Path) -> None:
    folder = tmp_path / "known"
    outputs = [tmp_path / "0.npy", tmp_path / "1.npy"]
    for knew in (None, b"row one"):
        with KnownResults(folder, {}) as known:
            assert known.get(KEYS[0]) == knew
            known.add(KEYS[0], b"row one", (1, 8))
            for output in outputs:
                output.write_bytes(b"header, row one, row two")
                known.keep_file(output)
        assert (folder / "values" / "1.bin").samefile(outputs[1])
        for output in outputs:
            output.unlink()


def killed(folder: Path, numbers: list[int]) -> None:
    """A run that ends in the middle, by a kill or an error."""
    known = KnownResults(folder, {}).__enter__()
    for number in numbers:
        known.add(KEYS[number], VALUES[number])
    for stream in (known._stream, known._index):
        assert stream is not None
        stream.close()


def test_a_killed_run_goes_on_with_what_it_had_and_with_what_was_known_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "known"
    kept(folder, numbers=range(1))
    killed(folder, [1, 2])
    caplog.clear()
    assert kept(folder) == [0, 1, 2]
    assert "3 known results, 0 new" in caplog.text
    assert "damaged" not in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["known"]


def test_of_two_killed_runs_the_one_that_got_further_counts(tmp_path: Path) -> None:
    folder = tmp_path / "known"
    killed(folder, [1, 2])
    killed(folder, [1])
    assert kept(folder) == [1, 2]


def test_what_a_killed_run_had_not_written_yet_is_no_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "known"
    killed(folder, [0, 1, 2])
    values = tmp_path / ".known.staged" / "values" / "0.bin"
    values.write_bytes(values.read_bytes()[:-1])
    assert kept(folder) == [0, 1]
    assert "damaged" not in caplog.text


def test_what_a_killed_run_made_with_other_facts_is_not_used(tmp_path: Path) -> None:
    killed(tmp_path / "known", [1])
    assert kept(tmp_path / "known", {"fit": "squash"}) == []


def test_code_packages_and_machine_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for name in [name for name in os.environ if name.startswith(known_results.THREADS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = known_results.made_with({"fit": "crop"})
    assert len(made["code"]) == 64
    assert set(made["packages"]) == set(known_results.PACKAGES)
    assert (made["fit"], made["threads"]) == ("crop", {"OMP_NUM_THREADS": "1"})


def test_keys_that_begin_alike_are_never_taken_for_one_another(tmp_path: Path) -> None:
    one, other = b"12345678" + bytes(24), b"12345678" + b"x" * 24
    with KnownResults(tmp_path / "known", {}) as known:
        known.add(one, b"one")
        known.add(other, b"other")
    with KnownResults(tmp_path / "known", {}) as known:
        assert known.get(one) == b"one"
        assert known.get(other) in (None, b"other")
