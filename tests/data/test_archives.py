import gzip
import io
import os
import tarfile
import zipfile

import pytest

from cgat_jax.data.dataset import DataError
from cgat_jax.data.sources import archives
from cgat_jax.data.sources.source_file import find, read_bytes, read_text, search


def tar(path, members):
    """``members``: (TarInfo or name, content) pairs."""
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for member, content in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def opened(source, tmp_path):
    return archives.places_of(source, tmp_path / "unpacked", progress=False)


def test_a_folder_and_its_archives_are_searched_together(tmp_path):
    source = tmp_path / "source"
    (source / "deep" / "down").mkdir(parents=True)
    (source / "deep" / "down" / "a.txt").write_text("folder")
    with zipfile.ZipFile(source / "b.zip", "w") as archive:
        archive.writestr("inner/b.txt", "zip")
    tar(source / "c.tgz", [("x/y/c.txt", b"tar")])
    places = opened(source, tmp_path)
    for name, text in (("a.txt", "folder"), ("b.txt", "zip"), ("c.txt", "tar")):
        assert read_text(find(places, name)) == text
    assert find(places, "inner").is_dir()
    assert search(places, "d.txt") is None
    with pytest.raises(DataError, match="no d.txt there, nor in the folders below"):
        find(places, "d.txt")


def test_archives_beside_complete_files_are_not_opened(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("folder")
    (source / "broken.zip").write_bytes(b"PK")
    (source / "broken.tar").write_bytes(b"no archive")

    def read(places):
        return read_text(find(places, "a.txt"))

    def found():
        return archives.read_source(read, source, tmp_path / "unpacked", False)

    assert found() == "folder"
    assert not (tmp_path / "unpacked").exists()
    (source / "a.txt").unlink()
    with pytest.raises(DataError, match="broken.tar: not unpacked"):
        found()
    (source / "broken.tar").unlink()
    with zipfile.ZipFile(source / "broken.zip", "w") as archive:
        archive.writestr("a.txt", "zip")
    assert found() == "zip"


@pytest.mark.parametrize("name", ["one.tar", "one.tgz", "one.zip"])
def test_an_archive_may_be_the_source(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("f/a.txt", "here")
    else:
        tar(path, [("f/a.txt", b"here")])
    (place,) = opened(path, tmp_path)
    assert read_text(place / "f" / "a.txt") == "here"


def test_a_tar_archive_is_unpacked_once(tmp_path):
    path = tar(tmp_path / "one.tar", [("a.txt", b"first")])
    (folder,) = opened(path, tmp_path)
    inode = (folder / "a.txt").stat().st_ino
    assert opened(path, tmp_path) == [folder]
    assert (folder / "a.txt").stat().st_ino == inode
    tar(path, [("a.txt", b"second")])
    os.utime(path, ns=(1, 1))
    opened(path, tmp_path)
    assert (folder / "a.txt").read_text() == "second"


def test_a_cut_off_unpacking_is_not_taken_for_complete(tmp_path, monkeypatch):
    path = tar(tmp_path / "one.tar", [("a.txt", b"a"), ("b.txt", b"b")])

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archives.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened(path, tmp_path)
    (folder,) = opened(path, tmp_path)
    assert {p.name for p in folder.iterdir()} == {"a.txt", "b.txt"}


@pytest.mark.parametrize(
    "member, message",
    [
        (special("a", tarfile.SYMTYPE, "/etc/passwd"), "'a' is a link or a special"),
        (special("a", tarfile.LNKTYPE, "ok.txt"), "'a' is a link or a special"),
        (special("a", tarfile.FIFOTYPE), "'a' is a link or a special"),
        (special("a", tarfile.CHRTYPE), "'a' is a link or a special"),
        (special("../escaped.txt", tarfile.REGTYPE), "outside"),
        (special("x/../../escaped.txt", tarfile.REGTYPE), "outside"),
    ],
)
def test_what_could_harm_is_refused(tmp_path, member, message):
    path = tar(tmp_path / "bad.tar", [("ok.txt", b"ok"), (member, b"")])
    with pytest.raises(DataError, match=message) as caught:
        opened(path, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.txt"))


def test_absolute_names_stay_inside(tmp_path):
    path = tar(tmp_path / "one.tar", [(str(tmp_path / "escaped.txt"), b"x")])
    (folder,) = opened(path, tmp_path)
    (found,) = tmp_path.rglob("escaped.txt")
    assert folder in found.parents


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_bombs_are_refused_before_they_unpack(tmp_path, monkeypatch, kind):
    """10 MB of zeros in 10 kB, where 1 MB may be unpacked of any archive."""
    monkeypatch.setattr(archives, "FREE_BYTES", 10**6)
    path, zeros = tmp_path / f"bomb.{kind}", bytes(10**7)
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", zeros)
    else:
        tar(path, [("zeros", zeros)])
    with pytest.raises(DataError, match="unpacks to over 0.0 GB, 50 times its size"):
        opened(path, tmp_path)
    assert not list(tmp_path.rglob("zeros"))


@pytest.mark.parametrize("kind", [b"x", b"L"])
def test_a_header_that_is_a_bomb_is_not_read(tmp_path, kind):
    """An extended header (pax, or GNU's long name) that claims 3 GB."""
    member = special("a", kind)
    member.size = 3 * 10**9
    path = tmp_path / "bomb.tgz"
    with gzip.open(path, "wb") as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    with pytest.raises(DataError, match="a header of 3,000,000,.* bytes"):
        opened(path, tmp_path)


def test_every_compression_is_read(tmp_path):
    for kind in ("", ".gz", ".bz2", ".xz"):
        path = tmp_path / f"a.tar{kind}"
        with tarfile.open(path, f"w:{kind[1:]}") as archive:
            member = tarfile.TarInfo("b/" + "long" * 60)
            member.size = 10_000
            archive.addfile(member, io.BytesIO(bytes(10_000)))
        (folder,) = opened(path, tmp_path)
        assert (folder / member.name).read_bytes() == bytes(10_000)


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    members = [(f"{i}.txt", b"") for i in range(4)]
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    for path in (tmp_path / "many.zip", tar(tmp_path / "many.tar", members)):
        with pytest.raises(DataError, match="over 3 files, not read"):
            opened(path, tmp_path)


def test_a_large_member_is_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("big.jpg", bytes(1_000))
    (place,) = opened(tmp_path / "a.zip", tmp_path)
    with pytest.raises(DataError, match="big.jpg: over 0 MB, not read"):
        read_bytes(place / "big.jpg", "big.jpg", 999)
    assert len(read_bytes(place / "big.jpg", "big.jpg", 1_000)) == 1_000


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.zip", b"PK\x03\x04nothing", "not a complete zip archive"),
        ("a.zip", b"", "not a complete zip archive"),
        ("a.tar", b"no archive at all", "not unpacked"),
        ("a.tgz", b"\x1f\x8b\x08", "not unpacked"),
        ("a.rar", b"Rar!", "neither a folder nor an archive"),
    ],
)
def test_damaged_archives_are_refused_in_a_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path / name, tmp_path)
    assert "\n" not in str(caught.value)


def test_cut_and_overwritten_archives_are_found(tmp_path):
    path = tar(tmp_path / "a.tar", [("a.bin", bytes(9_000))])
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(DataError, match="a.tar: not unpacked"):
        opened(path, tmp_path)
    path = tar(tmp_path / "a.tgz", [("a.bin", os.urandom(90_000))])
    data = bytearray(path.read_bytes())
    data[60_000:] = bytes(len(data) - 60_000)
    path.write_bytes(data)
    with pytest.raises(DataError, match="a.tgz: not unpacked"):
        opened(path, tmp_path)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.bin", bytes(9_000))
    data = bytearray(path.read_bytes())
    data[5_000] ^= 255
    path.write_bytes(data)
    (place,) = opened(path, tmp_path)
    with pytest.raises(DataError, match="a.bin: damaged in its archive .*CRC"):
        read_bytes(place / "a.bin", "a.bin", 10_000)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "secret")
    data = path.read_bytes()
    for header, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(header) + offset
        data = data[:at] + bytes([data[at] | 1]) + data[at + 1 :]
    path.write_bytes(data)
    with pytest.raises(DataError, match="a.txt is encrypted; unpack the archive first"):
        opened(path, tmp_path)
