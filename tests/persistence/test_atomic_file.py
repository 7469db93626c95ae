"""A file is there whole, or as it was before."""

import os

import pytest

from sklearn_ternary.persistence import (
    atomic_file,
)


def write_text(path, text):
    with atomic_file(path) as file:
        file.write(text.encode())


def test_atomic_writes_and_replaces(tmp_path):
    path = tmp_path / "a"
    write_text(path, "old")
    write_text(path, "new, longer")
    assert path.read_text() == "new, longer"
    assert os.listdir(tmp_path) == ["a"]


def test_atomic_exception_keeps_the_old_file(tmp_path):
    path = tmp_path / "a"
    write_text(path, "old")
    for error in (RuntimeError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), atomic_file(path) as file:
            file.write(b"half")
            raise error
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["a"]


def test_atomic_is_invisible_until_the_end(tmp_path):
    with atomic_file(tmp_path / "a") as file:
        file.write(b"x")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").exists()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_atomic_mode_is_that_of_open(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "ours", "")
        (tmp_path / "theirs").write_text("")
    finally:
        os.umask(before)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_atomic_keeps_the_mode_of_an_existing_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("")
    path.chmod(0o640)
    write_text(path, "new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_atomic_follows_links_and_refuses_what_is_no_file(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path, "")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        write_text(tmp_path / "pipe", "")
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "missing" / "a", "")


@pytest.mark.parametrize("name", ["a", "a b\n[c]*", "ü" * 120, "x" * 255])
def test_atomic_removes_orphans_of_the_same_name_only(tmp_path, name):
    path = tmp_path / name
    pid = os.fork()
    if pid == 0:
        with atomic_file(path) as file:
            file.write(b"half")
            os._exit(0)
    os.waitpid(pid, 0)
    (orphan,) = os.listdir(tmp_path)
    assert orphan != name
    write_text(tmp_path / "other", "")
    assert orphan in os.listdir(tmp_path)
    write_text(path, "")
    assert sorted(os.listdir(tmp_path)) == sorted(["other", name])


def test_atomic_leaves_a_living_writer_alone(tmp_path):
    path = tmp_path / "a"
    with atomic_file(path) as first:
        first.write(b"first")
        write_text(path, "second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["a"]


def test_atomic_file_is_a_file(tmp_path):
    with atomic_file(tmp_path / "a") as file:
        file.write(b"0123456789")
        file.write_at(2, b"xy")
        assert file.tell() == 10
        file.seek(1)
        assert file.read(3) == b"1xy"
        file.truncate(5)
    assert (tmp_path / "a").read_bytes() == b"01xy4"
