"""What the answers of S3 servers and the errors of their client mean, in one line; those that no test server gives."""

from __future__ import annotations

import pytest

from variorum.edition.remote_errors import code_of, explained
from variorum.schemas.errors import StoreError, TemporaryError

exceptions = pytest.importorskip("botocore.exceptions")
translate = pytest.importorskip("s3fs.errors").translate_boto_error


def answer(code: str, status: int, operation: str = "PutObject") -> Exception:
    """An error as s3fs raises it."""
    said = {"Error": {"Code": code, "Message": f"about {code}"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translate(exceptions.ClientError(said, operation))


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (answer("ExpiredToken", 400), StoreError, "the session token has expired; get a new one"),
        (answer("QuotaExceeded", 403), StoreError, "no space left (QuotaExceeded); what is finished is kept"),
        (answer("PermanentRedirect", 301), StoreError, "the bucket is in another region; set AWS_REGION"),
        (answer("403", 403, "HeadObject"), StoreError, "give this key the right s3:GetObject and s3:ListBucket"),
        (answer("AccessDenied", 403, "ListMultipartUploads"), StoreError, "the right s3:ListBucketMultipartUploads"),
        (answer("InvalidArgument", 400), StoreError, "bucket b refuses PutObject (InvalidArgument: about Inv"),
        (answer("SlowDown", 503), TemporaryError, "it doesn't do its work now (SlowDown: about SlowDown)"),
        (answer("Whatever", 599), TemporaryError, "it doesn't do its work now (Whatever"),
        (answer("RequestTimeout", 400), TemporaryError, "it doesn't do its work now (RequestTimeout"),
        (exceptions.ReadTimeoutError(endpoint_url="http://h"), TemporaryError, "finished work is kept"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), StoreError, "only half of the keys found"),
        (ConnectionResetError(104, "Connection reset by peer"), TemporaryError, "Connection reset by peer"),
    ],
    ids=lambda value: code_of(value) or type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_in_one_line(error, kind, said):
    found = explained("store s3://b/x", "b/x", error)
    assert type(found) is kind
    assert said in str(found)
    assert str(found).startswith("store s3://b/x: ")
    assert "\n" not in str(found)


def test_errors_of_something_else_are_passed_on():
    for error in (ValueError("a value"), KeyError("x"), OSError(22, "Invalid argument")):
        assert explained("store s3://b/x", "b/x", error) is None
        assert code_of(error) == ""
