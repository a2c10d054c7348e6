from pathlib import Path

import pytest
import yaml

from trunkline.config.source import parse
from trunkline.integration.connectors import Connector, create_connector
from trunkline.integration.connectors.sql import SqlConnector
from trunkline.integration.connectors.sql.simulator import PEOPLE, SETTINGS, build
from trunkline.testing.connectors import CANARY, CONNECTOR_CHECKS, Check, Question, Rig


def busy(connector: Connector) -> bool:
    assert isinstance(connector, SqlConnector)
    return connector.running > 0


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    build(tmp_path)
    text = yaml.safe_dump(SETTINGS).encode()
    settings = parse(text, tmp_path / "settings.yaml")
    away = parse(text.replace(b"simulator.db", b"away.db"), tmp_path / "settings.yaml")
    return Rig(
        create=lambda: create_connector("sql", settings),
        create_down=lambda: create_connector("sql", away),
        busy=busy,
        known=Question("find_person", {"id": 3}),
        answer=(PEOPLE[2],),
        endless=Question("endless", {"id": CANARY}),
        broken=(Question("broken_text", {"id": CANARY}), Question("huge_value", {"id": CANARY})),
        bad_arguments=(
            Question("find_person", {}),
            Question("find_person", {"id": {"$ne": 1}}),
            Question("find_person", {"id": 2**70}),
        ),
    )


@pytest.mark.parametrize("check", CONNECTOR_CHECKS, ids=lambda check: check.__name__)
async def test_conformance(check: Check, rig: Rig) -> None:
    await check(rig)
