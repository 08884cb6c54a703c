"""Settings: every variable, every wrong value, and nothing that must stay secret."""

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from yarl import URL

from common.backoff import DEFAULT, Backoff, Jitter, Strategy
from common.errors import SettingsError
from common.kinds import Service
from common.settings.environment import Settings, load, misspelt, variables
from common.settings.programs import BrokerSettings
from common.settings.servers import split_url
from common.settings.stores import MOST_PREFETCH
from extractor.settings import ExtractorSettings
from graphinator.settings import GraphinatorSettings
from tableinator.settings import TableinatorSettings

PROGRAMS: tuple[type[Settings], ...] = (TableinatorSettings, GraphinatorSettings, ExtractorSettings)
VARIABLES = sorted({name for program in PROGRAMS for name, _ in variables(program)})
SECRETS = sorted({name for program in PROGRAMS for name, field in variables(program) if field.annotation is SecretStr})
EXAMPLE = Path(__file__).parents[3] / ".env.example"

# Neither a surrogate nor a NUL can be in an environment variable.
values = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
odd_names = values.filter(lambda name: name not in ("", ".", "..") and "%2F" not in name)


def sentences(program: type[Settings], environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load(program, environ)
    return str(error.value).splitlines()


# -- names and defaults


def test_the_variables_that_users_of_such_services_know_are_read() -> None:
    known = """
        RABBITMQ_HOST RABBITMQ_PORT RABBITMQ_USERNAME RABBITMQ_PASSWORD RABBITMQ_VHOST RABBITMQ_URL
        DISCOGS_EXCHANGE_PREFIX KINDS MESSAGE_MAX_BYTES BATCH_MAX_BYTES SOURCE_MAX_BYTES DRAIN_LIMIT HOLD_LIMIT
        METRICS_PORT LOG_LEVEL LOG_FORMAT DEAD_LETTER_FLOOD EXTRACTOR_REQUIRE EXTRACTOR_MAX_BACKLOG
        NEO4J_HOST NEO4J_PORT NEO4J_USERNAME NEO4J_PASSWORD NEO4J_DATABASE NEO4J_URI
        NEO4J_BATCH_ADAPTIVE NEO4J_BATCH_TARGET_SECONDS POSTGRES_BATCH_ADAPTIVE POSTGRES_BATCH_TARGET_SECONDS
        NEO4J_BATCH_MODE NEO4J_BATCH_SIZE NEO4J_BATCH_FLUSH_INTERVAL NEO4J_WRITERS NEO4J_PREFETCH
        POSTGRES_HOST POSTGRES_PORT POSTGRES_USERNAME POSTGRES_PASSWORD POSTGRES_DATABASE POSTGRES_DSN
        POSTGRES_BATCH_MODE POSTGRES_BATCH_SIZE POSTGRES_BATCH_FLUSH_INTERVAL POSTGRES_WRITERS POSTGRES_PREFETCH
    """

    assert set(known.split()) <= set(VARIABLES)


def test_the_example_lists_every_variable_once_and_no_other() -> None:
    listed = re.findall(r"^#([A-Z0-9_]+)=", EXAMPLE.read_text(), re.MULTILINE)

    assert sorted(listed) == VARIABLES


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_example_gives_the_defaults(program: type[Settings]) -> None:
    example = dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))

    assert load(program, example) == load(program, {})
    computed = {name for name, value in example.items() if not value}
    assert computed >= {name for name, field in variables(program) if field.default_factory}


def test_an_empty_variable_is_an_unset_one() -> None:
    assert load(TableinatorSettings, dict.fromkeys(VARIABLES, "")) == load(TableinatorSettings, {})


def test_settings_are_frozen() -> None:
    settings = load(TableinatorSettings, {})

    with pytest.raises(ValidationError, match="frozen"):
        settings.drain_limit = 1.0


def test_the_runtime_sees_the_settings_of_its_store() -> None:
    environ = {"NEO4J_BATCH_SIZE": "40", "NEO4J_WRITERS": "3", "NEO4J_BATCH_FLUSH_INTERVAL": "0.5", "KINDS": "labels"}
    consumer = load(GraphinatorSettings, environ).consumer

    assert (consumer.service, consumer.metrics_port) == (Service.GRAPHINATOR, 8001)
    assert (consumer.batch_size, consumer.writers, consumer.flush_interval) == (40, 3, 0.5)
    assert (consumer.prefetch, consumer.kinds) == (200, ("labels",))


@pytest.mark.parametrize(
    ("environ", "target"),
    [
        ({}, 1.0),
        ({"POSTGRES_BATCH_TARGET_SECONDS": "0.25"}, 0.25),
        ({"POSTGRES_BATCH_ADAPTIVE": "false", "POSTGRES_BATCH_TARGET_SECONDS": "0.25"}, None),
    ],
)
def test_a_batch_size_that_is_not_adaptive_has_no_target(environ: dict[str, str], target: float | None) -> None:
    assert load(TableinatorSettings, environ).consumer.batch_target == target


# -- wrong values


@pytest.mark.parametrize("program", PROGRAMS)
@given(data=st.data())
def test_any_environment_gives_settings_or_sentences(program: type[Settings], data: st.DataObject) -> None:
    """Fault 65."""
    environ = data.draw(st.dictionaries(st.sampled_from(VARIABLES), values | st.sampled_from(["0", "-1", "9" * 30])))

    try:
        load(program, environ)
    except SettingsError as error:
        assert all(re.fullmatch(r"[A-Z0-9_]+ .+\.", sentence) for sentence in str(error).splitlines())


@pytest.mark.parametrize("name", [name for name in VARIABLES if name not in SECRETS])
def test_a_wrong_value_gives_a_sentence_with_variable_value_and_what_is_allowed(name: str) -> None:
    program = next(each for each in PROGRAMS if name in {known for known, _ in variables(each)})
    free_text = {"RABBITMQ_USERNAME", "POSTGRES_USERNAME", "POSTGRES_DATABASE", "NEO4J_USERNAME", "NEO4J_DATABASE"}
    if name in free_text | {"METRICS_HOST", "SPINDLE_STATE", "EXTRACTOR_FETCH_FOLDER"}:
        return  # the server, or the file system, has the last word on these
    wrong = "a%2Fb" if name == "RABBITMQ_VHOST" else "amq.what is this?"

    [sentence] = sentences(program, {name: wrong})

    assert sentence.startswith(f"{name} is '{wrong}'; allowed is ")


def test_every_problem_is_told_at_once() -> None:
    environ = {"POSTGRES_BATCH_SIZE": "many", "RABBITMQ_PORT": "tcp://10.0.0.1:5672", "KINDS": "artists,films"}

    told = sentences(TableinatorSettings, environ)

    assert sorted(sentence.split()[0] for sentence in told) == sorted(environ)


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_a_duration_is_a_finite_number_above_zero(value: str) -> None:
    assert sentences(TableinatorSettings, {"DRAIN_LIMIT": value}) == [
        f"DRAIN_LIMIT is '{value}'; allowed is a number of seconds from 0.1 to 3600."
    ]


def test_a_long_value_is_cut() -> None:
    assert len(sentences(TableinatorSettings, {"KINDS": "x" * 10_000})[0]) < 300


@pytest.mark.parametrize(
    ("written", "size"), [("8388608", 8388608), ("8MiB", 8388608), ("8 mib", 8388608), ("8MB", 8000000)]
)
def test_sizes_are_bytes_or_have_a_unit(written: str, size: int) -> None:
    assert load(TableinatorSettings, {"BATCH_MAX_BYTES": written}).consumer.batch_max_bytes == size


def test_less_in_memory_than_in_a_batch_is_refused() -> None:
    [sentence] = sentences(TableinatorSettings, {"SOURCE_MAX_BYTES": "1MiB"})

    assert sentence == "SOURCE_MAX_BYTES is 1048576, below BATCH_MAX_BYTES; allowed is 8388608 or more."


def test_how_long_to_wait_before_trying_again_is_chosen_by_name() -> None:
    chosen = {"RETRY_STRATEGY": "Linear", "RETRY_JITTER": "none", "RETRY_BASE": "0.5", "RETRY_CAP": "30"}

    assert load(TableinatorSettings, {}).consumer.backoff == DEFAULT
    assert load(GraphinatorSettings, chosen).consumer.backoff == Backoff(Strategy.LINEAR, Jitter.NONE, 0.5, 30.0)


@pytest.mark.parametrize("environ", [{"RETRY_BASE": "3"}, {"RETRY_BASE": "3", "RETRY_STRATEGY": "fixed"}])
def test_a_first_wait_that_is_longer_than_the_longest_is_refused(environ: dict[str, str]) -> None:
    [sentence] = sentences(TableinatorSettings, environ)

    assert sentence == "RETRY_BASE is 3, above RETRY_CAP; allowed is up to 2, or a RETRY_CAP of 3 or more."


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("RETRY_STRATEGY", "random", "one of exponential, linear, fixed"),
        ("RETRY_JITTER", "half", "one of full, none"),
        ("RETRY_BASE", "0", "a number of seconds from 0.05 to 60"),
        ("RETRY_CAP", "61", "a number of seconds from 0.05 to 60"),
    ],
)
def test_a_wait_that_spins_or_never_ends_is_refused(name: str, value: str, allowed: str) -> None:
    assert sentences(TableinatorSettings, {name: value}) == [f"{name} is '{value}'; allowed is {allowed}."]


@pytest.mark.parametrize(
    ("environ", "ratio"),
    [
        ({}, None),
        ({"TRACING_RATIO": "0.5"}, None),
        ({"TRACING": " OTLP "}, 0.1),
        ({"TRACING": "otlp", "TRACING_RATIO": "1"}, 1.0),
    ],
)
def test_batches_are_traced_if_it_is_asked_for(environ: dict[str, str], ratio: float | None) -> None:
    assert load(TableinatorSettings, environ).consumer.tracing_ratio == ratio


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("TRACING", "jaeger", "one of off, otlp"),
        ("TRACING_RATIO", "1.1", "a number from 0 to 1"),
        ("TRACING_RATIO", "5%", "a number from 0 to 1"),
        ("TRACING_RATIO", "nan", "a number from 0 to 1"),
    ],
)
def test_tracing_that_cannot_be_is_refused(name: str, value: str, allowed: str) -> None:
    assert sentences(GraphinatorSettings, {name: value}) == [f"{name} is '{value}'; allowed is {allowed}."]


def test_kinds_are_a_selection_in_any_case_and_each_once() -> None:
    assert load(TableinatorSettings, {"KINDS": " Releases,artists , releases,"}).kinds == ("releases", "artists")


def test_the_extractor_may_require_no_service() -> None:
    assert load(ExtractorSettings, {"EXTRACTOR_REQUIRE": "none"}).extractor_require == ()
    assert load(ExtractorSettings, {}).extractor_require == (Service.GRAPHINATOR, Service.TABLEINATOR)


def test_a_misspelt_variable_is_noticed_and_a_stranger_is_not() -> None:
    environ = {
        "POSTGRES_BATCHSIZE": "1",
        "LOG_LEVEL": "info",
        "NEO4J_PORT": "1",
        "RABBITMQ_SERVICE_HOST": "x",
        "PATH": "",
    }

    assert misspelt(TableinatorSettings, environ) == [
        "POSTGRES_BATCHSIZE is not a setting and changes nothing; the nearest one is POSTGRES_BATCH_SIZE."
    ]


# -- prefetch


@pytest.mark.parametrize(
    ("environ", "prefetch"),
    [
        ({}, 2000),
        ({"POSTGRES_WRITERS": "1"}, 1500),
        ({"POSTGRES_PREFETCH": "1500"}, 1500),
        ({"POSTGRES_PREFETCH": "65535"}, 65535),
        ({"POSTGRES_BATCH_MODE": "false"}, 4),
        ({"POSTGRES_BATCH_MODE": "false", "POSTGRES_BATCH_SIZE": "500", "POSTGRES_PREFETCH": "3"}, 3),
    ],
)
def test_the_prefetch_is_derived_unless_it_is_set(environ: dict[str, str], prefetch: int) -> None:
    assert load(TableinatorSettings, environ).consumer.prefetch == prefetch


def test_batch_mode_off_means_batches_of_one() -> None:
    assert load(TableinatorSettings, {"POSTGRES_BATCH_MODE": "false"}).consumer.batch_size == 1


def test_a_prefetch_below_the_batches_is_refused_with_the_nearest_values_that_fit() -> None:
    assert sentences(TableinatorSettings, {"POSTGRES_PREFETCH": "1499"}) == [
        "POSTGRES_PREFETCH is 1499, which does not fit POSTGRES_BATCH_SIZE 500 with POSTGRES_WRITERS 2; "
        "allowed is POSTGRES_PREFETCH from 1500 to 65535 or POSTGRES_BATCH_SIZE up to 499."
    ]


@given(
    writers=st.integers(1, 64),
    batch_size=st.integers(1, 32767),
    prefetch=st.none() | st.integers(1, 100_000),
)
def test_what_the_sentence_about_a_prefetch_allows_is_allowed(
    writers: int, batch_size: int, prefetch: int | None
) -> None:
    environ = {"NEO4J_WRITERS": f"{writers}", "NEO4J_BATCH_SIZE": f"{batch_size}"}
    if prefetch is not None:
        environ["NEO4J_PREFETCH"] = f"{prefetch}"

    try:
        consumer = load(GraphinatorSettings, environ).consumer
        assert (writers + 1) * batch_size <= consumer.prefetch <= MOST_PREFETCH
    except SettingsError as error:
        advice = re.findall(r"(\w+) (?:from|up to) (\d+)", str(error).partition("allowed is")[2])
        assert advice
        for name, value in advice:
            follow({**environ, name: value}, again=name == "NEO4J_BATCH_SIZE" and prefetch is not None)


def follow(environ: dict[str, str], *, again: bool) -> None:
    """Load what was advised; a prefetch that is far off may need a second, different piece of advice."""
    try:
        load(GraphinatorSettings, environ)
    except SettingsError as error:
        assert again
        [(name, value)] = re.findall(r"(NEO4J_PREFETCH) from (\d+)", str(error).partition("allowed is")[2])
        load(GraphinatorSettings, {**environ, name: value})


# -- servers


@given(username=odd_names, password=odd_names, vhost=odd_names)
def test_the_broker_gets_login_and_vhost_as_they_are_however_odd(username: str, password: str, vhost: str) -> None:
    environ = {"RABBITMQ_USERNAME": username, "RABBITMQ_PASSWORD": password, "RABBITMQ_VHOST": vhost}
    url = load(TableinatorSettings, environ).broker.url.get_secret_value()

    # As aiormq reads it.
    assert (URL(url).user, URL(url).password) == (username, password)
    assert URL(url).path[1:].replace("%2F", "/") == vhost


@given(username=odd_names, password=odd_names, database=odd_names)
def test_postgres_gets_login_and_database_as_they_are(username: str, password: str, database: str) -> None:
    environ = {"POSTGRES_USERNAME": username, "POSTGRES_PASSWORD": password, "POSTGRES_DATABASE": database}
    dsn = urlsplit(load(TableinatorSettings, environ).postgres.dsn.get_secret_value())

    # As asyncpg reads it.
    assert (unquote(dsn.username or ""), unquote(dsn.password or "")) == (username, password)
    assert unquote(dsn.path[1:]) == database


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("db", "", "db:5432"),
        ("db:5433", "", "db:5433"),
        ("db:5433", "5433", "db:5433"),
        ("db", "5434", "db:5434"),
        ("::1", "", "[::1]:5432"),
        ("[::1]:77", "", "[::1]:77"),
        ("my_db.example.org", "", "my_db.example.org:5432"),
    ],
)
def test_a_host_may_bring_its_port(host: str, port: str, address: str) -> None:
    postgres = load(TableinatorSettings, {"POSTGRES_HOST": host, "POSTGRES_PORT": port}).postgres

    assert postgres.address == address
    assert f"@{address}/" in postgres.dsn.get_secret_value()


def test_two_different_ports_are_refused() -> None:
    assert sentences(TableinatorSettings, {"POSTGRES_HOST": "db:1", "POSTGRES_PORT": "2"}) == [
        "POSTGRES_HOST names port 1 and POSTGRES_PORT is 2; allowed is one port."
    ]


@pytest.mark.parametrize(
    ("environ", "uri"),
    [
        ({}, "bolt://localhost:7687"),
        ({"NEO4J_HOST": "graph", "NEO4J_PORT": "1"}, "bolt://graph:1"),
        ({"NEO4J_HOST": "graph:1"}, "bolt://graph:1"),
        ({"NEO4J_HOST": "neo4j+s://graph"}, "neo4j+s://graph:7687"),
        ({"NEO4J_HOST": "graph", "NEO4J_URI": "bolt+ssc://other:2"}, "bolt+ssc://other:2"),
    ],
)
def test_neo4j_is_reached_by_host_or_uri(environ: dict[str, str], uri: str) -> None:
    neo4j = load(GraphinatorSettings, environ).neo4j

    assert neo4j.uri == uri
    assert neo4j.address == uri.partition("://")[2]


def test_neo4j_without_a_password_logs_in_as_nobody() -> None:
    assert load(GraphinatorSettings, {}).neo4j.auth is None
    assert load(GraphinatorSettings, {"NEO4J_PASSWORD": "x"}).neo4j.auth == ("neo4j", "x")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("amqp://u:p@broker/v", "broker:5672"),
        ("amqps://u:p@broker:1/v?cafile=x", "broker:1"),
        ("amqp://[::1]", "[::1]:5672"),
        ("amqp://u:p@one, two:1,[::1]/v", "one:5672,two:1,[::1]:5672"),
    ],
)
def test_a_url_replaces_the_parts_and_its_address_has_no_login(url: str, address: str) -> None:
    broker = load(ExtractorSettings, {"RABBITMQ_URL": url, "RABBITMQ_HOST": "elsewhere"}).broker

    assert (broker.url.get_secret_value(), broker.address) == (url, address)


def test_a_list_of_hosts_is_split_where_python_takes_no_brackets_behind_another_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As from Python 3.14 on."""

    def split(url: str) -> SplitResult:
        if "[" in url.partition("@")[2].removeprefix("["):
            raise ValueError("Invalid IPv6 URL")
        return urlsplit(url)

    monkeypatch.setattr("common.settings.servers.urlsplit", split)

    parts = split_url("amqp://u:p@one,[::1]:2/v?x=1")

    assert (parts.scheme, parts.netloc, parts.path, parts.query) == ("amqp", "u:p@one,[::1]:2", "/v", "x=1")
    assert split_url("amqp://u:p@[::1]:2/v") == urlsplit("amqp://u:p@[::1]:2/v")


def test_a_dsn_may_name_several_hosts_or_a_socket() -> None:
    several = "postgresql://u:p@one:1,two:2/db"
    local = "postgresql:///db?host=/run/postgresql"

    assert load(TableinatorSettings, {"POSTGRES_DSN": several}).postgres.address == "one:1,two:2"
    assert load(TableinatorSettings, {"POSTGRES_DSN": local}).postgres.address == "a local socket"


@pytest.mark.parametrize("places", ["one:1,two:70000", "one,two:x", "one,,two", "one,", "one two", "one,::1"])
def test_each_host_of_a_url_is_looked_at(places: str) -> None:
    """Fault 89."""
    [sentence] = sentences(ExtractorSettings, {"RABBITMQ_URL": f"amqp://u:hush@{places}"})

    assert sentence.startswith("RABBITMQ_URL has a value that is not shown here; allowed is amqp://")
    assert sentence.endswith("several hosts as host:port,host:port.")


# -- secrets


def test_the_secrets_are_these() -> None:
    assert SECRETS == ["NEO4J_PASSWORD", "POSTGRES_DSN", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "RABBITMQ_URL"]


@pytest.mark.parametrize("name", ["RABBITMQ_URL", "POSTGRES_DSN"])
@pytest.mark.parametrize("value", ["http://u:hush@h", "hush", "amqp://u:hush@h:port", "postgresql://u:hush@[h"])
def test_a_wrong_secret_is_not_repeated(name: str, value: str) -> None:
    program = TableinatorSettings

    [sentence] = sentences(program, {name: value})

    assert "hush" not in sentence
    assert sentence.startswith(f"{name} has a value that is not shown here; allowed is ")


def test_a_login_in_a_variable_that_takes_none_is_not_repeated() -> None:
    environ = {"NEO4J_URI": "neo4j://neo4j:hush@graph", "RABBITMQ_HOST": "amqp://guest:hush@broker"}

    assert "hush" not in "".join(sentences(GraphinatorSettings, environ))


def test_settings_and_their_error_show_no_secret() -> None:
    environ = {"POSTGRES_PASSWORD": "hush", "RABBITMQ_PASSWORD": "hush"}
    settings = load(TableinatorSettings, environ)
    with pytest.raises(SettingsError) as wrong:
        load(TableinatorSettings, {**environ, "POSTGRES_PREFETCH": "1"})

    assert "hush" not in f"{settings!r} {settings} {settings.consumer}"
    # What a traceback would show beside the error itself.
    assert wrong.value.__cause__ is None
    assert wrong.value.__context__ is None


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_may_come_from_a_file(tmp_path: Path, ending: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(f"päss word{ending}".encode())

    settings = load(TableinatorSettings, {"POSTGRES_PASSWORD_FILE": str(file)})

    assert settings.postgres.password.get_secret_value() == "päss word"


@pytest.mark.parametrize(
    ("settings", "prefix", "secret_of"),
    [
        (TableinatorSettings, "POSTGRES_PASSWORD", lambda read: read.postgres.dsn),
        (TableinatorSettings, "RABBITMQ_PASSWORD", lambda read: read.broker.url),
        (GraphinatorSettings, "NEO4J_PASSWORD", lambda read: read.neo4j.password),
    ],
)
def test_a_password_whose_file_was_rewritten_is_the_new_one(
    tmp_path: Path, settings: type[Settings], prefix: str, secret_of: Callable[[Any], SecretStr]
) -> None:
    """Fault 85."""
    file = tmp_path / "password"
    file.write_text("first")
    secret = secret_of(load(settings, {f"{prefix}_FILE": str(file)}))
    assert "first" in secret.get_secret_value()

    file.write_text("second!")

    value = secret.get_secret_value()
    assert "first" not in value
    assert "second" in value
    assert "second" not in repr(secret)
    file.unlink()  # as between the two steps of somebody who replaces it
    assert secret.get_secret_value() == value


def test_a_rewritten_file_that_holds_no_url_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("amqp://user:first@host/")
    url = load(TableinatorSettings, {"RABBITMQ_URL_FILE": str(file)}).broker.url

    for wrong in ("http://user:second@host/", "amqp:///", "amqp://host:0/", ""):
        file.write_text(wrong)
        assert url.get_secret_value() == "amqp://user:first@host/"
    file.write_text("amqp://user:second@other/")

    assert url.get_secret_value() == "amqp://user:second@other/"


def test_both_a_variable_and_its_file_are_refused(tmp_path: Path) -> None:
    environ = {"POSTGRES_PASSWORD": "hush", "POSTGRES_PASSWORD_FILE": str(tmp_path)}

    assert sentences(TableinatorSettings, environ) == [
        "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set; allowed is one of them."
    ]


def test_a_file_that_holds_no_value_is_refused_with_the_reason(tmp_path: Path) -> None:
    for name, content in {"empty": b"\n", "binary": b"\xff\xfe", "long": b"x" * 100_000}.items():
        (tmp_path / name).write_bytes(content)
    reasons = {
        "empty": "an empty file",
        "binary": "not UTF-8",
        "long": "a file that is too long",
        "missing": "No such file or directory",
        ".": "not a file",
    }

    for name, reason in reasons.items():
        path = str(tmp_path / name)
        assert sentences(TableinatorSettings, {"POSTGRES_PASSWORD_FILE": path}) == [
            f"POSTGRES_PASSWORD_FILE is '{path}' ({reason}); allowed is a file that holds the value."
        ]


def test_a_secret_in_place_of_a_file_or_in_a_strange_file_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush")
    environ = {"RABBITMQ_PASSWORD_FILE": "hush", "POSTGRES_PORT_FILE": str(tmp_path / "secret")}

    told = sentences(TableinatorSettings, environ)

    assert len(told) == 2
    assert "hush" not in "".join(told)


def test_a_broker_can_be_described_without_an_environment() -> None:
    assert BrokerSettings(url=SecretStr("amqp://u:p@h:1/v")).address == "h:1"


def test_the_store_has_its_name_before_it_is_connected() -> None:
    assert load(TableinatorSettings, {}).consumer.store_name == "PostgreSQL"
    assert load(GraphinatorSettings, {}).consumer.store_name == "Neo4j"


@pytest.mark.parametrize("program", PROGRAMS)
def test_settings_can_be_given_to_another_process(program: type[Settings], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of a file")
    settings = load(program, {"RABBITMQ_PASSWORD_FILE": str(tmp_path / "secret")})

    assert pickle.loads(pickle.dumps(settings)) == settings
