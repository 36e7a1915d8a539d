"""What errors of the API mean for a caller."""

from __future__ import annotations

import pickle

import pytest

from generator.cloud.faults import ApiRefusedError, Fault, classify, failure
from generator.errors import ExitCode


class FakeError(Exception):
    """What the SDK raises, as far as it is looked at."""

    def __init__(self, code: str | None, status: int = 400) -> None:
        super().__init__("said")
        self.code, self.status_code, self.request_id = code, status, "R-1"
        self.data = {"Message": "The message."}


@pytest.mark.parametrize(
    ("code", "status", "fault"),
    [
        ("Throttling.User", 400, Fault.THROTTLE),
        ("Rejected.Throttling", 400, Fault.THROTTLE),
        ("FrequentPurchase.EIP", 400, Fault.THROTTLE),
        ("Whatever", 429, Fault.THROTTLE),
        (None, 0, Fault.TRANSIENT),
        ("ServiceUnavailable", 503, Fault.TRANSIENT),
        ("LastTokenProcessing", 400, Fault.TRANSIENT),
        ("SomethingNew", 500, Fault.TRANSIENT),
        ("TaskConflict", 400, Fault.STATE),
        ("IncorrectEipStatus", 400, Fault.STATE),
        ("IncorrectStatus.ResourceStatus", 400, Fault.STATE),
        ("InvalidOperation.InvalidEniState", 400, Fault.STATE),
        ("InvalidAssociation.Duplicated", 400, Fault.DONE),
        ("InvalidAllocationId.NotFound", 404, Fault.DONE),
        ("OperationDenied.NoStock", 403, Fault.CAPACITY),
        ("InvalidVSwitchId.IpNotEnough", 400, Fault.CAPACITY),
        ("QuotaExceeded.Eip", 400, Fault.QUOTA),
        ("InsufficientBalance", 403, Fault.QUOTA),
        ("IdempotentParameterMismatch", 400, Fault.REFUSED),
        ("Forbidden.RAM", 403, Fault.REFUSED),
        ("InvalidParameter", 400, Fault.REFUSED),
        ("SomethingNew", 400, Fault.REFUSED),
    ],
)
def test_a_code_says_what_to_do(code: str | None, status: int, fault: Fault) -> None:
    assert classify(FakeError(code, status)) is fault


def test_a_refusal_has_all_that_support_asks_for_in_one_line() -> None:
    error = failure(FakeError("QuotaExceeded.Eip"), "AllocateEipAddress", "VPC", "cn-hangzhou")
    assert isinstance(error, ApiRefusedError)
    assert (error.code, error.fault, error.exit_code) == ("QuotaExceeded.Eip", Fault.QUOTA, ExitCode.CLOUD)
    assert error.message == (
        "VPC in cn-hangzhou refused AllocateEipAddress: QuotaExceeded.Eip: The message. (RequestId R-1)"
    )
    assert "Quota Center" in error.hint


def test_a_refusal_comes_back_whole_from_where_it_is_kept() -> None:
    error = failure(FakeError("QuotaExceeded.Eip"), "AllocateEipAddress", "VPC", "cn-hangzhou")
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), vars(back)) == (type(error), vars(error))


def test_no_answer_is_no_refusal() -> None:
    error = failure(FakeError(None, 0), "RunInstances", "ECS", "cn-hangzhou")
    assert not isinstance(error, ApiRefusedError)
    assert error.message == "ECS in cn-hangzhou gave no answer to RunInstances: said"
