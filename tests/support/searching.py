"""The search that most tests make."""

from data_analytics.v1.lead_analytics_service_pb2 import SearchLeadAnalyticsEventsResponse
from tests.support import requests
from tests.support.in_process import Client


def search(client: Client, customer: str, **fields: object) -> SearchLeadAnalyticsEventsResponse:
    """Return what a search finds of the events that `tests.support.requests` makes, with these fields."""
    return client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer, **fields), timeout=10)
