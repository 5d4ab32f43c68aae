"""Whom the embedded servers run as; PostgreSQL refuses to be root."""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


class EmbeddedError(RuntimeError):
    """An embedded server cannot be had; the message says what failed, where, and what to do."""


@dataclass(frozen=True)
class Account:
    """Whom the servers run as: ourselves, or someone without rights where we are root."""

    uid: int
    gid: int

    @classmethod
    def of(cls, uid: int) -> Self:
        if uid == os.geteuid():
            return cls(uid, os.getegid())
        return cls(uid, pwd.getpwuid(uid).pw_gid if _is_known(uid) else uid)

    @classmethod
    def for_folder(cls, folder: Path) -> Self:
        """The folder's owner, or `nobody` where that is root or an account of another host."""
        owner = folder.stat().st_uid
        if os.geteuid() not in {0, owner}:
            raise EmbeddedError(
                f"{folder} belongs to another user. Set SLUICE_DATA to a folder of your own."
            )
        if os.geteuid() != 0 or (owner and _is_known(owner)):
            return cls.of(owner)
        try:
            return cls.of(pwd.getpwnam("nobody").pw_uid)
        except KeyError:
            raise EmbeddedError(
                "PostgreSQL refuses to run as root, and this host has no account `nobody` to run"
                " it as. Add one, or run Sluice as an ordinary user."
            ) from None

    def run(
        self, argv: Sequence[str | Path], *, keep: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a command out of reach of our terminal's Ctrl-C and of PG* variables."""
        other = {"user": self.uid, "group": self.gid, "extra_groups": []}
        drop: dict[str, Any] = {} if self.uid == os.geteuid() else other
        try:
            return subprocess.run(  # only the servers' own binaries and /bin/sh
                argv,
                check=False,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                start_new_session=True,
                pass_fds=keep,
                **drop,
            )
        except PermissionError as error:
            if not drop:
                raise
            raise EmbeddedError(
                f"PostgreSQL refuses to run as root, and this root may not become user {self.uid}"
                f" ({error.strerror}). Run Sluice as an ordinary user."
            ) from error

    def may_enter(self, path: Path) -> bool:
        """Whether it may walk into a folder or run a program; tried, for modes are not all."""
        return (
            self.uid == os.geteuid()
            or self.run(["/bin/sh", "-c", 'test -x "$0"', path]).returncode == 0
        )

    def own(self, path: Path) -> None:
        """Give it what we have made; a no-op unless we are root."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
