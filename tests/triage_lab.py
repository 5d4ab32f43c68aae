"""`sluice triage` as a user starts it: a process, a folder, and the database it works with."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from models.database import dsn

ROOT = Path(__file__).parent.parent
STUB = '["tests.triage_stub"]'


@dataclass
class Lab:
    """One folder to stand in, one database, and every process that was started here."""

    folder: Path
    database_url: str
    broker_url: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)

    def environment(self, **settings: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name[:7] != "SLUICE_"}
        own = {
            "SLUICE_DATABASE_URL": self.database_url,
            "SLUICE_WORKER__CATALOGUES": STUB,
            "SLUICE_WORKER__CONNECTIONS": "3",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "160",
            "USER": "ada",
        }
        own |= {"SLUICE_BROKER_URL": self.broker_url} if self.broker_url else {}
        return kept | own | self.settings | settings

    def start(self, *words: str, **settings: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "config.command", *map(str, words)],
            cwd=self.folder,
            env=self.environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        self.processes.append(process)
        return process

    def run(self, *words: str, patience_s: float = 90, **settings: str) -> tuple[int, str]:
        """Exit code and everything it said."""
        process = self.start(*words, **settings)
        said, _ = process.communicate(timeout=patience_s)
        return process.returncode, said

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.communicate(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def backlog(self, name: str, rows: Iterable[dict[str, Any]]) -> Path:
        rows = list(rows)
        path = self.folder / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    def lines(self, folder: str) -> list[dict[str, Any]]:
        """triage.jsonl of one folder of results."""
        text = (self.folder / "out" / folder / "triage.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def outcomes(self, folder: str) -> Counter[str]:
        return Counter(line["outcome"] for line in self.lines(folder))

    async def ask(self, query: str, *values: Any) -> list[Any]:
        connection = await asyncpg.connect(dsn(self.database_url))
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close()

    async def desk(self, source: str) -> list[tuple[str, int]]:
        """Every ticket of one source at the local desk, and how often it was written."""
        rows = await self.ask(
            "SELECT external_ref, writes FROM desk_ticket WHERE starts_with(external_ref, $1)"
            " ORDER BY 1",
            f"{source}:",
        )
        return [(row["external_ref"], row["writes"]) for row in rows]


def tickets(count: int, *, unsure: int = 0) -> list[dict[str, str]]:
    """Rows of a backlog; the last `unsure` of them need a person."""
    return [
        {
            "id": f"T-{n}",
            "subject": f"Parcel {n}",
            "body": "Hm. I am unsure, lorem ipsum." if n >= count - unsure else "Where is it?",
        }
        for n in range(count)
    ]
