"""A set of files is replaced as a whole or not at all, whatever happens on the way."""

import errno
import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.transaction import (
    FOREIGN,
    MANIFEST,
    STAGING,
    Change,
    FileTransaction,
    ManagedFile,
)

# What is found below a folder: relative path → (content, mode).
Found = dict[str, tuple[bytes, int]]


@pytest.fixture(autouse=True, scope="module")
def quick_disk() -> Iterator[None]:
    """The tests cut off processes, not the power: nothing has to wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield


OLD = [
    ManagedFile("haproxy.cfg", b"old"),
    ManagedFile("lists/a.list", b"old a"),
    ManagedFile("lists/gone.list", b"old gone"),
    ManagedFile("certificates/mail.pem", b"old key", 0o600),
]
NEW = [
    ManagedFile("haproxy.cfg", b"new"),
    ManagedFile("lists/a.list", b"new a"),
    ManagedFile("lists/fresh.list", b"new fresh"),
    ManagedFile("certificates/mail.pem", b"new key", 0o600),
]


class Killed(BaseException):
    """Stands for SIGKILL: nothing that handles errors may stop it."""


# Every call by which the transaction, pathlib and shutil change a disk.
CHANGING = ("replace", "link", "symlink", "unlink", "rmdir", "mkdir", "open", "fchmod", "fsync")


@dataclass
class Disk:
    """Counts the calls that change the disk, and kills or fails at the one that ``fate`` speaks of.

    ``fate`` gets the number of the call, from 1, and its name, and raises what should happen instead of it.
    """

    fate: Callable[[int, str], None]
    calls: list[str] = field(default_factory=list)

    @contextmanager
    def in_place(self) -> Iterator["Disk"]:
        def intercepted(name: str) -> Callable[..., object]:
            genuine = getattr(os, name)

            def call(*arguments: object, **options: object) -> object:
                self.calls.append(name)
                self.fate(len(self.calls), name)
                return genuine(*arguments, **options)

            return call

        with pytest.MonkeyPatch.context() as patch:
            for name in CHANGING:
                patch.setattr(os, name, intercepted(name))
            yield self


def kill_at(number: int) -> Disk:
    def fate(call: int, name: str) -> None:
        if call == number:
            raise Killed(f"at call {call}, {name}")

    return Disk(fate)


def found(root: Path) -> Found:
    """Every file below the root, the transaction's own bookkeeping apart."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] not in (MANIFEST, STAGING)
    }


def expected(files: Sequence[ManagedFile]) -> Found:
    return {file.path: (file.content, file.mode) for file in files}


def put(root: Path, files: Sequence[ManagedFile]) -> None:
    """Write files that aren't the transaction's."""
    for file in files:
        target = root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)


def apply(root: Path, files: Sequence[ManagedFile], kept: Sequence[str] = ()) -> FileTransaction:
    """A whole transaction that goes well."""
    transaction = FileTransaction(root, files, kept)
    transaction.stage()
    transaction.swap()
    transaction.commit()
    return transaction


def manifest(root: Path) -> list[str]:
    return list(json.loads((root / MANIFEST).read_text()))


# --- what a transaction does ------------------------------------------------------------------------------------------


def test_first_set(tmp_path: Path) -> None:
    transaction = apply(tmp_path, OLD)
    assert found(tmp_path) == expected(OLD)
    assert manifest(tmp_path) == sorted(file.path for file in OLD)
    assert transaction.changes() == []
    assert transaction.committed()
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, "certificates", "haproxy.cfg", "lists"]


def test_next_set_prunes_what_was_ours_and_nothing_else(tmp_path: Path) -> None:
    stranger = ManagedFile("lists/stranger.list", b"not ours", 0o640)
    put(tmp_path, [stranger])
    apply(tmp_path, OLD)
    apply(tmp_path, NEW)
    assert found(tmp_path) == expected([*NEW, stranger])
    assert manifest(tmp_path) == sorted(file.path for file in NEW)


def test_changes_say_exactly_what_would_happen(tmp_path: Path) -> None:
    apply(tmp_path, OLD)
    (tmp_path / "certificates/mail.pem").chmod(0o644)
    wanted = [OLD[0], ManagedFile("lists/a.list", b"new a"), ManagedFile("lists/b.list", b"b"), OLD[3]]
    before = found(tmp_path)
    assert FileTransaction(tmp_path, wanted).changes() == [
        Change("certificates/mail.pem", b"old key", b"old key", 0o644, 0o600),
        Change("lists/a.list", b"old a", b"new a", 0o644, 0o644),
        Change("lists/b.list", None, b"b", None, 0o644),
        Change("lists/gone.list", b"old gone", None, 0o644, None),
    ]
    assert found(tmp_path) == before


def test_changes_need_no_folder(tmp_path: Path) -> None:
    changes = FileTransaction(tmp_path / "not there", OLD).changes()
    assert [change.path for change in changes] == sorted(file.path for file in OLD)
    assert list(tmp_path.iterdir()) == []


def test_restore_brings_everything_back(tmp_path: Path) -> None:
    stranger = ManagedFile("lists/fresh.list", b"not ours, and in the way", 0o640)
    put(tmp_path, [stranger])
    apply(tmp_path, OLD)
    before = found(tmp_path)
    transaction = FileTransaction(tmp_path, NEW)
    transaction.stage()
    transaction.swap()
    assert found(tmp_path) == expected([*NEW, ManagedFile(f"{stranger.path}{FOREIGN}", stranger.content, 0o640)])
    transaction.restore()
    assert found(tmp_path) == before
    assert manifest(tmp_path) == sorted(file.path for file in OLD)
    # What was nobody's before is nobody's still: pruning leaves it alone.
    apply(tmp_path, OLD[:1])
    assert found(tmp_path) == expected([OLD[0], stranger])


def test_restore_of_a_first_set_leaves_no_trace(tmp_path: Path) -> None:
    transaction = FileTransaction(tmp_path, NEW)
    transaction.stage()
    transaction.swap()
    transaction.restore()
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_staged_files_are_the_set_as_it_will_be(tmp_path: Path) -> None:
    put(tmp_path, [ManagedFile("certificates/acme.pem", b"renewed elsewhere", 0o600)])
    staging = FileTransaction(tmp_path, NEW, ["certificates/acme.pem"]).stage()
    kept = ManagedFile("certificates/acme.pem", b"renewed elsewhere", 0o600)
    assert found(staging) == expected([*NEW, kept])
    assert found(tmp_path) == expected([kept])
    assert (tmp_path / STAGING).stat().st_mode & 0o7777 == 0o700


def test_staging_elsewhere_writes_nothing_below_the_root(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    assert FileTransaction(root, NEW).stage(elsewhere) == elsewhere
    assert found(elsewhere) == expected(NEW)
    assert list(root.iterdir()) == []


def test_kept_file_of_ours_stays_ours_and_a_stranger_stays_a_stranger(tmp_path: Path) -> None:
    mail, acme = "certificates/mail.pem", "certificates/acme.pem"
    put(tmp_path, [ManagedFile(acme, b"brought by somebody", 0o600)])
    apply(tmp_path, OLD)
    (tmp_path / mail).write_bytes(b"renewed")
    apply(tmp_path, OLD[:1], [mail, acme])
    assert (tmp_path / mail).read_bytes() == b"renewed"
    assert manifest(tmp_path) == [mail, "haproxy.cfg"]
    apply(tmp_path, OLD[:1])
    assert not (tmp_path / mail).exists()
    assert (tmp_path / acme).read_bytes() == b"brought by somebody"


def test_mode_alone_is_a_change(tmp_path: Path) -> None:
    apply(tmp_path, [ManagedFile("key.pem", b"key", 0o644)])
    apply(tmp_path, [ManagedFile("key.pem", b"key", 0o600)])
    assert found(tmp_path) == {"key.pem": (b"key", 0o600)}


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        apply(tmp_path, NEW)
    finally:
        os.umask(before)
    assert found(tmp_path) == expected(NEW)


def test_secret_is_never_readable_for_others(tmp_path: Path) -> None:
    modes: set[int] = set()

    def watch(_: int, name: str) -> None:
        modes.update(mode for path, (_, mode) in found(tmp_path / STAGING).items() if path.endswith("mail.pem"))

    before = os.umask(0)
    try:
        with Disk(watch).in_place():
            apply(tmp_path, NEW)
    finally:
        os.umask(before)
    assert modes == {0o600}


def test_folder_named_like_the_bookkeeping_is_no_trouble(tmp_path: Path) -> None:
    """The old version of ``x`` must not take the place of the new ``old/x`` on its way."""
    first = [ManagedFile("x", b"old x"), ManagedFile("old/x", b"old old/x"), ManagedFile("new/x", b"old new/x")]
    second = [ManagedFile(file.path, b"new " + file.path.encode()) for file in first]
    apply(tmp_path, first)
    apply(tmp_path, second)
    assert found(tmp_path) == expected(second)


# --- links ------------------------------------------------------------------------------------------------------------


def test_link_gives_way_to_a_file_and_its_target_stays(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(tmp_path, [ManagedFile("elsewhere", b"somebody's")])
    root.mkdir()
    (root / "haproxy.cfg").symlink_to("../elsewhere")
    apply(root, NEW)
    assert not (root / "haproxy.cfg").is_symlink()
    copy = root / f"haproxy.cfg{FOREIGN}"
    assert copy.is_symlink()
    copy.unlink()
    assert found(root) == expected(NEW)
    assert (tmp_path / "elsewhere").read_bytes() == b"somebody's"


@pytest.mark.parametrize("target", ["elsewhere", "nowhere", "/nowhere/at/all"])
def test_link_is_back_after_restore(tmp_path: Path, target: str) -> None:
    put(tmp_path, [ManagedFile("elsewhere", b"somebody's")])
    (tmp_path / "haproxy.cfg").symlink_to(target)
    transaction = FileTransaction(tmp_path, NEW)
    transaction.stage()
    transaction.swap()
    transaction.restore()
    assert (tmp_path / "haproxy.cfg").readlink() == Path(target)
    assert (tmp_path / "elsewhere").read_bytes() == b"somebody's"


@pytest.mark.parametrize("left", ["link", "dangling link", "file"])
def test_anything_in_place_of_the_staging_folder_gives_way(tmp_path: Path, left: str) -> None:
    root, precious = tmp_path / "root", tmp_path / "precious"
    root.mkdir()
    put(precious, [ManagedFile("data", b"precious")])
    if left == "file":
        (root / STAGING).write_text("left")
    else:
        (root / STAGING).symlink_to(precious if left == "link" else "nowhere")
    apply(root, NEW)
    assert found(root) == expected(NEW)
    assert not os.path.lexists(root / STAGING)
    assert found(precious) == {"data": (b"precious", 0o644)}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "", ".", "./", "..", "../x", "a/../x", "a/..", "/etc/passwd", "//etc/passwd", "a\0b", "./../x",
        MANIFEST, STAGING, f"{STAGING}/x", f"./{MANIFEST}", f".//{STAGING}/x",
    ],
)  # fmt: skip
def test_hostile_path_is_refused(tmp_path: Path, path: str) -> None:
    sentence = "must be relative and stay below the folder"
    with pytest.raises(HostError, match=sentence):
        FileTransaction(tmp_path, [ManagedFile(path, b"")])
    with pytest.raises(HostError, match=sentence):
        FileTransaction(tmp_path, [], [path])
    (tmp_path / MANIFEST).write_text(json.dumps([path]))
    with pytest.raises(HostError, match=sentence):
        FileTransaction(tmp_path, []).changes()


@pytest.mark.parametrize("spelling", ["./lists/a.list", "lists//a.list", "lists/./a.list", "lists/a.list/"])
def test_one_file_has_one_name(tmp_path: Path, spelling: str) -> None:
    apply(tmp_path, [ManagedFile(spelling, b"a")])
    assert manifest(tmp_path) == ["lists/a.list"]
    assert FileTransaction(tmp_path, [ManagedFile("lists/a.list", b"a")]).committed()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"5", b'"haproxy.cfg"', b'{"haproxy.cfg": 1}', b"\xff", b"null", b"[1]"]
)
def test_damaged_manifest_prunes_nothing(tmp_path: Path, content: bytes) -> None:
    apply(tmp_path, OLD)
    (tmp_path / MANIFEST).write_bytes(content)
    before = found(tmp_path)
    with pytest.raises(HostError, match=r"is not a list of file names; remove it \(nothing will be pruned then\)"):
        FileTransaction(tmp_path, NEW).changes()
    assert found(tmp_path) == before


def test_folder_in_place_of_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "haproxy.cfg").mkdir()
    with pytest.raises(HostError, match=r"haproxy\.cfg can't be read \(Is a directory\); nothing was changed"):
        FileTransaction(tmp_path, NEW).changes()


def test_file_in_place_of_a_folder_is_said(tmp_path: Path) -> None:
    put(tmp_path, [ManagedFile("lists", b"a file")])
    with pytest.raises(HostError, match=r"\(Not a directory\); nothing was changed"):
        FileTransaction(tmp_path, NEW).changes()


def test_file_cannot_also_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"can't be written below .*; nothing was changed"):
        FileTransaction(tmp_path, [ManagedFile("a", b""), ManagedFile("a/b", b"")]).stage()
    assert list(tmp_path.iterdir()) == []


# --- failing disks ----------------------------------------------------------------------------------------------------


def fail_at(number: int, code: int) -> Disk:
    def fate(call: int, name: str) -> None:
        if call == number:
            raise OSError(code, os.strerror(code))

    return Disk(fate)


def failures(root: Path, code: int, doing: Callable[[FileTransaction], object]) -> Iterator[str]:
    """Let each call of a part of a transaction fail, one at a time, and yield what is said."""
    for number in range(1, 1000):
        transaction = FileTransaction(root, NEW)
        if doing is not FileTransaction.stage:
            transaction.stage()
        disk = fail_at(number, code)
        try:
            with disk.in_place():
                doing(transaction)
        except HostError as error:
            yield str(error)
        else:
            # The part came to its end, before that call or in spite of it (a folder that is there need not be made).
            transaction.restore()
            if len(disk.calls) < number:
                return


def test_full_disk_while_staging_changes_nothing(tmp_path: Path) -> None:
    """At every single call."""
    apply(tmp_path, OLD)
    before = found(tmp_path)
    count = 0
    for sentence in failures(tmp_path, errno.ENOSPC, FileTransaction.stage):
        assert sentence == (
            f"The new files can't be written below {tmp_path} (No space left on device); nothing was changed."
        )
        assert found(tmp_path) == before
        assert not (tmp_path / STAGING).exists()
        assert manifest(tmp_path) == sorted(file.path for file in OLD)
        count += 1
    assert count > 15


def test_failing_disk_while_swapping_brings_everything_back(tmp_path: Path) -> None:
    """At every single call; the rollback needs no space on the disk."""
    apply(tmp_path, OLD)
    before = found(tmp_path)
    count = 0
    for sentence in failures(tmp_path, errno.EIO, FileTransaction.swap):
        assert sentence == (
            f"The files below {tmp_path} can't be replaced (Input/output error); the old ones are in place again."
        )
        assert found(tmp_path) == before
        assert manifest(tmp_path) == sorted(file.path for file in OLD)
        assert not (tmp_path / STAGING).exists()
        count += 1
    assert count > 15


def test_content_is_on_the_disk_before_its_name_counts(tmp_path: Path) -> None:
    """Or a power failure could leave a file with the right name and nothing in it."""
    disk = Disk(lambda _call, _name: None)
    with disk.in_place():
        apply(tmp_path, NEW)
    synced = 0
    for name in disk.calls:
        synced += (name == "fsync") - (name == "replace")
        assert synced >= 0
    assert disk.calls.count("fsync") >= len(NEW)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", str(folder)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_disk_that_is_really_full(tiny_disk: Path) -> None:
    apply(tiny_disk, OLD)
    before = found(tiny_disk)
    with pytest.raises(HostError, match=r"\(No space left on device\); nothing was changed"):
        FileTransaction(tiny_disk, [*NEW, ManagedFile("lists/long.list", b"x" * 100_000)]).stage()
    assert found(tiny_disk) == before
    assert not (tiny_disk / STAGING).exists()
    apply(tiny_disk, NEW)
    assert found(tiny_disk) == expected(NEW)


# --- killed at any moment ---------------------------------------------------------------------------------------------


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is quick to fill and to empty: in memory where the system has that."""
    with TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


def whole_or_nothing(root: Path, before: Found, after: Found, others: Found) -> None:
    """Each file is as it was or as it should be, and nothing else has been touched."""
    now = found(root)
    for path in now.keys() | before.keys() | after.keys():
        if path in others:
            assert now.get(path) == others[path], path
        else:
            assert now.get(path) in (before.get(path), after.get(path)), path


def killed(root: Path, files: Sequence[ManagedFile], kept: Sequence[str], number: int, way: str = "commit") -> bool:
    """Run a transaction that is killed at a call; return False if it came to its end before."""
    transaction = FileTransaction(root, files, kept)
    try:
        with kill_at(number).in_place():
            transaction.stage()
            transaction.swap()
            getattr(transaction, way)()
    except Killed:
        return True
    return False


@pytest.mark.parametrize("way", ["commit", "restore"])
def test_killed_at_every_call(way: str) -> None:
    stranger = ManagedFile("lists/stranger.list", b"not ours", 0o640)
    kept = ManagedFile("certificates/acme.pem", b"kept", 0o600)
    others = expected([stranger, kept])
    third = [ManagedFile("haproxy.cfg", b"third"), ManagedFile("lists/fresh.list", b"third fresh")]
    for number in range(1, 1000):
        with scratch() as root:
            put(root, [stranger, kept])
            apply(root, OLD)
            if not killed(root, NEW, [kept.path], number, way):
                break
            whole_or_nothing(root, expected(OLD), expected(NEW), others)
            # The next run may want the same, something else, or be killed as well.
            if number % 3 == 0:
                killed(root, third, [], number)
            wanted = NEW if number % 2 else third
            transaction = apply(root, wanted, [kept.path])
            assert found(root) == expected(wanted) | others
            assert transaction.committed()
            assert not (root / STAGING).exists()
    assert number > 40


def test_kill_is_noticed_by_the_next_run(tmp_path: Path) -> None:
    """Once a file was replaced and until the commit, nobody knows what a process has read in between."""
    apply(tmp_path, OLD)
    transaction = FileTransaction(tmp_path, NEW)
    assert not transaction.interrupted()
    transaction.stage()
    transaction.swap()
    following = FileTransaction(tmp_path, NEW)
    assert following.changes() == []
    assert following.interrupted()
    assert not following.committed()
    following.commit()
    assert not following.interrupted()
    assert following.committed()


NAMES = ("haproxy.cfg", "a", "old/a", "lists/a", "lists/b", "lists/deep/c", "certificates/d.pem", "e.map")
FILES = st.lists(
    st.builds(ManagedFile, st.sampled_from(NAMES), st.binary(max_size=8), st.sampled_from([0o644, 0o600])),
    unique_by=lambda file: file.path,
)


@given(
    old=FILES,
    new=FILES,
    third=FILES,
    kept=st.sets(st.sampled_from(NAMES)),
    number=st.integers(1, 90),
    way=st.sampled_from(["commit", "restore"]),
)
@settings(max_examples=50, deadline=None)
def test_any_sets_and_any_kill_end_in_the_wanted_set(
    old: list[ManagedFile],
    new: list[ManagedFile],
    third: list[ManagedFile],
    kept: set[str],
    number: int,
    way: str,
) -> None:
    stranger = ManagedFile("stranger", b"not ours")
    # A file is kept only where it is, and none of those that are wanted.
    kept = (kept & {file.path for file in old}) - {file.path for file in [*new, *third]}
    with scratch() as root:
        put(root, [stranger])
        apply(root, old)
        unwanted = [file for file in old if file.path in kept]
        killed(root, new, sorted(kept), number, way)
        whole_or_nothing(root, expected(old), expected(new), expected([stranger, *unwanted]))
        transaction = apply(root, third, sorted(kept))
        assert found(root) == expected([stranger, *unwanted, *third])
        assert transaction.committed()
        assert transaction.changes() == []
        assert not (root / STAGING).exists()
        # What was kept was ours, and goes with the set that no longer has it.
        apply(root, [])
        assert found(root) == expected([stranger])


# --- files of others --------------------------------------------------------------------------------------------------


def test_a_file_of_somebody_elses_is_kept_beside_ours(tmp_path: Path) -> None:
    put(tmp_path, [ManagedFile("haproxy.cfg", b"theirs"), ManagedFile("lists/a.list", b"new a")])
    transaction = FileTransaction(tmp_path, NEW)
    assert transaction.foreign() == {"haproxy.cfg": "haproxy.cfg.before-postern"}
    apply(tmp_path, NEW)
    assert (tmp_path / "haproxy.cfg.before-postern").read_bytes() == b"theirs"
    assert (tmp_path / "haproxy.cfg").read_bytes() == b"new"
    # From now on it is ours, and a change of ours is no copy.
    apply(tmp_path, OLD)
    assert sorted(path.name for path in tmp_path.rglob("*before-postern*")) == ["haproxy.cfg.before-postern"]


def test_an_earlier_copy_is_never_written_over(tmp_path: Path) -> None:
    put(tmp_path, [ManagedFile("haproxy.cfg", b"second"), ManagedFile("haproxy.cfg.before-postern", b"first")])
    apply(tmp_path, NEW)
    assert (tmp_path / "haproxy.cfg.before-postern").read_bytes() == b"first"
    assert (tmp_path / "haproxy.cfg.before-postern.1").read_bytes() == b"second"


def test_a_change_that_is_taken_back_leaves_no_copy(tmp_path: Path) -> None:
    put(tmp_path, OLD)
    before = found(tmp_path)
    transaction = FileTransaction(tmp_path, NEW)
    transaction.stage()
    transaction.swap()
    assert (tmp_path / "haproxy.cfg.before-postern").exists()
    transaction.restore()
    assert found(tmp_path) == before
