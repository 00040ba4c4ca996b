"""The archive of classes that a session of queries starts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from lulc.spark import java


def test_classes_come_from_an_archive_once_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    home = tmp_path / "java"
    light = java.quick_options(home, writes=True)
    assert not any("Archive" in option for option in light)
    base = home / "lib" / "server" / "classes.jsa"
    base.parent.mkdir(parents=True)
    base.write_bytes(b"of Java")
    # Java writes the header, in front of all, last.
    for content, use in (
        (b"", "ArchiveClassesAtExit"),
        (bytes(100), "ArchiveClassesAtExit"),
        (b"\xa8\xba\x0b\xf0", "SharedArchiveFile"),
    ):
        _archive_of(java.quick_options(home, writes=True)).write_bytes(content)
        assert f"-XX:{use}=" in " ".join(java.quick_options(home, writes=True))
    assert _archive_of(java.quick_options(home, writes=True)).parent == tmp_path / "cache" / "lulc"
    archive = _archive_of(java.quick_options(home, writes=False))
    archive.unlink()
    assert java.quick_options(home, writes=False) == light
    (tmp_path / "other").write_text("")
    for folder in ("other", "with a space"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / folder))
        assert java.quick_options(home, writes=True) == light


def test_a_java_that_does_not_warn_has_the_same_archive() -> None:
    home = java.find_home()
    wrapped = java.without_warning(home)
    assert java.without_warning(wrapped) == wrapped
    assert java.version(wrapped / "bin" / "java") == java.version(home / "bin" / "java")
    assert java.class_archive(wrapped) == java.class_archive(home)


def _archive_of(options: tuple[str, ...]) -> Path:
    return next(Path(text.partition("=")[2]) for text in options if text.endswith(".jsa"))
