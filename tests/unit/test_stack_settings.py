"""How the environment configures the stack and its Envoy."""

import json
import re
from ipaddress import ip_address
from pathlib import Path

import pytest

from server.stack.banner import format_banner
from server.stack.envoy import render
from server.stack.settings import DatabaseUrls, StackError, StackSettings, hide_password, read_stack_settings
from server.variables import ConfigurationError

ENVOY = """
- socket_address: { address: 127.0.0.1, port_value: 8080 }
        - endpoint: { address: { pipe: { path: run/50051.sock } } }
- pipe: { path: envoy-admin.sock, mode: 384 }
- pipe: { path: envoy-pages.sock, mode: 384 }
- pipe: { path: ./envoy-pages.sock }
- pipe: { path: ./envoy-admin.sock }
- socket_address: { address: 127.0.0.1, port_value: 9464 }
        - endpoint: { address: { pipe: { path: run/50051.prom } } }
- max_active_downstream_connections: 10000 # why
- allow_origin_string_match: [] # why
- percent_sampled: { numerator: 0, denominator: TEN_THOUSAND }
#traces c: { socket_address: { address: localhost, port_value: 4317 } }
#traces sampling_percentage: { numerator: 10000, denominator: TEN_THOUSAND }
#names others
- domains: ["localhost", "*.localhost", "127.0.0.1", "[::1]", "*"]
#tls a: { path: ./tls-certificate.yaml }
#mtls b: { path: ./tls-client-ca.yaml }
"""
RUN = Path("/run")
ADMIN = RUN / "envoy.sock"
TLS = {"TLS_CERT": "/pki/a.crt", "TLS_KEY": "/pki/a.key"}


def render_envoy(
    settings: StackSettings, text: str = ENVOY, max_connections: int = 10_000, *, auth: bool = True
) -> str:
    """Return what Envoy reads."""
    return render(text, settings, RUN, max_connections, auth=auth)


def test_an_empty_environment_has_good_defaults() -> None:
    settings = read_stack_settings({})
    assert (settings.http_port, settings.grpc_ports[0]) == (8080, 50051)
    assert settings.bind_address == "127.0.0.1"
    assert settings.data_dir == Path.cwd() / ".data"
    assert settings.database_urls is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PORT", "http"),
        ("HTTP_PORT", "0"),
        ("METRICS_PORT", "0"),
        ("METRICS_PORT", "8080"),
        ("METRICS_ADDRESS", "localhost"),
        ("GRPC_PORT", "65536"),
        ("GRPC_PORT", "8080"),
        ("BIND_ADDRESS", "localhost"),
        ("DATA_DIR", ""),
        ("LOG_LEVEL", "LOUD"),
        *(
            ("OTEL_EXPORTER_OTLP_ENDPOINT", text)
            for text in ("h:4317", "http://h", "http://u@h:1", "http://h:x", "ftp://h:1")
        ),
        *(("ACCESS_LOG", text) for text in ("on", "0", "0.0", "0.00001", "1.5", "2", ".5", "1e-3", "-0.1", "5%")),
        ("WORKERS", "0"),
        ("WORKERS", "two"),
        ("DATABASE_URL", "analytics"),
        ("OWNER_DATABASE_URL", "postgresql://owner@h/x"),
        ("GRPC_REFLECTION", "yes"),
        ("DRAIN_NOTICE_SECONDS", "-1"),
        ("PLAINTEXT", "yes"),
        ("TLS_CERT", "/pki/a.crt"),
        ("TLS_KEY", "/pki/a.key"),
        ("TLS_CLIENT_CA", "/pki/ca.crt"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", "app.example"),
        ("CORS_ORIGINS", "https://app.example/"),
        ("CORS_ORIGINS", "https://*.example"),
        ("CORS_ORIGINS", "https://App.example"),
        ("CORS_ORIGINS", "https://app.example,"),
    ],
)
def test_a_malformed_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        read_stack_settings({name: value})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:secret@h/x", "postgresql://u:***@h/x"),
        ("postgresql://u:se/cr@et@h/x", "postgresql://u:***@h/x"),
        ("postgresql://u:s%40e@[::1]:5/x", "postgresql://u:***@[::1]:5/x"),
        ("postgresql://h:5432/x?user=u&password=secret&sslmode=require", None),
        (r"host=h password='it\'s secret' user=u", "host=h password=*** user=u"),
        ("postgresql://u@h:5432/x", "postgresql://u@h:5432/x"),
    ],
)
def test_a_password_is_never_shown(text: str, shown: str | None) -> None:
    assert hide_password(text) == (shown or text.replace("secret", "***"))


def test_the_addresses_of_envoy_are_replaced() -> None:
    settings = read_stack_settings({"HTTP_PORT": "50051", "GRPC_PORT": "8080", "WORKERS": "1", "ACCESS_LOG": "0.0205"})
    assert render_envoy(settings, max_connections=800).split("\n") == [
        "",
        '- socket_address: { address: "127.0.0.1", port_value: 50051 }',
        '        - endpoint: { address: { pipe: { path: "/run/8080.sock" } } }',
        '- pipe: { path: "/run/envoy.sock", mode: 384 }',
        '- pipe: { path: "/run/pages.sock", mode: 384 }',
        '- pipe: { path: "/run/pages.sock" }',
        '- pipe: { path: "/run/envoy.sock" }',
        '- socket_address: { address: "127.0.0.1", port_value: 9464 }',
        '        - endpoint: { address: { pipe: { path: "/run/8080.prom" } } }',
        "- max_active_downstream_connections: 800 # why",
        "- allow_origin_string_match: [] # why",
        "- percent_sampled: { numerator: 205, denominator: TEN_THOUSAND }",
        '#traces c: { socket_address: { address: "localhost", port_value: 4317 } }',
        "#traces sampling_percentage: { numerator: 10000, denominator: TEN_THOUSAND }",
        "#names others",
        '- domains: ["localhost", "*.localhost", "127.0.0.1", "[::1]", "*"]',
        '#tls a: { path: "/run/tls-certificate.json" }',
        '#mtls b: { path: "/run/tls-client-ca.json" }',
        "",
    ]


@pytest.mark.parametrize(("more", "marks"), [({}, ("", "#mtls ")), ({"TLS_CLIENT_CA": "/pki/ca.crt"}, ("", ""))])
def test_tls_is_put_into_envoys_configuration_if_it_is_set(more: dict[str, str], marks: tuple[str, str]) -> None:
    lines = render_envoy(read_stack_settings({**TLS, **more})).splitlines()
    assert lines[-2:] == [
        f'{marks[0]}a: {{ path: "/run/tls-certificate.json" }}',
        f'{marks[1]}b: {{ path: "/run/tls-client-ca.json" }}',
    ]


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "::ffff:c000:201"])
def test_an_address_for_other_machines_needs_tls_or_the_operators_word(address: str) -> None:
    variables = {"BIND_ADDRESS": address}
    printed = str(ip_address(address))  # Python 3.13 writes one of them in another way.
    with pytest.raises(ConfigurationError, match=rf"BIND_ADDRESS={printed} .*TLS_CERT and TLS_KEY, or PLAINTEXT=on"):
        read_stack_settings(variables)
    assert read_stack_settings({**variables, "PLAINTEXT": "on"}).bind_address == printed
    assert read_stack_settings({**variables, **TLS}).bind_address == printed


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_an_address_that_only_this_machine_reaches_needs_neither(address: str) -> None:
    assert read_stack_settings({"BIND_ADDRESS": address}).tls is None


def test_the_command_that_is_shown_trusts_the_certificate() -> None:
    settings = read_stack_settings({"TLS_CERT": "/my pki/a.crt", "TLS_KEY": "/pki/a.key"})
    text = format_banner(settings, DatabaseUrls("", ""), ADMIN, auth=False)
    assert "curl -i --cacert '/my pki/a.crt' https://127.0.0.1:8080/" in text
    text = format_banner(
        read_stack_settings({**TLS, "TLS_CLIENT_CA": "/pki/ca.crt"}), DatabaseUrls("", ""), ADMIN, auth=False
    )
    assert "curl -i --cacert /pki/a.crt --cert YOUR.crt --key YOUR.key https://" in text


@pytest.mark.parametrize(
    ("environment", "matchers"),
    [
        ({}, "[]"),
        ({"AUTH": "off"}, "[]"),
        ({"AUTH": "on"}, '[{"safe_regex": {"regex": ".+"}}]'),
        (
            {"CORS_ORIGINS": "https://app.example:8443, chrome-extension://abcd"},
            '[{"exact": "https://app.example:8443"}, {"exact": "chrome-extension://abcd"}]',
        ),
        ({"CORS_ORIGINS": "http://[::1]:3000", "AUTH": "on"}, '[{"exact": "http://[::1]:3000"}]'),
    ],
)
def test_pages_of_these_origins_may_read_responses(environment: dict[str, str], matchers: str) -> None:
    assert f"allow_origin_string_match: {matchers} #" in render_envoy(read_stack_settings(environment))


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("http://collector:4317", '\nc: { socket_address: { address: "collector", port_value: 4317 } }'),
        ("http://[::1]:80/v1/traces", '\nc: { socket_address: { address: "::1", port_value: 80 } }'),
        ("https://collector:4317", "\n#traces c: "),
    ],
)
def test_envoy_sends_traces_to_a_collector_without_tls(url: str, line: str) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}
    environment |= {"OTEL_TRACES_SAMPLER_ARG": "0.015", "ACCESS_LOG": "1"}
    text = render_envoy(read_stack_settings(environment))
    assert line in text
    assert "sampling_percentage: { numerator: 150, denominator: TEN_THOUSAND }" in text


@pytest.mark.parametrize(
    ("environment", "auth", "more"),
    [
        ({}, False, []),
        ({"BIND_ADDRESS": "::1"}, False, []),
        ({"BIND_ADDRESS": "127.8.8.8"}, False, ["127.8.8.8"]),
        ({}, True, ["*"]),
        (TLS, False, ["*"]),
        ({"BIND_ADDRESS": "0.0.0.0", "PLAINTEXT": "on"}, False, ["*"]),
    ],
)
def test_envoy_answers_to_these_names(environment: dict[str, str], auth: bool, more: list[str]) -> None:
    text = render_envoy(read_stack_settings(environment), auth=auth)
    assert f"domains: {json.dumps(['localhost', '*.localhost', '127.0.0.1', '[::1]', *more])}" in text
    assert ("#names others" in text) == (more == ["*"])


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_envoy_has_an_endpoint_for_each_worker_and_the_last_is_a_standby(workers: int) -> None:
    text = render_envoy(read_stack_settings({"WORKERS": str(workers)}))
    lines = re.findall(r"^ *- (?:(priority): 1|endpoint: .*/(5005\d)\.sock)", text, re.MULTILINE)
    ports = [port for _, port in lines]
    expected = [str(50051 + number) for number in range(workers)]
    if workers > 1:
        expected.insert(-1, "")  # The line that begins the group of the standby.
    assert ports == expected


def test_the_ports_of_all_workers_have_to_be_free_of_others() -> None:
    with pytest.raises(ConfigurationError, match=r"HTTP_PORT and GRPC_PORT\+1 are both 50052"):
        read_stack_settings({"WORKERS": "2", "HTTP_PORT": "50052"})
    with pytest.raises(ConfigurationError, match="GRPC_PORT is 65535"):
        read_stack_settings({"WORKERS": "2", "GRPC_PORT": "65535"})


def test_what_listens_on_any_address_is_reached_at_the_loopback() -> None:
    settings = read_stack_settings({"BIND_ADDRESS": "::", "PLAINTEXT": "on"})
    text = render_envoy(settings)
    assert 'address: "::", port_value: 8080, ipv4_compat: true' in text
    assert "http://[::1]:8080/" in format_banner(settings, DatabaseUrls("", ""), ADMIN, auth=True)


def test_the_owner_of_the_database_is_the_servers_role_unless_it_is_given() -> None:
    server, owner = "postgresql://server@h/x", "postgresql://owner:secret@h/x"
    assert read_stack_settings({"DATABASE_URL": server}).database_urls == (server, server)
    settings = read_stack_settings({"DATABASE_URL": server, "OWNER_DATABASE_URL": owner})
    assert settings.database_urls == (server, owner)
    assert "owner:***@h" in format_banner(settings, DatabaseUrls(server, owner), ADMIN, auth=True)


def test_the_banner_says_whether_callers_need_credentials() -> None:
    urls = DatabaseUrls("", "")
    assert "AUTH                on" in format_banner(read_stack_settings({}), urls, ADMIN, auth=True)
    assert "until you make a key" in format_banner(read_stack_settings({}), urls, ADMIN, auth=False)
    assert "until" not in format_banner(read_stack_settings({"AUTH": "off"}), urls, ADMIN, auth=False)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"AUTH": "yes"}, "AUTH is 'yes'"),
        ({"JWT_ISSUER": "i"}, "neither JWKS_FILE nor JWKS_URL"),
        ({"JWKS_FILE": "f", "JWKS_URL": "https://h"}, "both set"),
        ({"JWKS_FILE": "f", "JWT_AUDIENCE": "a"}, "JWT_ISSUER is not set"),
        ({"JWKS_FILE": "f", "JWT_ISSUER": "i"}, "JWT_AUDIENCE is not set"),
        ({"JWKS_URL": "http://example.com/jwks", "JWT_ISSUER": "i", "JWT_AUDIENCE": "a"}, "https://"),
    ],
)
def test_settings_of_access_that_cannot_be_used_are_named(variables: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        read_stack_settings(variables)


@pytest.mark.parametrize("text", [ENVOY.replace("50051", "50052"), ENVOY + ENVOY, ENVOY.replace("10000", "9000")])
def test_an_envoy_yaml_without_each_part_once_is_refused(text: str) -> None:
    with pytest.raises(StackError, match=r"envoy\.yaml contains"):
        render_envoy(read_stack_settings({}), text)
