"""A rolling upgrade from the version before, which knows no other nodes, to a cluster: under load, nothing is lost."""

import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, query, wait_for_load
from tests.process.test_node_deaths import BUS, Crowd, PacedTalker, boots
from tests.support.process import clean_environment, wait_until

pytestmark = pytest.mark.slow

TOP = Path(__file__).parents[2]
FORMER = "a32cc93"
"""The last commit before nodes worked together."""


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """The version before, to be imported from there."""
    wanted = ["git", "-C", str(TOP), "archive", FORMER, "chatserver", "alembic", "twisted"]
    done = subprocess.run(wanted, capture_output=True, check=False, timeout=30)
    if done.returncode:
        pytest.skip("This checkout does not have the history of the project.")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(tmp_path / "former", filter="data")
    return tmp_path / "former"


def chatctl(database: str, *words: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("chatctl")), "--database", database, *words],
        env=clean_environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_upgrade(empty_postgres_url: str, former: Path, server: StartServer, connect: Connect) -> None:
    """The schema is upgraded while a server of the version before serves; nodes of this one are started beside it, and
    everybody hears everybody. Then it is stopped, and its people come to the others, which have everything."""
    url = empty_postgres_url
    options = {"options": ["--migrate"], "env": {"PYTHONPATH": str(former)}}
    old = server(url, config=QUICK, migrated=False, **options)  # type: ignore[arg-type]
    assert query(url, "SELECT version_num FROM alembic_version") == [("0008",)]
    crowd = Crowd(url, [old], connect)
    chatctl(url, "migrate")
    wait_for_load(crowd.talkers, 30)
    new = server(url, config=QUICK + BUS, env={"CHATSERVER_NODE": "new"}, migrated=False)
    new.wait_log("Node main is there")
    assert set(boots(url)) == {"main", "new"}
    crowd.nodes.append(new)
    crowd.add(1)
    wait_for_load(crowd.talkers, 30)
    for number in (0, 1):
        crowd.hears(crowd.last_of(1 - number), number)  # while the load goes on, and without a command at the other

    # A single message of somebody at the one reaches those at the other within moments, too.
    for talker in crowd.talkers:
        talker.stop()
    for number in (0, 1):
        seq = crowd.talkers[number].client.say("general", f"only {number}")["seq"]
        crowd.listeners[1 - number].wait_seq("general", seq, 8)

    assert old.stop() == 0
    assert crowd.listeners[0].wait_closing()["reason"] == "shutdown"
    crowd.talkers[0].client.drain()
    second = server(url, config=QUICK + BUS, env={"CHATSERVER_NODE": "second"}, migrated=False)
    new.wait_log("Node second is there")
    new.wait_log("Node main is gone")
    crowd.ended.append(crowd.talkers[1])
    crowd.nodes[0] = second
    crowd.come_back(0)
    crowd.talkers[1] = PacedTalker(crowd.talkers[1].client, "v1", ["general"]).start()
    wait_for_load(crowd.talkers, 30)
    crowd.check()
    hints = "SELECT count(*) FROM change WHERE kind = 'room' AND detail IS NOT NULL"
    [(count,)] = query(url, hints)
    assert int(str(count)) > 0
    wait_until(lambda: query(url, "SELECT boot FROM node WHERE name = 'main'") == [("",)], what="it has left")
    crowd.talkers[0].client.say("general", "nobody needs a hint any more")
    assert query(url, hints) == [(count,)]
