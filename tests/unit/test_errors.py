from typing import Any

from google.rpc.error_details_pb2 import BadRequest

from data_analytics.v1.lead_analytics_service_pb2 import CreateLeadAnalyticsEventRequest
from server.ingest.batch import NOT_STORABLE
from server.rpc.errors import status_of
from storage import EventRefused


def test_an_event_that_the_database_refuses_is_refused_in_the_shape_of_all_invalid_arguments() -> None:
    request: Any = CreateLeadAnalyticsEventRequest.DESCRIPTOR
    status = status_of(EventRefused(), request)
    details = BadRequest()
    (detail,) = status.details
    assert detail.Unpack(details)
    assert (status.code, status.message) == (3, "invalid request")
    assert [(each.field, each.description) for each in details.field_violations] == [("", NOT_STORABLE)]
