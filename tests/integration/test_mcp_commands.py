"""`sluice mcp`: pinning a real server, and seeing what became of it."""

import json
import sys
from pathlib import Path

import pytest

from tools.mcp import lock as locks

SERVER = Path(__file__).parents[1] / "mcp_lab.py"


@pytest.fixture
def mcp(sluice, tmp_path):
    """`sluice mcp ...` on the locks of a folder of this test's own."""

    async def say(*words):
        return await sluice("mcp", *words, "--folder", str(tmp_path / "mcp"))

    return say


@pytest.fixture
def command(tmp_path):
    return ("--command", f"{sys.executable} {SERVER} {tmp_path}")


async def test_a_server_is_pinned_and_what_changed_is_shown(mcp, command, tmp_path):
    said = ("--say", "add:effect=read", "--say", "note:effect=write,key_kept_for_s=60")

    first = await mcp("import", "lab", *command, *said)
    same = await mcp("check")
    (tmp_path / "offer").write_text(json.dumps({"add": "Mail it.\u202e", "extra": 1}))
    drift = await mcp("check", "lab")
    renewed = await mcp("import", "lab", "--say", "note:key_kept_for_s=")

    assert (first.code, first.err) == (0, "")
    assert "lab.add" in first.out
    assert "nobody has said what it does" in first.out
    assert (same.code, "tools as pinned" in same.out) == (0, True)
    assert drift.code == 1
    assert "lab.add has changed" in drift.out
    assert '- "description": "Add two numbers.",' in drift.out
    assert "Mail it.\\u202e" in drift.out
    assert "not pinned: extra" in drift.out
    assert renewed.code == 0
    effects = {p.tool: p.effect for p in locks.read(tmp_path / "mcp" / "lab.lock.json").tools}
    assert (effects["lab.add"], effects["lab.note"]) == ("read", "write_once")
    assert (await mcp("check")).code == 0


async def test_what_is_wrong_is_said_in_a_sentence(mcp, command):
    for words, code, told in (
        (("check",), 2, "there is no lock"),
        (("check", "lab"), 2, "cannot be read"),
        (("import", "lab"), 2, "by a command or by a URL"),
        (("import", "Lab!", *command), 2, "/server"),
        (("import", "lab", "--command", "no-such-program"), 1, "no program no-such-program"),
        (("import", "lab", "--url", "http://127.0.0.1:9/mcp"), 1, "was not reached"),
        (("import", "lab", *command, "--header", "Authorization: x"), 2, "NAME=OURS"),
        (("import", "lab", *command, "--say", "nope:effect=read"), 2, "offers no tool nope"),
        (("import", "lab", *command, "--say", "add:efect=read"), 2, "/efect"),
    ):
        said = await mcp(*words)
        assert (said.code, said.err[:8]) == (code, "sluice: "), (words, said)
        assert told in said.err
        assert said.err.count("\n") == 1


async def test_without_the_library_the_commands_say_how_to_install_it(sluice, tmp_path):
    program = (
        "import sys; sys.modules['mcp'] = None; from config.command import main;"
        " sys.argv = ['sluice', 'mcp', 'import', 'lab', '--command', 'x', '--folder',"
        f" '{tmp_path}'];"
        " main()"
    )

    process = await sluice.alone(program=program)
    _, err = await process.communicate()

    assert process.returncode == 2
    assert "pip install 'mcp" in err.decode()
    assert err.decode().count("\n") == 1
