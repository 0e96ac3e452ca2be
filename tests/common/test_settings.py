"""Settings come from the environment, are frozen, and say what is wrong with them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.common.errors import ConfigurationError
from services.common.settings import CommonSettings, ServiceSettings, read_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServiceSettings.model_fields:
        monkeypatch.delenv(f"FACET_{name.upper()}", raising=False)


def test_every_setting_is_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_PORT", "1234")
    monkeypatch.setenv("FACET_NAME", "scheduler-2")
    monkeypatch.setenv("FACET_DRAIN_S", "2.5")
    settings = read_settings(ServiceSettings)
    assert (settings.port, settings.name, settings.drain_s) == (1234, "scheduler-2", 2.5)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_PORT", "")
    assert read_settings(ServiceSettings).port == 0


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_PORT", "1234")
    assert read_settings(ServiceSettings, port=4321).port == 4321


def test_foreign_variables_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_SOMETHING_ELSE", "x")
    read_settings(ServiceSettings)


def test_each_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_PORT", "70000")
    monkeypatch.setenv("FACET_LOG_LEVEL", "loud")
    with pytest.raises(ConfigurationError) as raised:
        read_settings(ServiceSettings)
    assert "FACET_PORT: " in raised.value.message
    assert "FACET_LOG_LEVEL: " in raised.value.message


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        read_settings(ServiceSettings).port = 1  # type: ignore[misc]


def test_registry_and_models_are_in_home_by_default(tmp_path: Path) -> None:
    settings = read_settings(CommonSettings, home=tmp_path)
    assert settings.home_path == tmp_path.resolve()
    assert settings.registry_url == f"{tmp_path.resolve().as_uri()}/registry"
    assert settings.models_url == f"{tmp_path.resolve().as_uri()}/models"
    elsewhere = read_settings(CommonSettings, registry="consul://localhost:8500", models="/m")
    assert (elsewhere.registry_url, elsewhere.models_url) == ("consul://localhost:8500", "/m")


def test_the_token_is_not_shown() -> None:
    settings = read_settings(CommonSettings, consul_token="hunter2")
    assert settings.consul_access.token == "hunter2"
    assert "hunter2" not in repr(settings)
    assert read_settings(CommonSettings).consul_access.token is None


def test_no_two_processes_have_one_id() -> None:
    settings = read_settings(ServiceSettings, name="inference-1")
    ids = {settings.instance_id("inference") for _ in range(50)}
    assert len(ids) == 50
    assert all(name.startswith("inference-1-") for name in ids)
    assert read_settings(ServiceSettings).instance_id("scheduler").startswith("scheduler-")
