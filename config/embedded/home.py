"""Where the embedded servers of a data folder keep their files."""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from config.embedded.account import Account, EmbeddedError

_LOCK, _SERVERS, _SOCKETS, _HOME = "lock", "servers", "sockets", "home"
_ELSEWHERE = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108  # owner checked, see _elsewhere
_LONGEST_SOCKET = len("/sluice-12345678/.s.PGSQL.5432.lock")
_LIMIT = 103  # bytes of a socket's path; Linux allows 107, macOS 103


@dataclass(frozen=True)
class Home:
    """The servers' own folder, mode 0700, and the account that owns it."""

    path: Path
    account: Account

    def sockets(self) -> Path | None:
        """The folder of the sockets, unless it is gone or has become someone else's."""
        folder = self.noted_sockets()
        try:
            found = folder and folder.lstat()
        except OSError:
            return None
        if not found or stat.S_IMODE(found.st_mode) & 0o077 or not stat.S_ISDIR(found.st_mode):
            return None
        return folder if found.st_uid == self.account.uid else None

    def noted_sockets(self) -> Path | None:
        """The folder that was the sockets' last, unless the note is a copy of another home's."""
        note = self.path / _SOCKETS
        if not note.is_symlink():
            return None
        with suppress(OSError):
            if (note.readlink() / _HOME).readlink() != self.path:
                return None
        return note.readlink()

    def make_sockets(self) -> Path:
        """Make the sockets' folder, under its old name if that is free, so that addresses last."""
        folder = self._old_sockets_again() or _short_folder(self.account)
        (folder / _HOME).symlink_to(self.path)
        self.account.own(folder)
        (self.path / _SOCKETS).unlink(missing_ok=True)
        (self.path / _SOCKETS).symlink_to(folder)
        return folder

    def drop_sockets(self) -> None:
        """Leave nothing behind; the note of the name stays."""
        if folder := self.sockets():
            shutil.rmtree(folder, ignore_errors=True)

    def _old_sockets_again(self) -> Path | None:
        folder = self.noted_sockets()
        with suppress(OSError):  # someone else has the name by now
            if folder:
                folder.mkdir(mode=0o700)
                return folder
        return None

    def reach(self, program: Path, *, below: Path, parts: Sequence[str]) -> Path:
        """A program that the account may run: itself, or a copy where its parents are closed.

        `parts` are the files and folders below a folder that the program needs to run.
        """
        if self.account.may_enter(program):
            return program
        copies = self.path / "programs"
        shutil.rmtree(copies / program.name, ignore_errors=True)
        for part in parts:
            copy = copies / program.name / part
            copy.parent.mkdir(parents=True, exist_ok=True)
            if (below / part).is_dir():
                shutil.copytree(below / part, copy, symlinks=True)
            elif (below / part).exists():  # the wheel of another platform has no such part
                shutil.copy2(below / part, copy)
        for path in (copies, *copies.rglob("*")):
            self.account.own(path)
        return copies / program.name / program.relative_to(below)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time starts or stops; the kernel frees the lock of one that was killed."""
    fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == 0:  # or the folder's owner could not lock it after us
            os.fchown(fd, folder.stat().st_uid, -1)
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def find(folder: Path) -> Home | None:
    """The home that was made for a data folder, or None."""
    place = folder / _SERVERS
    try:
        owner = place.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return None
    trusted = not place.is_symlink() or place.lstat().st_uid == os.geteuid()
    if not trusted or os.geteuid() not in {0, owner}:
        raise EmbeddedError(
            f"The servers of {folder} belong to another user. Work as that user, or set"
            " SLUICE_DATA to a folder of your own."
        )
    return Home(place.resolve(), Account.of(owner))


def make(folder: Path) -> Home:
    """Make a data folder's home, or find it; call it under the lock.

    As root the servers run as the folder's owner, or as `nobody` where that is root. Where that
    account may not enter the folder, `servers` is a link to the place they live in instead.
    """
    place = folder / _SERVERS
    if place.is_symlink() and not place.exists():
        raise EmbeddedError(
            f"{place} points to {place.readlink()}, which is gone, and the data with it. Bring"
            " it back, or remove the link to begin anew."
        )
    account = Account.for_folder(folder)
    _adopt(folder, account)
    if not place.exists():
        if account.may_enter(folder):
            place.mkdir(mode=0o700)
        else:
            place.symlink_to(_elsewhere(folder, account))
    if place.stat().st_uid == 0:
        account.own(place)
    return find(folder) or Home(place, account)


def _short_folder(account: Account) -> Path:
    """A private folder with a path short enough for a socket, under a name nobody can guess."""
    for parent in (Path("/tmp"), Path(tempfile.gettempdir())):  # noqa: S108  # mkdtemp
        fits = len(os.fsencode(parent)) + _LONGEST_SOCKET <= _LIMIT
        plain = quote(str(parent)) == str(parent)  # it becomes part of both URLs
        if fits and plain and os.access(parent, os.W_OK) and account.may_enter(parent):
            return Path(tempfile.mkdtemp(prefix="sluice-", dir=parent))
    raise EmbeddedError(
        "There is no folder for the servers' sockets: /tmp cannot be written to. Set TMPDIR to"
        " a folder with a short and plain name."
    )


def _adopt(folder: Path, account: Account) -> None:
    """Make a folder that is still empty wholly ours; one that holds other things stays as is."""
    if {path.name for path in folder.iterdir()} <= {_LOCK} and account.may_enter(folder.parent):
        account.own(folder)
        folder.chmod(0o700)


def _elsewhere(folder: Path, account: Account) -> Path:
    """A private folder in a place that everybody may enter; never one that someone else made."""
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    for parent in _ELSEWHERE:
        place = parent / f"sluice-{os.geteuid()}"
        try:
            place.mkdir()
            place.chmod(0o711)  # whatever our umask is
        except FileExistsError:
            pass
        except OSError:
            continue
        ours = stat.S_ISDIR(place.lstat().st_mode) and place.lstat().st_uid == os.geteuid()
        if ours and account.may_enter(place):
            home = Path(tempfile.mkdtemp(prefix=f"{digest}-", dir=place))
            account.own(home)
            return home
    raise EmbeddedError(
        f"{folder} lies in a folder that the unprivileged account of the servers may not enter,"
        f" and neither {_ELSEWHERE[0]} nor {_ELSEWHERE[1]} can hold them. Set SLUICE_DATA to a"
        " folder that others may enter, or run Sluice as an ordinary user."
    )
