import contextlib
import io
import logging
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.intake import archives
from knee.intake.archives import ArchiveError, ArchiveLimits, opened
from tests.films import ROOT
from tests.intake.packing import (
    FORMATS,
    LIMITS,
    Members,
    encrypted,
    special,
    tarred,
    unpacked,
    zipped,
    zipped_link,
    zipped_raw,
)

FILES = {"a/1": b"one", "a/deep/2": b"two", "b/\u00e9": b"three"}


@pytest.mark.parametrize("name", FORMATS)
def test_every_file_comes_out_whatever_the_name_of_the_archive(tmp_path: Path, name: str) -> None:
    assert unpacked(tmp_path, FORMATS[name](FILES)) == FILES


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_a_single_top_folder_is_looked_through_and_the_copy_is_gone_after(
    tmp_path: Path, name: str, flat: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(FORMATS[name]({f"top/{inner}": FILES[inner] for inner in FILES}))
    with opened(path, LIMITS, (), flat=flat) as data:
        assert (data.shown, data.top) == (path, "top")
        assert (data.folder / "a" / "1").read_bytes() == b"one"
    assert not data.folder.exists()


@pytest.mark.parametrize(
    ("classes", "members"),
    [(("top",), ["top/deep/1"]), ((), ["top/1"]), ((), ["a/1", "b/1"]), ((), [".top/deep/1"])],
)
def test_what_may_be_a_class_is_not_looked_through(
    tmp_path: Path, classes: tuple[str, ...], members: list[str]
) -> None:
    path = tmp_path / "films.zip"
    path.write_bytes(zipped(dict.fromkeys(members, b"")))
    with opened(path, LIMITS, classes) as data:
        assert data.top == ""
        assert (data.folder / members[0]).exists()


WRAPPED = {
    "a README beside": (["top/a/1", "top/b/1", "README.txt"], "top"),
    "a licence and a table": (["top/a/1", "top/b/1", "LICENSE", "labels.csv"], "top"),
    "two folders": (["x/Data set/a/1", "x/Data set/b/1"], "x/Data set"),
    "a README at each level": (["x/y/a/1", "x/y/b/1", "README", "x/README"], "x/y"),
    "files of systems": (["top/a/1", "top/b/1", ".DS_Store", "__MACOSX/top/x"], "top"),
    "hidden folders": (["top/a/1", "top/b/1", ".git/x", "top/.git/x"], "top"),
    "a hidden folder in a class": (["top/a/1", "top/a/.x/1"], "top"),
    "classes": (["a/1", "b/1", "README"], ""),
    "classes with folders": (["a/x/1", "b/x/1"], ""),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("case", WRAPPED)
def test_folders_are_looked_through_as_long_as_there_is_one(
    tmp_path: Path, name: str, case: str
) -> None:
    members, top = WRAPPED[case]
    path = tmp_path / name
    path.write_bytes(FORMATS[name](dict.fromkeys(members, b"text")))
    with opened(path, LIMITS, ()) as data:
        assert data.top == top


def test_what_is_beside_a_folder_that_is_looked_through_is_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "films.zip"
    path.write_bytes(zipped({"top/a/1": b"", "README": b"text"}))
    with caplog.at_level(logging.INFO), opened(path, LIMITS, ()):
        assert "beside 'top', left out: 'README'" in caplog.text


@pytest.mark.parametrize("image", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", bytes(128) + b"DICM"])
def test_an_image_beside_a_single_folder_never_vanishes(tmp_path: Path, image: bytes) -> None:
    path = tmp_path / "films.zip"
    path.write_bytes(zipped({"top/a/1": b"", "film": image}))
    message = "has images beside its only folder, 'top': 'film'"
    with pytest.raises(ArchiveError, match=message), opened(path, LIMITS, ()):
        pass


def test_with_a_sheet_one_folder_is_looked_through_as_its_paths_may_name_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "films.zip"
    path.write_bytes(zipped({"study/series/1": b""}))
    with opened(path, LIMITS, (), flat=True) as data:
        assert data.top == "study"


def test_an_official_part_is_not_looked_through(tmp_path: Path) -> None:
    path = tmp_path / "films.zip"
    path.write_bytes(zipped({"top/train/a/1": b"", "top/train/b/1": b""}))
    with opened(path, LIMITS, ("train", "val", "test")) as data:
        assert data.top == "top"


def test_a_folder_is_used_where_it_is(tmp_path: Path) -> None:
    with opened(tmp_path, LIMITS, ()) as data:
        assert (data.folder, data.shown, data.top) == (tmp_path, tmp_path, "")
    assert tmp_path.exists()


def test_backslashes_in_a_zip_are_folders(tmp_path: Path) -> None:
    assert unpacked(tmp_path, zipped({"a\\1": b"one"})) == {"a/1": b"one"}


FRENCH, CHINESE, RUSSIAN = (
    "Ost\u00e9op\u00e9nie/1",
    "\u6b63\u5e38/1",
    "\u041d\u043e\u0440\u043c\u0430/1",
)
JAPANESE, GERMAN = "\u30bd\u80fd/1", "M\u00fcller/\u00df"  # the former with bytes 5C in Shift-JIS


@pytest.mark.parametrize("name", [FRENCH, CHINESE, RUSSIAN, JAPANESE, GERMAN])
def test_a_name_in_utf8_needs_no_flag(tmp_path: Path, name: str) -> None:
    assert unpacked(tmp_path, zipped_raw({name.encode(): b"x", b"plain": b"y"})) == {
        name: b"x",
        "plain": b"y",
    }


@pytest.mark.parametrize(
    ("code_page", "name"),
    [
        *(("gbk", CHINESE), ("big5", CHINESE), ("shift_jis", JAPANESE), ("euc_kr", "\uc815/1")),
        *(("cp866", RUSSIAN), ("cp1251", RUSSIAN), ("koi8_r", RUSSIAN), ("cp1252", FRENCH)),
        *(("cp437", GERMAN), ("cp850", GERMAN), ("latin-1", GERMAN), ("shift_jis", "a\u8868/1")),
    ],
)
def test_a_name_in_a_code_page_refuses_the_archive_and_never_becomes_other_letters(
    tmp_path: Path, code_page: str, name: str
) -> None:
    content = zipped_raw({name.encode(code_page): b"x", b"plain": b"y"})
    with pytest.raises(ArchiveError, match="has names in an unknown code page, such as '"):
        unpacked(tmp_path, content)
    assert list((tmp_path / "inside" / "unpacked").iterdir()) == []


@pytest.mark.parametrize("stale", [False, True])
def test_a_name_in_a_code_page_may_have_its_twin_in_unicode(tmp_path: Path, stale: bool) -> None:
    raw = CHINESE.encode("gbk")
    field = struct.pack("<BI", 1, zlib.crc32(raw) ^ stale) + CHINESE.encode()
    extra = b"\1\0\0\0" + struct.pack("<HH", 0x7075, len(field)) + field
    content = zipped_raw({raw: b"x"}, extra)
    if stale:  # the archive was renamed by a program that does not know the field
        with pytest.raises(ArchiveError, match="unknown code page"):
            unpacked(tmp_path, content)
    else:
        assert unpacked(tmp_path, content) == {CHINESE: b"x"}


def test_a_zero_byte_in_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="has a zero byte in its name"):
        unpacked(tmp_path, zipped_raw({b"a/1.png\0.exe": b"x"}))


def test_a_zip64_is_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w") as archive,
        archive.open("a/1", "w", force_zip64=True) as member,
    ):
        member.write(b"one")
    assert unpacked(tmp_path, stream.getvalue()) == {"a/1": b"one"}


def test_a_compression_that_is_not_read_is_not_called_damage(tmp_path: Path) -> None:
    content = bytearray(zipped({"a/1": b"one"}))
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 9  # Deflate64
    with pytest.raises(ArchiveError, match="packed in a way that is not read here"):
        unpacked(tmp_path, bytes(content))


def test_what_a_killed_process_unpacked_is_found_and_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = tmp_path / "films.zip"
    path.write_bytes(zipped({"a/1": b"one", "b/1": b"two"}))
    code = (
        "import os, pathlib, signal, sys; from knee.intake import archives; "
        "limits = archives.ArchiveLimits(9, 1)\n"
        "with archives.opened(pathlib.Path(sys.argv[1]), limits, ()): "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    (left,) = archives.leftovers()
    assert (left / "files" / "a" / "1").read_bytes() == b"one"
    with caplog.at_level(logging.INFO), opened(path, LIMITS, ()) as data:
        assert f"{left}: left by a killed ingest, removed" in caplog.text
        assert archives.leftovers() == []  # what is in use is none
        archives.remove(data.folder.parent)
        assert (data.folder / "a" / "1").exists()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_resource_forks_of_macos_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert unpacked(tmp_path, zipped({"a/1": b"one", "__MACOSX/a/._1": b"x"})) == {
            "a/1": b"one"
        }
    assert "1 resource forks of macOS left out" in caplog.text


def test_names_that_differ_in_case_are_both_kept_or_refused(tmp_path: Path) -> None:
    members = {"a/Film": b"one", "a/film": b"two"}
    (tmp_path / "x").touch()
    if (tmp_path / "X").exists():
        with pytest.raises(ArchiveError, match="there twice"):
            unpacked(tmp_path, zipped(members))
    else:
        assert unpacked(tmp_path, zipped(members)) == members


UNSAFE_NAMES = {
    "/etc/x": "has an absolute path",
    "C:\\x": "has an absolute path",
    "\\x": "has an absolute path",
    "../x": "leads out of the archive",
    "a/../../x": "leads out of the archive",
    "a\\..\\x": "leads out of the archive",
    "..": "leads out of the archive",
}


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_one_unsafe_name_and_all_is_refused_with_its_name(
    tmp_path: Path, pack: Callable[[Members], bytes], name: str
) -> None:
    with pytest.raises(ArchiveError, match=UNSAFE_NAMES[name]) as raised:
        unpacked(tmp_path, pack({"a/1": b"one", name: b"evil"}))
    assert repr(name.replace("\\", "/")) in str(raised.value) or repr(name) in str(raised.value)
    outside = {path.name for path in tmp_path.rglob("*")}
    assert outside <= {"archive", "inside", "unpacked", "a", "1"}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"member 'a/x' is a link, a device"):
        unpacked(tmp_path, special("a/x", kind))


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="member 'a/x' is a link"):
        unpacked(tmp_path, zipped_link("a/x"))


def test_a_zip_that_lies_about_its_size_gives_no_more_than_it_says(tmp_path: Path) -> None:
    honest = zipped({"a/1": bytes(500_000)})
    size = (500_000).to_bytes(4, "little")
    assert honest.count(size) == 2  # in the member's header and in the directory
    with pytest.raises(ArchiveError, match="damaged"):
        unpacked(tmp_path, honest.replace(size, (100).to_bytes(4, "little")))


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is encrypted"):
        unpacked(tmp_path, encrypted({"a/1": b"one"}))


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_twice_is_refused_and_never_overwritten(
    tmp_path: Path, pack: Callable[[Members], bytes]
) -> None:
    # "a/./1" is "a/1" once more.
    with pytest.raises(ArchiveError, match="is there twice"):
        unpacked(tmp_path, pack({"a/1": b"one", "a/./1": b"two"}))
    assert (tmp_path / "inside" / "unpacked" / "a" / "1").read_bytes() == b"one"


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("names", [("a", "a/1"), ("a/1", "a")])
def test_a_file_with_the_name_of_a_folder_is_refused(
    tmp_path: Path, pack: Callable[[Members], bytes], names: tuple[str, str]
) -> None:
    with pytest.raises(ArchiveError, match="is there twice"):
        unpacked(tmp_path, pack(dict.fromkeys(names, b"x")))


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_that_is_too_long_is_one_clear_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="too long a name"):
        unpacked(tmp_path, FORMATS[name]({"a/" + "x" * 300: b""}))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_an_archive_that_is_cut_off_is_said_to_be_damaged(
    tmp_path: Path, name: str, share: float
) -> None:
    noise = bytes(range(256)) * 40
    content = FORMATS[name]({f"a/{n}": noise[n:] for n in range(20)})
    with pytest.raises(ArchiveError, match="damaged, cut off or no archive"):
        unpacked(tmp_path, content[: int(len(content) * share)])


@pytest.mark.parametrize("cut", [0, 100])
def test_a_tar_that_ends_between_two_members_is_damaged(tmp_path: Path, cut: int) -> None:
    content = tarred({"a/1": bytes(512), "a/2": bytes(512)})
    with pytest.raises(ArchiveError, match="no archive \\(tar header"):
        unpacked(tmp_path, content[: 1024 + cut])


def test_a_broken_header_never_hides_the_members_behind_it(tmp_path: Path) -> None:
    content = bytearray(tarred({"a/1": b"one", "a/2": b"two", "a/3": b"three"}))
    content[1024] ^= 1  # the name of the second member: its checksum fails
    with pytest.raises(ArchiveError, match="tar header: bad checksum"):
        unpacked(tmp_path, bytes(content))


@pytest.mark.parametrize("padding", [0, 10_240, 1_024_000])
def test_a_second_tar_behind_the_first_never_vanishes(tmp_path: Path, padding: int) -> None:
    two = tarred({"a/1": b"one"}) + bytes(padding) + tarred({"a/2": b"two"})
    with pytest.raises(ArchiveError, match="goes on behind its end"):
        unpacked(tmp_path, two, ArchiveLimits(files=50, gigabytes=1))


def test_a_checksum_that_fails_is_damage_though_every_member_was_read(tmp_path: Path) -> None:
    content = bytearray(FORMATS["films.tar.gz"](FILES))
    content[-8] ^= 1  # of the CRC-32
    with pytest.raises(ArchiveError, match="CRC check failed"):
        unpacked(tmp_path, bytes(content))


def test_a_huge_extended_header_is_refused_unread(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    with pytest.raises(ArchiveError, match="extended header is larger"):
        unpacked(tmp_path, header.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x07\x08"])
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ArchiveError, match="no folder and no zip"):
        unpacked(tmp_path, content)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"Rar!\x1a\x07", "RAR"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "7z"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
    ],
)
def test_other_archives_are_named_with_what_to_do(tmp_path: Path, start: bytes, kind: str) -> None:
    with pytest.raises(ArchiveError, match=f"unpack this {kind} archive yourself"):
        unpacked(tmp_path, start)


@given(
    st.sampled_from(sorted(FORMATS)),
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damaged_bytes_never_give_anything_but_files_or_a_refusal(
    name: str, damages: list[tuple[int, int]]
) -> None:
    content = bytearray(FORMATS[name](FILES))
    for position, value in damages:
        content[position % len(content)] = value
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(ArchiveError):
            unpacked(Path(folder), bytes(content))
        inside = {path.relative_to(folder).parts[0] for path in Path(folder).rglob("*")}
        assert inside == {"archive", "inside"}
