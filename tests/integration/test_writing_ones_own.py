"""docs/pipelines.md and docs/tools.md, as a newcomer follows them: every example runs."""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from config import embedded
from config.policy import Policy
from models import contract
from models.database import hot
from models.verdict import Verdict, answer
from tests.conftest import CATALOGUE, document, free_port, reload, until
from tests.guide import blocks, module
from tools import http
from tools.tool import Ambiguous, Call, Lookup, Rejected
from worker.check import Severity, check
from worker.pipeline import Pipeline
from worker.sources import Found

TREE = Path(__file__).parents[2]


def imported(text: str, name: str, folder: Path):
    """A module of this text."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def errors_of(made) -> list[str]:
    found = Found()
    found.take(made.__name__, made, ("PIPELINES", "TOOLS"), asked=True)
    told = check(found.usable(), found.tools, Policy(), "test")
    return [str(each) for each in told if each.severity is Severity.ERROR]


@pytest.fixture
def desert() -> Iterator[Path]:
    """An empty folder, with the `sluice` command on the path, and one broken package installed."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-hello-"))
    folder.chmod(0o755)
    (folder / "bin").mkdir()
    script = folder / "bin" / "sluice"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m config.command "$@"\n')
    script.chmod(0o755)
    info = folder / "site" / "broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sluice.pipelines]\nbroken = not_there_at_all\n")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def test_from_an_empty_folder_to_a_finished_run_in_under_60_lines(desert):
    start, look, ask, *_ = blocks("pipelines.md", "sh")
    code = blocks("pipelines.md", "python")[0]
    assert sum(len(each.splitlines()) for each in (start, code, look, ask)) < 60

    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    env = kept | {
        "PYTHONPATH": f"{TREE}:{desert / 'site'}", "SLUICE_API__PORT": str(free_port()),
        "COLUMNS": "200", "NO_COLOR": "1",
    }  # fmt: skip
    start = start.replace("/where/sluice/is/.venv/bin", str(desert / "bin"))
    with (desert / "up.log").open("wb") as log:
        first = subprocess.Popen(
            ["/bin/sh", "-ec", f"{start}cat > greetings.py <<'END'\n{code}END\n{look}"],
            cwd=desert, env=env, start_new_session=True, stdout=log, stderr=log,
        )  # fmt: skip
    home = desert / "hello"

    async def typed(words: str) -> str | None:
        """What the second terminal answers, once that is no error."""
        exports = f"PATH={desert / 'bin'}:$PATH\n{look.splitlines()[0]}\n"
        child = await asyncio.create_subprocess_exec(
            "/bin/sh", "-ec", exports + words, cwd=home, env=env, stdout=-1, stderr=-2
        )
        said = (await child.communicate())[0].decode()
        return said if child.returncode == 0 else None

    try:

        async def started() -> bool:
            return "worker.started" in (desert / "up.log").read_text()

        await until(started)
        submit, show = ask.splitlines()
        assert await until(lambda: typed(submit))

        async def success() -> str | None:
            return told if "success" in (told := await typed(show) or "") else None

        assert "Welcome back, Ada!" in await until(success)
        (line,) = home.glob("*:write.txt")
        assert line.read_text() == "Welcome back, Ada!"
        assert "this key was known" in await typed(submit)
        told = (desert / "up.log").read_text()
        assert "1 pipeline and 1 tool: 0 errors, 0 warnings" in told
        assert "catalogue.left_out" in told
        assert "pip uninstall broken" in told
    finally:
        os.killpg(first.pid, signal.SIGINT)
        first.wait(30)
        embedded.stop(home / ".sluice")


async def test_the_example_of_the_readme_runs(database, tmp_path, submit, attempt):
    made = imported(blocks("../README.md", "python")[0], f"readme_{uuid4().hex[:8]}", tmp_path)
    try:
        assert errors_of(made) == []
        CATALOGUE["greet", 1] = made.greet
        await contract.publish([made.greet.contract()])
        run = await submit("greet", {"name": "Ada"})
        await attempt(run)
        assert document((await reload(run))["result"]) == {"text": "Welcome back, Ada!"}
    finally:
        CATALOGUE.pop(("greet", 1), None)
        del sys.modules[made.__name__]


@pytest.fixture
async def guide(database, tmp_path):
    """The examples of the verbs, as pipelines that the tests' workers know."""
    made = imported(module("pipelines.md", after=1), f"guide_{uuid4().hex[:8]}", tmp_path)
    mine: list[Pipeline] = made.PIPELINES
    CATALOGUE.update({(each.name, each.version): each for each in mine})
    await contract.publish(each.contract() for each in mine)
    yield made
    for each in mine:
        del CATALOGUE[each.name, each.version]
    del sys.modules[made.__name__]


async def test_every_verb_does_what_its_paragraph_says(guide, submit, attempt):
    async def runs(name, *skus):
        run = await submit(name, {"skus": skus})
        await attempt(run)
        return await reload(run)

    assert errors_of(guide) == []
    assert document((await runs("look", "nuts"))["result"]) == {"lines": ["nuts: 4"]}
    assert document((await runs("look", "unknown"))["result"])["lines"][0][:13] == "nobody knows:"
    assert document((await runs("glance", "nuts"))["result"])["lines"][1] != "no note"
    assert document((await runs("glance", "unknown"))["result"]) == {"lines": ["?: 0", "no note"]}
    assert (await runs("restock", "nut"))["stop_reason"] == "success"
    assert {each.count for each in guide.ORDERS.values()} == {10}
    assert (await runs("restock", "nuts"))["waiting_for"] == "review"
    counted = document((await runs("count", "nuts", "unknown", "bolt"))["result"])
    assert counted == {"lines": ["nuts: 4", "?", "bolt: 4"]}
    guide.ORDERS.clear()
    undone = await runs("all-or-nothing", "a", "bb", "ccc", "unknown")
    assert document(undone["result"])["lines"] == ["taken back: nobody knows unknown"]
    assert guide.ORDERS == {}
    assert (await runs("all-or-nothing", "unknown"))["stop_reason"] == "success"
    assert (await runs("all-or-nothing", "a", "bb"))["stop_reason"] == "success"
    assert [each.sku for each in guide.ORDERS.values()] == ["a", "bb"]


async def test_the_model_of_the_guide_waits_for_a_person_and_then_orders(guide, submit, attempt):
    run = await submit("buy", {"skus": ["nuts", "bolts"]})
    await attempt(run)
    assert (await reload(run))["waiting_for"] == "review"
    assert guide.ORDERS == {}

    review = await hot().fetchval("SELECT id FROM review WHERE run_id = $1", run)
    await answer(review, Verdict.APPROVED, who="ada")
    await attempt(run)
    assert document((await reload(run))["result"]) == {"lines": ["done"]}
    assert [(each.sku, each.note) for each in guide.ORDERS.values()] == [("nuts", "NUTS")]


async def test_the_planner_of_the_guide_does_nothing_before_a_person_has_seen_its_plan(
    guide, submit, attempt
):
    run = await submit("stock-up", {"skus": ["nuts", "bolts"]})
    await attempt(run)
    assert (await reload(run))["waiting_for"] == "review"
    assert guide.ORDERS == {}
    done = "SELECT step FROM ledger_entry WHERE run_id = $1 AND state = 'settled' ORDER BY number"
    assert [row[0] for row in await hot().fetch(done, run)] == ["work/1", "work/1/check"]

    review = await hot().fetchval("SELECT id FROM review WHERE run_id = $1", run)
    await answer(review, Verdict.APPROVED, who="ada")
    await attempt(run)
    assert document((await reload(run))["result"]) == {"lines": ["2 made"]}
    assert [(each.sku, each.count) for each in guide.ORDERS.values()] == [("nuts", 2)]


async def test_the_assessor_of_the_guide_asks_a_person_for_what_it_lacks(guide, submit, attempt):
    run = await submit("open", {"skus": ["nuts"]})
    await attempt(run)
    review = await hot().fetchrow("SELECT id, kind, question FROM review WHERE run_id = $1", run)
    assert (review["kind"], "On which day" in review["question"]) == ("gap", True)

    await answer(review["id"], Verdict.EDITED, who="ada", value={"answer": "Monday"})
    await attempt(run)
    found = document((await reload(run))["result"])["established"]
    assert [(each["fact"], each["step"], each["by"]) for each in found] == [
        ("4 are left", "stock", "step"), ("Monday", "known/gap-1", "person"),
    ]  # fmt: skip


async def shop() -> TestServer:
    """What docs/tools.md speaks with: it honours keys for payments, and none for parcels."""
    paid: dict[str, str] = {}
    parcels: list[dict[str, str]] = []

    async def price(_):
        return web.json_response({"usd": "2.50", "note": "today only"})

    async def pay(request):
        key = paid.setdefault(request.headers["Idempotency-Key"], f"p-{len(paid)}")
        return web.json_response({"id": key, "fee": "0.25"})

    async def refund(_):
        return web.json_response({})

    async def send(request):
        parcels.append({"id": f"l-{len(parcels)}"} | await request.json())
        return web.json_response(parcels[-1])

    async def find(request):
        mine = [each for each in parcels if each["reference"] == request.query["reference"]]
        return web.json_response(mine)

    app = web.Application()
    app.add_routes([
        web.get("/prices/{sku}", price), web.post("/payments", pay),
        web.delete("/payments/{id}", refund), web.post("/parcels", send), web.get("/parcels", find),
    ])  # fmt: skip
    server = TestServer(app)
    await server.start_server()
    return server


def calling(step: str) -> Call:
    """A try of a step; each has clocks of its own."""
    now = monotonic()
    return Call(uuid4(), "acme", step, f"run:{step}", deadline=now + 5, send_before=now + 2)


async def test_every_tool_does_what_its_paragraph_says(database, tmp_path, monkeypatch):
    server = await shop()
    monkeypatch.setenv("SHOP_URL", str(server.make_url("/")))
    made = imported(module("tools.md"), f"shop_{uuid4().hex[:8]}", tmp_path)
    try:
        assert errors_of(made) == []
        assert (await made.price.run(made.Sku(sku="nuts"), calling("price"))).usd == 2.5
        assert (await made.opening.run(made.Sku(sku="nuts"), calling("open"))).usd == 2.5
        first, again = calling("pay"), calling("pay")
        payment = made.Payment(account="ann", usd="7")
        paid = await made.pay.run(payment, first)
        assert await made.pay.run(payment, again) == paid
        assert [str(each) for each in first.bill] == ["0.25"]
        undo = made.pay.undo
        taken = undo.tool.takes(**undo.arguments(payment, paid))
        assert await made.refund.run(taken, calling("refund")) == taken
        parcel, call = made.Parcel(order="7", city="Ulm"), calling("parcel")
        assert (await made.find_parcel(parcel, calling("parcel"))).seen is Lookup.ABSENT
        label = await made.parcel.run(parcel, call)
        assert (await made.find_parcel(parcel, calling("parcel"))).result == label
        with pytest.raises(Rejected):
            await made.parcel.run(made.Parcel(order="7", city=" "), calling("parcel"))
        with pytest.raises(Ambiguous):
            await made.sms.run(made.Sms(number="lost", text=""), calling("sms"))
    finally:
        await http.close()
        await server.close()
        del sys.modules[made.__name__]


def test_the_tests_of_ones_own_that_the_guide_shows_pass(tmp_path):
    (tmp_path / "greetings.py").write_text(blocks("pipelines.md", "python")[0])
    (tmp_path / "test_it.py").write_text(blocks("pipelines.md", "py")[0])

    done = subprocess.run(
        [sys.executable, "test_it.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(TREE)},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
