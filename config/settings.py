"""Settings: nested, frozen, working out of the box, read from the environment as `SLUICE_...`."""

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, HttpUrl, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.endpoint import SECRET, Endpoint

DAY_S = 24 * 3600.0
LEASE_LIMIT_S = 300.0
"""A lease that ends later than this is the work of a clock that jumped back, and not waited for."""
GAP_BEATS = 2.0
"""So many heartbeats from one to the next are a gap: leases may have run out meanwhile."""
_SAMPLES = Path(__file__).parents[1] / "samples"


class WorkerSettings(BaseModel, frozen=True, extra="forbid"):
    """How a worker process takes runs and holds them."""

    room: int = Field(default=1024, ge=1)
    """Runs one process carries at a time."""
    lease_s: float = Field(default=9, gt=0, le=LEASE_LIMIT_S)
    """A worker silent for this long has lost its runs to the next one."""
    heartbeat_s: float = Field(default=3, gt=0)
    look_s: float = Field(default=1, gt=0)
    """A worker looks for due runs this often even when no bell rings."""
    look_without_broker_s: float = Field(default=0.1, gt=0)
    grace_s: float = Field(default=20, ge=0)
    """On shutdown, runs may finish for this long; the rest are snoozed, without a crash counted."""
    crash_limit: int = Field(default=3, ge=1)
    """A run whose workers died this often is finished as `crashes_exhausted`."""
    bug_limit: int = Field(default=3, ge=1)
    """A run that raised this often is finished as `internal_error`."""
    send_before_s: float = Field(default=2, gt=0)
    """A write may start to leave for this long after its intent; then it is admitted anew."""
    connections: int = Field(default=6, ge=3)
    """PostgreSQL connections of the batched verbs; heartbeats have one more of their own."""
    catalogues: tuple[str, ...] = ("worker.pipelines",)
    """Modules whose `PIPELINES` this worker runs; put a module of your own here."""
    packages: bool = True
    """Also what installed packages bring by entry point, `sluice.pipelines` and `sluice.tools`."""

    @model_validator(mode="after")
    def _lease_survives_two_missed_heartbeats(self) -> Self:
        if self.lease_s < 3 * self.heartbeat_s:
            raise ValueError(f"lease_s must be at least 3 x heartbeat_s={self.heartbeat_s:g}")
        return self


class ApiSettings(BaseModel, frozen=True, extra="forbid"):
    """Where the API listens, and what it takes."""

    host: str = "127.0.0.1"
    port: int = Field(default=8321, ge=0, le=65535)
    max_body_bytes: int = Field(default=256 * 1024, ge=1024)
    wait_limit_s: float = Field(default=30, gt=0)
    """The longest `?wait=` that is honoured."""
    guards_proven_within_s: float = Field(default=DAY_S, gt=0)
    """`/healthz/guards` is well while `sluice guards verify` has proven each of them so lately."""

    @model_validator(mode="after")
    def _stays_on_this_host(self) -> Self:
        if self.host not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError(
                f"api.host={self.host} is refused: the API has no TLS yet and listens on loopback"
                " or a unix socket only; put a proxy of yours in front of it"
            )
        return self


class BrokerSettings(BaseModel, frozen=True, extra="forbid"):
    """Names and limits of what travels through the broker."""

    bells: str = "sluice.bells"
    submissions: str = "sluice.submissions"
    submission_lifetime_s: float = Field(default=7 * DAY_S, gt=0)
    """How long a submission may wait in the broker."""
    prefetch: int = Field(default=64, ge=1)
    bell_gap_s: float = Field(default=0.02, ge=0)
    """Under load, bells closer together than this are one bell."""
    visibility_timeout_s: int = Field(default=30, ge=5)
    """Redis: a submission popped by a worker that died comes back after this long."""


class RetentionSettings(BaseModel, frozen=True, extra="forbid"):
    """How long what is over is kept. What is unfinished or in doubt is kept in any case."""

    payload_s: float = Field(default=7 * DAY_S, gt=0)
    """Input, result, steps and reviews of a run, after it has finished."""
    keys_s: float = Field(default=30 * DAY_S, gt=0)
    """How long an idempotency key is kept after its run has finished."""
    transcripts_s: float = Field(default=3 * DAY_S, gt=0)
    """What models were asked and said, word by word."""
    every_s: float = Field(default=60, gt=0)

    @model_validator(mode="after")
    def _a_key_outlives_its_payload(self) -> Self:
        if self.payload_s > self.keys_s:
            raise ValueError("payload_s must not be longer than keys_s: a key outlives its payload")
        return self


class NotifySettings(BaseModel, frozen=True, extra="forbid"):
    """Whom to tell what needs a person now; `sluice notices` lists it in any case."""

    webhook: SecretStr | None = None
    """An http(s) URL that takes a POST of {id, kind, text, since}; 2xx is an answer."""
    every_s: float = Field(default=5, gt=0)


class DeskSettings(BaseModel, frozen=True, extra="forbid"):
    """The ticket desk that pipelines write to; without a URL, the local one in our own database."""

    url: HttpUrl | None = None
    """A Roundup tracker, such as http://127.0.0.1:8917/support."""
    user: str = "triage"
    password: SecretStr = SecretStr("")


class CloudSettings(BaseModel, frozen=True, extra="forbid"):
    """The cloud whose instances `cloud.*` tools look after; see tools/cloud/provider.py."""

    url: HttpUrl | None = None
    secret: str = Field(default="", pattern=SECRET)
    """Where the token is: `env:NAME` or `file:/path` of the worker; never the token itself."""


class ClassifierSettings(BaseModel, frozen=True, extra="forbid"):
    """The sample model: what it is trained from, once, into the data folder."""

    labelled: Path = _SAMPLES / "labelled.csv"
    precision: float = Field(default=0.95, ge=0.5, le=0.999)
    """What the sample model claims: 581 examples carry no 98 % for more than two texts in five."""


class KnowledgeSettings(BaseModel, frozen=True, extra="forbid"):
    """The knowledge base: a folder of Markdown that `kb.read` searches."""

    folder: Path = _SAMPLES / "kb"


class SearchSettings(BaseModel, frozen=True, extra="forbid"):
    """Where `search.read` looks: at a SearXNG, or another that answers like one; else in `kb`."""

    url: HttpUrl | None = None
    """Such as http://127.0.0.1:8888; asked is its path `search`."""
    key: SecretStr = SecretStr("")
    """Sent as a bearer's token, where there is one."""


class Settings(BaseSettings):
    """Everything a process reads from its surroundings, once."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    database_url: SecretStr | None = None
    """None: Sluice starts its own PostgreSQL, and its own Redis, in `data`."""
    broker_url: SecretStr | None = None
    """None beside a `database_url`: no broker, workers look ten times a second."""
    policy: Path = Path(__file__).parent / "policy.yaml"
    """What the fleet may do by itself."""
    data: Path = Path(".sluice")
    """The folder of the embedded servers."""
    sentry_dsn: SecretStr | None = None
    log_level: str = "info"
    worker: WorkerSettings = WorkerSettings()
    api: ApiSettings = ApiSettings()
    broker: BrokerSettings = BrokerSettings()
    retention: RetentionSettings = RetentionSettings()
    notify: NotifySettings = NotifySettings()
    desk: DeskSettings = DeskSettings()
    cloud: CloudSettings = CloudSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    kb: KnowledgeSettings = KnowledgeSettings()
    search: SearchSettings = SearchSettings()
    models: dict[str, Endpoint] = Field(default_factory=dict)
    """Language models by the name that pipelines call them; JSON, `{"NAME": {"base_url": ...}}`."""

    @property
    def embedded(self) -> bool:
        return self.database_url is None

    @model_validator(mode="after")
    def _a_broker_alone_is_no_configuration(self) -> Self:
        if self.database_url is None and self.broker_url is not None:
            raise ValueError(
                "SLUICE_BROKER_URL is set but SLUICE_DATABASE_URL is not: set both or none"
            )
        return self

    @model_validator(mode="after")
    def _a_submission_dies_before_its_key(self) -> Self:
        if self.broker.submission_lifetime_s >= self.retention.keys_s:
            raise ValueError(
                "broker.submission_lifetime_s must be shorter than retention.keys_s, or a late"
                " duplicate would meet a key that is already forgotten"
            )
        return self


NO_SETTINGS = frozenset({"EMBEDDED_REDIS", "MIGRATE_URL", "REQUIRE", "TICKETS", "PUBLIC_DATA"})
"""Variables of ours that other parts read, and the tests."""


@cache
def settings() -> Settings:
    """The settings of this process; read once, so that two parts never disagree."""
    return Settings()


def unknown_names(environment: Iterable[str]) -> list[str]:
    """Variables that look like settings of ours and are none, each with what may be meant."""
    known = sorted(Settings.model_fields)
    told = []
    for name in environment:
        field = name.removeprefix("SLUICE_").split("__")[0]
        if field.startswith("TEST_"):
            continue
        if not name.startswith("SLUICE_") or field in NO_SETTINGS or field.lower() in known:
            continue
        close = get_close_matches(field.lower(), known, n=1)
        told.append(f"{name} (SLUICE_{close[0].upper()}?)" if close else name)
    return told
