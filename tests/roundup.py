"""A real Roundup tracker, as a target that can be wrong in its own ways."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent
USER, PASSWORD = "triage", "triagepw"


@dataclass
class RoundupLab:
    """One tracker named `support` on loopback; it writes its mail into a file."""

    folder: Path
    port: int
    user: str = USER
    password: str = PASSWORD
    _server: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/support"

    def issues(self) -> list[str]:
        """The external_ref of every issue, by number, asked of its database and not of its face."""
        path = self.folder / "tracker" / "db" / "db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT _external_ref FROM _issue ORDER BY id")
            return [ref for (ref,) in rows]

    def requests(self) -> list[str]:
        """The request lines that it has answered so far."""
        return re.findall(r'"([A-Z]+ \S+) HTTP', (self.folder / "server.log").read_text())

    def start(self) -> None:
        log = self.folder / "server.log"
        log.touch()
        _give_to_nobody(self.folder)
        command = [BIN / "roundup-server", "-n", "127.0.0.1", "-p", str(self.port), "-t", "thread"]
        if os.getuid() == 0:
            command += ["-u", "nobody", "-g", _group_of_nobody()]  # it refuses to run as root
        with (self.folder / "server.out").open("ab") as out:
            self._server = subprocess.Popen(
                [*command, "-l", log, f"support={self.folder / 'tracker'}"],
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._wait_until_it_answers()

    def stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGKILL)
            self._server.wait()
            self._server = None

    def _wait_until_it_answers(self) -> None:
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"{self.url}/", timeout=5):  # noqa: S310  # loopback
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise RuntimeError(f"Roundup does not answer: {(self.folder / 'server.out').read_text()}")


@contextmanager
def roundup_server(folder: Path, calls: int = 0, interval_s: int = 3600) -> Iterator[RoundupLab]:
    """Install and start a tracker; with `calls`, it takes so many per user and interval.

    As root, the server runs as `nobody`: every parent of `folder` must let others pass, which
    pytest's own temporary folders do not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lab = RoundupLab(folder, _free_port())
    _install(lab, calls, interval_s)
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


def _install(lab: RoundupLab, calls: int, interval_s: int) -> None:
    tracker = lab.folder / "tracker"
    _admin(tracker, "install", "classic", "sqlite")
    _configure(
        tracker / "config.ini",
        {
            ("tracker", "web"): f"{lab.url}/",
            ("mail", "domain"): "localhost",
            ("mail", "host"): "localhost",
            ("mail", "debug"): str(lab.folder / "mail.log"),  # instead of sending any
            ("web", "api_calls_per_interval"): str(calls),
            ("web", "api_interval_in_sec"): str(interval_s),
            ("main", "password_pbkdf2_default_rounds"): "10000",  # logins fast enough for tests
        },
    )
    schema = tracker / "schema.py"
    fields = "\n    external_ref=String(),\n    category=String(),"
    issue = 'issue = IssueClass(db, "issue",'
    end = "\n#\n# TRACKER SECURITY SETTINGS"
    text = schema.read_text().replace(issue, issue + fields, 1)
    schema.write_text(text.replace(end, f'\nissue.setkey("external_ref")\n{end}', 1))
    if "issue.setkey" not in schema.read_text() or fields not in schema.read_text():
        raise RuntimeError("Roundup's classic schema has changed: see _install")
    _admin(tracker, "initialise", "adminpw")
    _admin(
        tracker,
        "create",
        "user",
        f"username={USER}",
        f"password={PASSWORD}",
        f"address={USER}@localhost",
        "roles=User",
    )


def _admin(tracker: Path, *arguments: str) -> None:
    subprocess.run(
        [BIN / "roundup-admin", "-i", tracker, *arguments], check=True, capture_output=True
    )


def _configure(path: Path, values: dict[tuple[str, str], str]) -> None:
    """Set values in place; the file's comments are part of its grammar."""
    text = path.read_text()
    for (section, name), value in values.items():
        start = text.index(f"[{section}]\n")
        end = text.find("\n[", start)
        end = len(text) if end < 0 else end
        line = re.compile(rf"(?m)^#?{re.escape(name)} =.*$")
        part, hits = line.subn(lambda _, v=value, n=name: f"{n} = {v}", text[start:end])
        if hits != 1:
            raise RuntimeError(f"Roundup's config.ini has no {section}.{name}")
        text = text[:start] + part + text[end:]
    path.write_text(text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _give_to_nobody(folder: Path) -> None:
    if os.getuid() != 0:
        return
    folder.chmod(0o755)
    for path in [folder, *folder.rglob("*")]:
        shutil.chown(path, "nobody", _group_of_nobody())


def _group_of_nobody() -> str:
    return "nogroup" if "nogroup:" in Path("/etc/group").read_text() else "nobody"
