"""The results of a triage: three files in a folder, each in its place whole or not at all."""

from contextlib import ExitStack
from pathlib import Path

from producer.backlog import Backlog
from producer.report_page import page
from producer.triage import Course
from producer.triage_campaign import Campaign
from producer.triage_files import Lines, Replacement, Table
from producer.triage_results import results
from producer.triage_tally import Tally


async def write(
    campaign: Campaign, backlog: Backlog, course: Course, folder: Path, file: str
) -> Tally:
    """Write triage.csv, triage.jsonl and report.html, row by row, and return the numbers."""
    tally = Tally()
    with ExitStack() as stack:
        csv, jsonl, html = (
            stack.enter_context(Replacement(folder / name))
            for name in ("triage.csv", "triage.jsonl", "report.html")
        )
        table, lines = Table(csv, backlog.columns), Lines(jsonl)
        async for each in results(campaign, backlog, course):
            tally.add(each)
            table.add(each)
            lines.add(each)
        html.file.write(page(campaign, tally, course, file))
    return tally
