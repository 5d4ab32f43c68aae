"""The embedded servers, with real binaries, real kills and real users."""

import asyncio
import ctypes
import fcntl
import multiprocessing
import os
import pwd
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import asyncpg
import pytest
import redis

from config import embedded

ROOT = Path(__file__).parents[2]
START = """
import sys, pathlib
from config import embedded
print(embedded.start(pathlib.Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""
FORK = multiprocessing.get_context("fork")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own is not; in memory if there is room."""
    memory, disk = Path("/dev/shm"), Path("/tmp")  # noqa: S108  # mkdtemp
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    place = Path(tempfile.mkdtemp(prefix="sluice-embedded-", dir=memory if roomy else disk))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def fresh(place: Path) -> Iterator[Callable[..., Path]]:
    """Data folders that do not exist yet; swept away with all that they started."""
    made: list[Path] = []

    def make(name: str = "data") -> Path:
        parent = Path(tempfile.mkdtemp(dir=place))
        parent.chmod(0o755)
        made.append(parent / name)
        return made[-1]

    yield make
    for folder in made:
        sweep(folder)


@pytest.fixture(scope="module")
def cluster(place: Path) -> Iterator[Path]:
    """One cluster for the tests that only restart it, beside something of the user's."""
    folder = place / "data"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "notes").write_text("mine")
    yield folder
    sweep(folder)


@pytest.fixture(scope="module")
def owned(place: Path) -> Iterator[list[tuple[int, Path]]]:
    """Two plain users, each with an empty data folder."""
    pairs = [(pwd.getpwnam(name).pw_uid, place / name) for name in ("daemon", "bin")]
    for uid, folder in pairs:
        folder.mkdir()
        os.chown(folder, uid, uid)
    yield pairs
    for _, folder in pairs:
        sweep(folder)


@pytest.fixture
def folder(cluster: Path) -> Iterator[Path]:
    yield cluster
    embedded.stop(cluster)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture
def subreaper(folder: Path) -> Iterator[None]:
    """Orphans become ours, and stay zombies for as long as we do not look."""
    prctl, subreaper = ctypes.CDLL(None).prctl, 36
    embedded.stop(folder)
    prctl(subreaper, 1)
    yield
    embedded.stop(folder)
    prctl(subreaper, 0)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # other servers of the session live on
            pass


def sweep(folder: Path) -> None:
    embedded.stop(folder)
    servers = (folder / "servers").resolve()
    with suppress(OSError):
        shutil.rmtree((servers / "sockets").resolve())
    if (folder / "servers").is_symlink():
        shutil.rmtree(servers)
        with suppress(OSError):
            servers.parent.rmdir()
    shutil.rmtree(folder, ignore_errors=True)


def postmaster(folder: Path) -> int:
    return int((folder / "servers/pg/postmaster.pid").read_text().split()[0])


def redis_pid(folder: Path) -> int:
    return int((folder / "servers/redis.pid").read_text())


async def ask(servers: embedded.Servers, sql: str) -> object:
    connection = await asyncpg.connect(servers.database_url.replace("+asyncpg", ""))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def keep_a_row(servers: embedded.Servers) -> None:
    await ask(servers, "DROP TABLE IF EXISTS kept")
    await ask(servers, "CREATE TABLE kept AS SELECT 42 AS answer")


def broker(servers: embedded.Servers) -> redis.Redis:
    assert servers.broker_url is not None
    return redis.Redis.from_url(servers.broker_url.replace("redis+socket", "unix").split("?")[0])


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def lives_in(folder: Path) -> bool:
    """Whether any process holds one of the locks that servers inherit."""
    locks = [path.open() for path in folder.glob("servers/*.alive")]
    try:
        for lock in locks:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        for lock in locks:
            lock.close()
    return False


def copy_with_owners(folder: Path, copy: Path) -> None:
    subprocess.run(["cp", "-a", folder, copy], check=True)


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and not lives(pid)


def modes(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mode, found.st_uid, found.st_gid


def starter(folder: Path, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START, folder],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def start_as(uid: int, folder: Path) -> Callable[[], str]:
    """Start as another user, in a fork, for the interpreter may lie where that user may not go."""
    drop = {"user": uid, "group": uid, "extra_groups": []}
    walk = ["test", "-x", embedded.postgres_bin() / "postgres"]
    if subprocess.run(walk, check=False, **drop).returncode:
        pytest.skip("the virtualenv lies where a plain user may not go")
    hears, says = FORK.Pipe(duplex=False)
    process = FORK.Process(target=become_and_start, args=(uid, folder, says))
    process.start()

    def said() -> str:
        with hears, says:
            result = hears.recv()
        process.join()
        process.close()
        return result

    return said


def become_and_start(uid: int, folder: Path, says: Connection) -> None:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    try:
        says.send(str(embedded.start(folder)))
    except embedded.EmbeddedError as error:
        says.send(repr(error))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


async def test_a_first_start_serves_both_and_a_row_survives_stop_and_start(fresh):
    folder = fresh()
    first = embedded.start(folder)
    await keep_a_row(first)
    with broker(first) as client:
        client.set("bell", "rings")
    embedded.stop(folder)

    second = embedded.start(folder)

    assert second == first
    assert await ask(second, "SELECT answer FROM kept") == 42
    with broker(second) as client:
        assert client.get("bell") == b"rings"


async def test_the_server_is_postgresql_18_that_is_durable_and_has_no_port(folder):
    servers = embedded.start(folder)

    assert str(await ask(servers, "SHOW server_version")).startswith("18.")
    assert await ask(servers, "SHOW fsync") == "on"
    assert await ask(servers, "SHOW synchronous_commit") == "on"
    assert await ask(servers, "SHOW listen_addresses") == ""
    assert await ask(servers, "SHOW max_connections") == "200"
    assert await ask(servers, "SELECT datlocale FROM pg_database LIMIT 1") == "C.UTF-8"
    with broker(servers) as client:
        assert client.config_get("port")["port"] == "0"
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


def test_a_second_start_attaches(folder):
    first = embedded.start(folder)
    pids = postmaster(folder), redis_pid(folder)

    second = embedded.start(folder)

    assert second == first == embedded.running(folder)
    assert (postmaster(folder), redis_pid(folder)) == pids


def test_processes_that_start_at_once_get_the_same_servers(fresh):
    folder = fresh()

    starters = [starter(folder) for _ in range(4)]
    said = {process.communicate()[0] for process in starters}

    assert said == {f"{embedded.running(folder)}\n"}
    assert lives(postmaster(folder))


async def test_after_kill_9_of_everything_the_next_start_has_every_committed_row(folder):
    servers = embedded.start(folder)
    await keep_a_row(servers)
    with broker(servers) as client:
        client.set("bell", "rings")
    for pid in (postmaster(folder), redis_pid(folder)):
        os.kill(pid, signal.SIGKILL)

    again = embedded.start(folder)

    assert await ask(again, "SELECT answer FROM kept") == 42
    with broker(again) as client:
        assert client.get("bell") == b"rings"


async def test_a_backend_that_outlives_its_postmaster_is_waited_for(folder):
    servers = embedded.start(folder)
    await keep_a_row(servers)
    loop = "DO $$ BEGIN FOR i IN 1..30000000 LOOP NULL; END LOOP; END $$"
    busy = asyncio.create_task(ask(servers, loop))
    while not await ask(servers, "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^DO'"):
        await ask(servers, "SELECT pg_sleep(0.01)")
    os.kill(postmaster(folder), signal.SIGKILL)

    again = embedded.start(folder)

    await asyncio.wait([busy])
    assert await ask(again, "SELECT answer FROM kept") == 42


def test_servers_outlive_the_group_of_the_process_that_started_them(folder):
    process = starter(folder, process_group=0)
    said = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    assert said == f"{embedded.running(folder)}\n"


async def test_a_starter_killed_while_the_cluster_is_made_leaves_no_half_of_one(fresh):
    folder = fresh()
    process = starter(folder)
    until(lambda: any(folder.glob("servers/pg.new-*")))
    process.kill()
    process.communicate()

    servers = embedded.start(folder)

    assert await ask(servers, "SELECT count(*) > 300 FROM pg_class")


async def test_a_cluster_that_is_not_whole_is_set_aside_and_never_used(fresh):
    folder = fresh()
    (folder / "servers/pg").mkdir(parents=True)
    (folder / "servers/pg/pg_wal").write_text("half")

    servers = embedded.start(folder)

    assert await ask(servers, "SELECT 1") == 1
    assert [path.read_text() for path in folder.glob("servers/pg.set-aside-*/pg_wal")] == ["half"]


async def test_a_pid_file_that_names_a_stranger_harms_neither_side(folder, stranger):
    await keep_a_row(embedded.start(folder))
    lines = (folder / "servers/pg/postmaster.pid").read_text().splitlines()
    embedded.stop(folder)
    lines[0] = str(stranger.pid)
    (folder / "servers/pg/postmaster.pid").write_text("\n".join(lines))
    (folder / "servers/redis.pid").write_text(str(stranger.pid))

    embedded.stop(folder)
    servers = embedded.start(folder)

    assert await ask(servers, "SELECT answer FROM kept") == 42
    assert stranger.poll() is None


@pytest.mark.parametrize("content", ["", "12", "-7\n", "not a pid\n"])
async def test_a_truncated_pid_file_does_not_keep_postgresql_from_starting(folder, content):
    await keep_a_row(embedded.start(folder))
    embedded.stop(folder)
    (folder / "servers/pg/postmaster.pid").write_text(content)

    servers = embedded.start(folder)

    assert await ask(servers, "SELECT answer FROM kept") == 42


@ON_LINUX
@pytest.mark.usefixtures("subreaper")
async def test_a_zombie_postmaster_is_taken_for_dead(folder):
    await keep_a_row(embedded.start(folder))
    zombie = postmaster(folder)
    os.kill(zombie, signal.SIGKILL)
    until(lambda: not lives(zombie))

    servers = embedded.start(folder)

    assert is_zombie(zombie)
    assert postmaster(folder) != zombie
    assert await ask(servers, "SELECT answer FROM kept") == 42
    embedded.stop(folder)


async def test_servers_whose_sockets_were_swept_away_come_back_at_the_same_address(folder):
    servers = embedded.start(folder)
    await keep_a_row(servers)
    old = postmaster(folder), redis_pid(folder)
    shutil.rmtree((folder / "servers/sockets").resolve())

    again = embedded.start(folder)

    assert again == servers
    assert not any(lives(pid) for pid in old)
    assert await ask(again, "SELECT answer FROM kept") == 42


async def test_a_path_may_be_long_and_hold_spaces_and_quotes(fresh):
    folder = fresh("/".join(['it\'s $HOME `here` "now" %s ü', *["long" * 20] * 4]))

    servers = embedded.start(folder)

    assert await ask(servers, "SELECT 1") == 1
    with broker(servers) as client:
        assert client.ping()
    assert str(folder) not in servers.database_url


def test_only_the_owner_may_enter_and_no_parent_changes_its_mode(fresh):
    folder = fresh("one/two")
    folder.parent.mkdir(mode=0o751)
    before = [modes(path) for path in folder.parents]

    embedded.start(folder)

    private = [folder, folder / "servers", folder / "servers/sockets", folder / "servers/pg"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in private] == [0o700] * 4
    assert [modes(path) for path in folder.parents] == before


def test_a_folder_that_held_other_things_keeps_its_mode(folder):
    embedded.start(folder)

    assert (folder / "notes").read_text() == "mine"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "servers").stat().st_mode) == 0o700


async def test_a_copy_of_a_folder_has_servers_of_its_own(folder, fresh):
    copy = fresh()
    await keep_a_row(embedded.start(folder))
    embedded.stop(folder)
    copy_with_owners(folder, copy)
    original = embedded.start(folder)

    servers = embedded.start(copy)
    await ask(servers, "UPDATE kept SET answer = 43")
    embedded.stop(copy)

    assert servers != original
    assert embedded.running(folder) == original
    assert await ask(original, "SELECT answer FROM kept") == 42


@AS_ROOT
async def test_below_a_closed_parent_the_servers_live_where_the_link_says(fresh):
    folder = fresh("closed/data")
    folder.parent.mkdir(mode=0o700)
    await keep_a_row(embedded.start(folder))
    embedded.stop(folder)

    servers = embedded.start(folder)

    elsewhere = (folder / "servers").resolve()
    assert elsewhere.parent.name == "sluice-0"
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    assert elsewhere.stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert await ask(servers, "SELECT answer FROM kept") == 42


@AS_ROOT
def test_two_users_of_one_host_have_servers_of_their_own(owned):
    both = [start_as(uid, folder) for uid, folder in owned]

    assert [said() for said in both] == [str(embedded.running(folder)) for _, folder in owned]
    for uid, folder in owned:
        for pid in (postmaster(folder), redis_pid(folder)):
            assert Path(f"/proc/{pid}").stat().st_uid == uid


@AS_ROOT
def test_a_folder_of_another_user_is_refused(owned):
    intruder, folder = owned[1][0], owned[0][1]

    said = start_as(intruder, folder)()

    assert "EmbeddedError" in said
    assert str(folder) in said


@AS_ROOT
async def test_root_and_the_owner_of_a_folder_take_turns(owned):
    uid, folder = owned[0]
    servers = embedded.start(folder)
    await keep_a_row(servers)
    embedded.stop(folder)

    said = start_as(uid, folder)()

    assert said == str(servers)
    assert await ask(servers, "SELECT answer FROM kept") == 42


def test_running_starts_nothing_and_makes_nothing(fresh, folder):
    nowhere = fresh()

    assert embedded.running(nowhere) is None
    assert not nowhere.exists()

    embedded.start(folder)
    embedded.stop(folder)

    assert embedded.running(folder) is None
    assert not (folder / "servers/pg/postmaster.pid").exists()


def test_stop_leaves_nothing_running_and_may_be_repeated(fresh, folder):
    embedded.start(folder)
    pids = postmaster(folder), redis_pid(folder)

    embedded.stop(folder)

    assert not any(lives(pid) for pid in pids)
    assert not (folder / "servers/sockets").exists()
    embedded.stop(folder)
    embedded.stop(fresh())


async def test_without_a_redis_there_is_a_database_and_no_broker(folder, monkeypatch):
    monkeypatch.setenv("SLUICE_EMBEDDED_REDIS", "off")

    servers = embedded.start(folder)

    assert embedded.redis_binary() is None
    assert servers.broker_url is None
    assert embedded.running(folder) == servers
    assert await ask(servers, "SELECT 1") == 1


def test_a_redis_that_is_too_old_is_passed_over(place, monkeypatch):
    old, new = place / "redis-server", place / "valkey-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.0.16 sha=0'")
    new.write_text("#!/bin/sh\necho 'Valkey server v=8.1.0 sha=0'")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(place))

    without = embedded.redis_binary()
    new.chmod(0o755)

    assert without != old
    assert embedded.redis_binary() == new


def test_a_failing_initdb_says_what_failed_and_what_to_do(fresh):
    folder = fresh()
    small = (1 << 20, 1 << 20)

    process = starter(folder, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, small))
    said = process.communicate()[0]

    assert "EmbeddedError: The embedded PostgreSQL" in said
    assert "File too large" in said
    assert "SLUICE_DATABASE_URL" in said
    assert embedded.running(folder) is None
    assert not lives_in(folder)
    assert not (folder / "servers/pg").exists()


@AS_ROOT
def test_a_start_that_fails_at_once_leaves_no_redis_behind(fresh):
    folder, no_account = fresh(), 4_000_004
    folder.mkdir()
    os.chown(folder, no_account, no_account)

    said = start_as(no_account, folder)()

    assert "user does not exist" in said
    assert not lives_in(folder)
