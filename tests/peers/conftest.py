"""Fixtures for real peers. Each test skips, with the command that installs it, when its peer is absent."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from trunkline.runtime.clock import RealClock
from trunkline.testing.peers import TrunklineServer

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
CACHE = REPOSITORY / ".cache" / "peers"
ASTERISK = CACHE / "asterisk-sid"

DIALOGUE = """
version: 1
greeting: "Thank you for calling Acme. How can I help?"
help: "You can ask for our opening hours, or for a person."
intents:
  opening_hours:
    key: "2"
    examples:
      - "what are your opening hours"
      - "when are you open"
      - "opening hours"
    steps:
      - say: "We are open from Monday to Friday, from nine to five, and on Saturday until noon."
person:
  queue: people
  farewell: "I am connecting you."
goodbye:
  farewell: "Goodbye."
anything_else:
  prompt: "Is there anything else?"
"""


def absent(peer: str) -> str:
    """Why a peer cannot be used, empty when it can."""
    install = f"run: scripts/peers/install {peer}"
    reason = CACHE / f"{peer}.reason"
    because = f" ({reason.read_text().strip()})" if reason.exists() else ""
    if peer == "asterisk":
        if not (CACHE / "asterisk-sid.stamp").exists():
            return f"Asterisk is not installed{because}; {install}"
        if not _may_chroot():
            return "entering Asterisk's directory needs root"
        return ""
    return "" if shutil.which(peer) else f"{peer} is not installed{because}; {install}"


def _may_chroot() -> bool:
    effective = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:")
    )
    return bool(int(effective.split()[1], 16) >> 18 & 1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("peers")


@pytest.fixture(scope="session")
def clock() -> RealClock:
    return RealClock()


@pytest.fixture(scope="module")
def sipp() -> None:
    if why := absent("sipp"):
        pytest.skip(why)


@pytest.fixture(scope="module")
def baresip() -> None:
    if why := absent("baresip"):
        pytest.skip(why)


@pytest.fixture(scope="module")
def asterisk_tree() -> Path:
    if why := absent("asterisk"):
        pytest.skip(why)
    return ASTERISK


@pytest.fixture(scope="session")
def server_for(
    tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Callable[[str], TrunklineServer]:
    """Makes a server (not started) with one agent, whose people are at the URI given."""

    def make(person: str) -> TrunklineServer:
        folder = tmp_path_factory.mktemp("trunkline")
        (folder / "dialogue.yaml").write_text(DIALOGUE)
        agent = {"engine": "local", "voice": "slt", "dialogue": "dialogue.yaml", "queues": ["people"]}
        document = {
            "version": 1,
            "trunks": [{"name": "pbx", "sources": ["127.0.0.0/8"], "codecs": ["PCMU", "PCMA"], "nat": True}],
            "queues": {"people": {"target": person}},
            "engines": {"local": {"kind": "local"}},
            "agents": {"hours": agent},
            "routes": [{"name": "hours", "trunk": "pbx", "dnis": "1000", "agent": "hours"}],
        }
        return TrunklineServer(document, folder=folder, clock=clock)

    return make
