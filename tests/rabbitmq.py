"""A RabbitMQ node of our own, that a test may stop, kill and start again."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PLACES = tuple(
    Path(folder) / "rabbitmq-server"
    for folder in ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/homebrew/sbin")
)
_START_S = 60


def binary() -> Path | None:
    """The server's own start script; Debian's wrapper in PATH insists on its system account."""
    found = next((place for place in _PLACES if place.exists()), None)
    return found or (Path(p) if (p := shutil.which("rabbitmq-server")) else None)


@dataclass
class RabbitNode:
    folder: Path
    port: int
    _server: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        out = (self.folder / "out.log").open("ab")
        with out:
            self._server = subprocess.Popen(
                [str(binary())],
                env=os.environ | self._surroundings(),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        until = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > until or self._server.poll() is not None:
                raise RuntimeError(
                    f"RabbitMQ does not start: {(self.folder / 'out.log').read_text()[-2000:]}"
                )
            time.sleep(0.2)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._server is not None:
            os.killpg(self._server.pid, how)
            self._server.wait(30)
            self._server = None
            time.sleep(0.3)

    def _answers(self) -> bool:
        """Whether it greets an AMQP client; an open port alone comes seconds earlier."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as peer:
                peer.settimeout(1)
                peer.sendall(b"AMQP\x00\x00\x09\x01")
                return len(peer.recv(8)) == 8
        except OSError:
            return False

    def _surroundings(self) -> dict[str, str]:
        (self.folder / "enabled_plugins").write_text("[].\n")
        return {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"sluice{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(
                self.port + 20000 if self.port < 45000 else self.port - 20000
            ),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
        }


@contextmanager
def rabbit_node(folder: Path) -> Iterator[RabbitNode]:
    """One node on a free port of loopback, gone afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    node = RabbitNode(folder, port)
    node.start()
    try:
        yield node
    finally:
        node.kill()
