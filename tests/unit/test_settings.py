"""Settings: nested, frozen, working out of the box, and checking each other."""

import pytest
from pydantic import ValidationError

from config.settings import Settings, unknown_names


def test_without_a_url_sluice_brings_its_own_servers():
    assert Settings().embedded


@pytest.mark.parametrize(("environment", "told"), [
    ({"SLUICE_WORKER__LEASE_S": "5"}, "at least 3 x heartbeat_s"),
    ({"SLUICE_WORKER__LEASE_X": "5"}, "lease_x"),
    ({"SLUICE_BROKER_URL": "redis://localhost"}, "SLUICE_DATABASE_URL is not"),
    ({"SLUICE_RETENTION__KEYS_S": "3600", "SLUICE_RETENTION__PAYLOAD_S": "3600"},
     "shorter than retention.keys_s"),
    ({"SLUICE_RETENTION__PAYLOAD_S": "9999999"}, "a key outlives its payload"),
    ({"SLUICE_API__HOST": "0.0.0.0"}, "loopback"),
    ({"SLUICE_WORKER__ROOM": "many"}, "valid integer"),
])  # fmt: skip
def test_a_setting_that_would_break_a_promise_is_refused_with_its_reason(
    monkeypatch, environment, told
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert told in str(caught.value)


def test_a_misspelt_setting_is_told_with_what_may_be_meant():
    assert unknown_names(["SLUICE_WORKERS__ROOM", "SLUICE_DATA", "SLUICE_REQUIRE", "PATH"]) == [
        "SLUICE_WORKERS__ROOM (SLUICE_WORKER?)"
    ]


def test_a_secret_is_not_shown(monkeypatch):
    monkeypatch.setenv("SLUICE_DATABASE_URL", "postgresql://u:hunter2@db/x")

    assert "hunter2" not in repr(Settings())


def test_settings_do_not_change_after_they_were_read():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().log_level = "debug"
