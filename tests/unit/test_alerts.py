"""The alerts, on series as they would be: each fires on what it is for, and none on a service that is well."""

import re

import pytest

from tests.support.prometheus import ALERTS, RULES, find_firing, run_promtool

WORKER = 'job="analytics",instance="m",worker="50051"'
ENVOY = 'job="analytics-envoy",instance="m"'
WRITES = f'{ENVOY},envoy_cluster_name="writes"'
HTTP = f'{ENVOY},envoy_http_conn_manager_prefix="http"'
POSTGRES = 'job="analytics",instance="m"'
ENVOY_LOAD = "envoy_overload_envoy_resource_monitors"
FAILED = f'analytics_calls_failed_total{{{WORKER},door="json",cause='


def histogram(name: str, labels: str, bound: float, total: int = 600) -> dict[str, str]:
    """Return the series of a histogram, all of whose observations are up to `bound`."""
    buckets = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    series = {f'{name}_bucket{{{labels},le="{each}"}}': f"0+{total * (each >= bound)}x120" for each in buckets}
    return series | {
        f'{name}_bucket{{{labels},le="+Inf"}}': f"0+{total}x120",
        f"{name}_count{{{labels}}}": f"0+{total}x120",
    }


def calls(method: str, bound: float) -> dict[str, str]:
    labels = f'{WORKER},rpc_method="data_analytics.v1.{method}",rpc_response_status_code="OK",door="json"'
    return histogram("rpc_server_call_duration_seconds", labels, bound)


CREATES, SEARCHES = "AnalyticsEventService/CreateAnalyticsEvent", "LeadAnalyticsService/SearchLeadAnalyticsEvents"

WELL = {
    'up{job="analytics",instance="m"}': "1x120",
    'up{job="analytics-envoy",instance="m"}': "1x120",
    f"analytics_worker_up{{{WORKER}}}": "1x120",
    f"analytics_worker_up{{{WORKER.replace('50051', '50052')}}}": "1x120",
    f"analytics_ready{{{WORKER}}}": "1x120",
    f"analytics_database_up{{{WORKER}}}": "1x120",
    f"analytics_commits_wait_for_standby{{{WORKER}}}": "0x120",
    f"analytics_read_replica_left_out{{{WORKER}}}": "0x120",
    f"process_start_time_seconds{{{WORKER}}}": "1x120",
    f"process_resident_memory_bytes{{{WORKER}}}": "90000000x120",
    f"process_open_fds{{{WORKER}}}": "40x120",
    f"process_max_fds{{{WORKER}}}": "1000x120",
    f'analytics_write_queue_oldest_seconds{{{WORKER},lane="creates"}}': "0.01x120",
    f'analytics_commit_in_flight_seconds{{{WORKER},lane="creates"}}': "0.01x120",
    f'analytics_reads_waiting{{{WORKER},kind="search"}}': "1x120",
    f'{FAILED}"bug"}}': "0x120",
    f'{FAILED}"database_unavailable"}}': "0x120",
    f'{FAILED}"too_many_waiting"}}': "0+6x120",
    f'{FAILED}"over_rate"}}': "0+6x120",
    f'{FAILED}"unauthenticated"}}': "0+60x120",
    f'analytics_events_stored_total{{{WORKER},lane="creates"}}': "0+600x120",
    f'analytics_events_refused_total{{{WORKER},door="json",rule="required"}}': "0+10x120",
    f"analytics_log_lines_dropped_total{{{WORKER}}}": "0x120",
    f'analytics_transport_refused_total{{{WORKER},cause="slow_request"}}': "0+6x120",
    f'analytics_transport_refused_total{{{WORKER},cause="no_such_method"}}': "0+600x120",
    f"analytics_spans_exported_total{{{WORKER}}}": "0+600x120",
    f'analytics_spans_dropped_total{{{WORKER},cause="export_failed"}}': "0+6x120",
    f'analytics_spans_dropped_total{{{WORKER},cause="over_rate"}}': "0+6000x120",
    f'envoy_listener_downstream_global_cx_overflow{{{ENVOY},envoy_listener_address="0.0.0.0_8080"}}': "0x120",
    f"envoy_http_downstream_cx_protocol_error{{{HTTP}}}": "0+6x120",
    f"analytics_postgres_sampled{{{POSTGRES}}}": "1x120",
    f"analytics_postgres_connections{{{POSTGRES}}}": "30x120",
    f"analytics_postgres_max_connections{{{POSTGRES}}}": "100x120",
    f"analytics_postgres_oldest_transaction_seconds{{{POSTGRES}}}": "2x120",
    f"analytics_postgres_oldest_prepared_transaction_seconds{{{POSTGRES}}}": "0x120",
    f'analytics_postgres_rows_since_vacuum{{{POSTGRES},table="analytics_event"}}': "90000x120",
    f"analytics_postgres_replication_lag_seconds{{{POSTGRES}}}": "1x120",
    f"analytics_postgres_standbys{{{POSTGRES}}}": "1x120",
    f"envoy_cluster_membership_healthy{{{WRITES}}}": "2x120",
    f'envoy_http_downstream_rq_xx{{{HTTP},envoy_response_code_class="2"}}': "0+600x120",
    f'envoy_http_downstream_rq_xx{{{HTTP},envoy_response_code_class="5"}}': "0+1x120",
    f"{ENVOY_LOAD}_global_downstream_max_connections_pressure{{{ENVOY}}}": "5x120",
    f"{ENVOY_LOAD}_fixed_heap_pressure{{{ENVOY}}}": "15x120",
    f"envoy_server_days_until_first_cert_expiring{{{ENVOY}}}": "60x120",
    **calls(CREATES, 0.1),
    **calls(SEARCHES, 0.1),
    **histogram("analytics_commit_duration_seconds", f'{WORKER},lane="creates"', 0.1),
    **histogram("analytics_event_loop_lag_seconds", WORKER, 0.1),
}


def find(start: str) -> str:
    """Return the series of a service that is well whose name and labels begin so."""
    return next(series for series in WELL if series.startswith(start))


# What becomes of a series, given by its beginning, when an alert is to fire.
CHANGES: dict[str, dict[str, str]] = {
    "AnalyticsNotScraped": {"up{": "0x120"},
    "AnalyticsDatabaseUnavailable": {"analytics_database_up": "0x120"},
    "AnalyticsCommitsWait": {"analytics_commits_wait_for_standby": "1x120", "analytics_ready": "0x120"},
    "AnalyticsReplicaLeftOut": {"analytics_read_replica_left_out": "1x120"},
    "AnalyticsNotReady": {"analytics_ready": "0x120"},
    "AnalyticsNoHealthyWorker": {"envoy_cluster_membership_healthy": "0x120"},
    "AnalyticsWorkerHangs": {"analytics_worker_up": "0x120"},
    "AnalyticsWorkerMissing": {"analytics_worker_up": "1x70 _x50"},
    "AnalyticsWorkerRestarts": {"process_start_time_seconds": "0+200x120"},
    "AnalyticsWriteQueueSlow": {"analytics_write_queue_oldest_seconds": "3x120"},
    "AnalyticsCommitHangs": {"analytics_commit_in_flight_seconds": "3x120"},
    "AnalyticsCommitSlow": histogram("analytics_commit_duration_seconds", f'{WORKER},lane="creates"', 1.0),
    "AnalyticsCreatesSlow": calls(CREATES, 2.5),
    "AnalyticsReadsSlow": calls(SEARCHES, 2.5),
    "AnalyticsReadsWait": {"analytics_reads_waiting": "30x120"},
    "AnalyticsErrors": {f'{FAILED}"database_unavailable"': "0+60x120"},
    "AnalyticsBug": {f'{FAILED}"bug"': "0x85 1x35"},
    "AnalyticsOverload": {f'{FAILED}"too_many_waiting"': "0+120x120"},
    "AnalyticsTransportRefuses": {"analytics_transport_refused_total": "0+120x120"},
    "AnalyticsSpansDropped": {"analytics_spans_dropped_total": "0+120x120"},
    "AnalyticsConnectionsRefused": {"envoy_listener": "0+60x120"},
    "AnalyticsMalformed": {"envoy_http_downstream_cx_protocol_error": "0+120x120"},
    "AnalyticsOverRate": {f'{FAILED}"over_rate"': "0+120x120"},
    "AnalyticsEventsRefused": {"analytics_events_refused_total": "0+300x120"},
    "AnalyticsNotAdmitted": {f'{FAILED}"unauthenticated"': "0+600x120"},
    "AnalyticsEventLoopLags": histogram("analytics_event_loop_lag_seconds", WORKER, 0.5),
    "AnalyticsMemory": {"process_resident_memory_bytes": "500000000x120"},
    "AnalyticsOpenFiles": {"process_open_fds": "900x120"},
    "AnalyticsLogLost": {"analytics_log_lines_dropped_total": "0x85 7x35"},
    "AnalyticsPostgresSilent": {"analytics_postgres_sampled": "0x120"},
    "AnalyticsConnections": {"analytics_postgres_connections": "90x120"},
    "AnalyticsLongTransaction": {"analytics_postgres_oldest_transaction_seconds": "2000x120"},
    "AnalyticsPreparedTransaction": {"analytics_postgres_oldest_prepared_transaction_seconds": "400x120"},
    "AnalyticsVacuumLate": {"analytics_postgres_rows_since_vacuum": "3000000x120"},
    "AnalyticsReplicationLag": {"analytics_postgres_replication_lag_seconds": "60x120"},
    "AnalyticsStandbyLost": {"analytics_postgres_standbys": "1x70 0x50"},
    "AnalyticsEnvoyErrors": {find("envoy_http_downstream_rq_xx{").replace('class="2"', 'class="5"'): "0+60x120"},
    "AnalyticsEnvoyConnections": {f"{ENVOY_LOAD}_global": "90x120"},
    "AnalyticsEnvoyMemory": {f"{ENVOY_LOAD}_fixed": "95x120"},
    "AnalyticsCertificate": {"envoy_server_days": "5x120"},
}


@pytest.fixture(scope="module")
def firing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return what fires in each case, all of which are evaluated together."""
    cases = {alert: WELL | {find(start): values for start, values in each.items()} for alert, each in CHANGES.items()}
    return find_firing(tmp_path_factory.mktemp("alerts"), {"well": WELL, **cases})


def test_the_rules_are_ones_that_prometheus_accepts() -> None:
    ran = run_promtool("check", "config", str(RULES.with_name("prometheus.yaml")))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"{len(ALERTS)} rules found" in ran.stdout


def test_nothing_fires_while_the_service_is_well(firing: dict[str, set[str]]) -> None:
    assert firing["well"] == set()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_on_what_it_is_for(firing: dict[str, set[str]], alert: str) -> None:
    assert firing[alert] == {alert}


def test_each_alert_says_what_happened_and_what_to_do() -> None:
    rules = re.split(r"^  - alert: ", RULES.read_text(), flags=re.MULTILINE)[1:]
    assert len(set(ALERTS)) == len(rules) == len(CHANGES)
    for rule in rules:
        assert re.search(r"severity: (critical|warning|info) }", rule)
        assert re.search(r'summary: "[A-Z].+\."\n', rule)
        assert re.search(r'action: ".+[.?]"\n', rule)
