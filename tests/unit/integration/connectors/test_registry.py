from pathlib import Path

import pytest

from trunkline.config.source import parse
from trunkline.integration.connectors import create_connector, kinds, settings_of
from trunkline.integration.connectors.contract import Connector
from trunkline.model import ConfigError, LocalProtocolError

TEXT = b"""
connectors:
  erp:
    kind: sql
    settings:
      url: 5
"""


def test_settings_keep_the_lines_of_the_whole_document() -> None:
    document = parse(TEXT, Path("trunkline.yaml"))
    settings = settings_of(document, ("connectors", "erp", "settings"))
    assert settings.data == {"url": 5}
    assert settings.line(("url",)) == 6
    assert settings.line(()) == 5
    assert settings.file == Path("trunkline.yaml")


def test_settings_that_are_not_there() -> None:
    document = parse(b"connectors:\n  erp: {kind: sql}\n", Path("trunkline.yaml"))
    settings = settings_of(document, ("connectors", "erp", "settings"))
    assert settings.data == {}
    assert settings.line(("url",)) == 2
    with pytest.raises(ConfigError, match=r"trunkline.yaml:2: url: is required"):
        create_connector("sql", settings)


def test_an_unknown_kind() -> None:
    with pytest.raises(ConfigError, match=r"no connector of kind 'nix' \(installed: sql"):
        create_connector("nix", parse(b"{}", Path("x.yaml")))
    assert "sql" in kinds()


def test_a_connector_without_streams_says_so() -> None:
    with pytest.raises(LocalProtocolError, match="changes is no stream"):
        Connector.stream(None, "changes", {}, None)  # type: ignore[arg-type]
