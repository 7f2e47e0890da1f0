"""What boto3 and requests made by hand do at the S3 endpoint: one function a test, called by name from `main.rs`.

    client.py NAME URL

The keys come in the environment, as boto3 takes them. An assertion that fails ends the program.
"""

import base64
import concurrent.futures
import datetime
import hashlib
import http.client
import json
import os
import socket
import sys
import urllib.parse
import urllib.request
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

URL = sys.argv[2]
HOST = URL.split("://")[1]
KEY, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
ODD_KEYS = [
    "plain", "with space", "a//b", "/leading", "trailing/", "..", "../up", "a/./b", "ünïcödé/日本語", "e\u0301", "\u00e9",
    "plus+and%20percent%", "quote'\"&<>", "\U0001f600", "x" * 1024, "tab\tand\x01control", "~!*()",
]


def client(key=KEY, secret=SECRET, **config):
    return boto3.client(
        "s3", endpoint_url=URL, region_name="eu-north-7", aws_access_key_id=key, aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, **config),
    )


S3 = client()


def refused(code, status, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        found = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert found == (code, status), f"{found} in place of {(code, status)}: {error}"
        return error.response
    raise AssertionError(f"nothing of {code} for {arguments}")


def bucket(name="letters"):
    S3.create_bucket(Bucket=name)
    return name


def text(name, key, **arguments):
    return S3.get_object(Bucket=name, Key=key, **arguments)["Body"].read()


def buckets_are_made_listed_and_deleted():
    names = [bucket["Name"] for bucket in S3.list_buckets()["Buckets"]]
    assert names == ["processing", "uploading"], names
    name = bucket()
    refused("BucketAlreadyOwnedByYou", 409, S3.create_bucket, Bucket=name)
    assert S3.head_bucket(Bucket=name)["BucketRegion"]
    S3.get_bucket_location(Bucket=name)
    S3.put_object(Bucket=name, Key="a", Body=b"text")
    refused("BucketNotEmpty", 409, S3.delete_bucket, Bucket=name)
    S3.delete_object(Bucket=name, Key="a")
    S3.delete_bucket(Bucket=name)
    refused("NoSuchBucket", 404, S3.delete_bucket, Bucket=name)
    refused("NoSuchBucket", 404, S3.put_object, Bucket=name, Key="a", Body=b"")
    refused("NoSuchBucket", 404, S3.list_objects_v2, Bucket=name)
    refused("404", 404, S3.head_bucket, Bucket=name)
    refused("NotImplemented", 501, S3.get_bucket_acl, Bucket="uploading")


def what_is_put_comes_back_with_all_that_was_said_of_it():
    name = bucket()
    expires = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    said = {
        "CacheControl": "max-age=5", "ContentDisposition": 'attachment; filename="a"', "ContentEncoding": "gzip",
        "ContentLanguage": "de", "ContentType": "text/x-test; charset=utf-8",
    }
    put = S3.put_object(Bucket=name, Key="a", Body=b"some text", Metadata={"who": "me", "what": "it"}, Expires=expires, **said)
    md5 = hashlib.md5(b"some text").hexdigest()
    assert put["ETag"] == f'"{md5}"', put
    for got in [S3.get_object(Bucket=name, Key="a"), S3.head_object(Bucket=name, Key="a")]:
        assert {key: got[key] for key in said} == said, got
        assert got["Metadata"] == {"who": "me", "what": "it"}
        assert got["ETag"] == f'"{md5}"' and got["ContentLength"] == 9 and got["AcceptRanges"] == "bytes"
        assert got["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT", got
    assert text(name, "a") == b"some text"
    S3.put_object(Bucket=name, Key="empty", Body=b"")
    assert text(name, "empty") == b""
    assert S3.head_object(Bucket=name, Key="empty")["ContentType"] == "binary/octet-stream"
    over = S3.get_object(Bucket=name, Key="a", ResponseContentType="text/other", ResponseCacheControl="no-store")
    assert (over["ContentType"], over["CacheControl"]) == ("text/other", "no-store")
    refused("NoSuchKey", 404, S3.get_object, Bucket=name, Key="none")
    refused("404", 404, S3.head_object, Bucket=name, Key="none")
    refused("MetadataTooLarge", 400, S3.put_object, Bucket=name, Key="m", Body=b"", Metadata={"a": "x" * 2048})
    refused("NotImplemented", 501, S3.put_object, Bucket=name, Key="m", Body=b"", ServerSideEncryption="AES256")
    S3.delete_object(Bucket=name, Key="a")
    S3.delete_object(Bucket=name, Key="a")
    refused("NoSuchKey", 404, S3.get_object, Bucket=name, Key="a")


def odd_keys_are_only_data():
    name = bucket()
    for key in ODD_KEYS:
        S3.put_object(Bucket=name, Key=key, Body=key.encode())
    for key in ODD_KEYS:
        assert text(name, key) == key.encode(), key
    expected = sorted(ODD_KEYS, key=lambda key: key.encode())
    for list_, more in [(S3.list_objects_v2, {}), (S3.list_objects, {"Delimiter": "\x7f"})]:
        assert [object["Key"] for object in list_(Bucket=name, **more)["Contents"]] == expected
    pages = S3.get_paginator("list_objects_v2").paginate(Bucket=name, PaginationConfig={"PageSize": 3})
    assert [object["Key"] for page in pages for object in page["Contents"]] == expected
    pages = S3.get_paginator("list_objects").paginate(Bucket=name, PaginationConfig={"PageSize": 3})
    assert [object["Key"] for page in pages for object in page["Contents"]] == expected
    page = S3.list_objects_v2(Bucket=name, Delimiter="/")
    assert [prefix["Prefix"] for prefix in page["CommonPrefixes"]] == ["../", "/", "a/", "trailing/", "ünïcödé/"]
    pages = S3.get_paginator("list_objects_v2").paginate(Bucket=name, Delimiter="/", PaginationConfig={"PageSize": 2})
    one_by_one = [prefix["Prefix"] for found in pages for prefix in found.get("CommonPrefixes", [])]
    assert one_by_one == ["../", "/", "a/", "trailing/", "ünïcödé/"], one_by_one
    assert S3.list_objects_v2(Bucket=name, Prefix="a/", Delimiter="/")["CommonPrefixes"] == [{"Prefix": "a/./"}, {"Prefix": "a//"}]
    assert S3.list_objects_v2(Bucket=name, StartAfter="x")["KeyCount"] == len([key for key in expected if key.encode() > b"x"])
    assert S3.list_objects_v2(Bucket=name, MaxKeys=0)["KeyCount"] == 0
    refused("InvalidArgument", 400, S3.list_objects_v2, Bucket=name, ContinuationToken="not one of ours")
    refused("KeyTooLongError", 400, S3.put_object, Bucket=name, Key="x" * 1025, Body=b"")
    # XML has no place for some of them; boto3 asks for them as in a URL, and who does not gets their numbers, as from S3.
    S3.put_object(Bucket=name, Key="return\r", Body=b"<a>\x01\r</a>", ContentType="application/xml")
    listed = send(signed("GET", f"/{name}"))[2]
    assert b"<Key>return&#xD;</Key>" in listed and b"<Key>tab\tand&#x1;control</Key>" in listed, listed
    listed = send(signed("GET", f"/{name}?encoding-type=url"))[2]
    assert b"<Key>return%0D</Key>" in listed and b"<Key>tab%09and%01control</Key>" in listed, listed
    assert text(name, "return\r") == b"<a>\x01\r</a>", "an object is what it was"
    asked = b"<Delete><Object><Key>tab\tand\x01control</Key></Object><Object><Key>return&#xD;</Key></Object></Delete>"
    status, _, answer, _ = send(signed("POST", f"/{name}?delete", asked))
    assert status == 200 and b"<Key>tab\tand&#x1;control</Key>" in answer and b"<Key>return&#xD;</Key>" in answer, answer
    S3.put_object(Bucket=name, Key="tab\tand\x01control", Body=b"")
    deleted = S3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in ODD_KEYS if "\x01" not in key]})
    assert [version["VersionId"] for version in S3.list_object_versions(Bucket=name)["Versions"]] == ["null"]
    assert "Status" not in S3.get_bucket_versioning(Bucket=name)
    assert len(deleted["Deleted"]) == len(ODD_KEYS) - 1 and "Errors" not in deleted
    S3.delete_object(Bucket=name, Key="tab\tand\x01control")
    assert S3.list_objects_v2(Bucket=name)["KeyCount"] == 0


def ranges_and_conditions_hold():
    name = bucket()
    etag = S3.put_object(Bucket=name, Key="a", Body=bytes(range(100)))["ETag"]
    for asked, expected in [("bytes=0-9", range(10)), ("bytes=90-", range(90, 100)), ("bytes=-5", range(95, 100)), ("bytes=98-1000", range(98, 100))]:
        got = S3.get_object(Bucket=name, Key="a", Range=asked)
        assert got["Body"].read() == bytes(expected), asked
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["ContentRange"] == f"bytes {expected[0]}-{expected[-1]}/100", got
    S3.put_object(Bucket=name, Key="empty", Body=b"")
    for key, size, beyond in [("a", 100, "bytes=100-"), ("a", 100, "bytes=-0"), ("empty", 0, "bytes=0-"), ("empty", 0, "bytes=-1")]:
        answer = refused("InvalidRange", 416, S3.get_object, Bucket=name, Key=key, Range=beyond)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        assert (headers["content-range"], headers["content-type"]) == (f"bytes */{size}", "application/xml"), headers
    # What is no range, or more than one, is as good as none; boto3 signs it.
    reader = client(os.environ["READ_KEY"], os.environ["READ_SECRET"])
    for void in ["bytes=5-2", "bytes=0-1,5-6", "bytes=x", "items=0-5", "bytes=", "0-5"]:
        for call in [S3.get_object, reader.get_object, S3.head_object]:
            got = call(Bucket=name, Key="a", Range=void)
            assert got["ResponseMetadata"]["HTTPStatusCode"] == 200 and got["ContentLength"] == 100, void
            assert "ContentRange" not in got and (call == S3.head_object or got["Body"].read() == bytes(range(100))), void
        refused("NoSuchKey", 404, S3.get_object, Bucket=name, Key="none", Range=void)
        refused("SignatureDoesNotMatch", 403, client(secret="wrong").get_object, Bucket=name, Key="a", Range=void)
        changed = signed("GET", f"/{name}/a", headers={"Range": "bytes=0-1"})
        assert send(changed, change={"Range": void})[:2] == (403, "SignatureDoesNotMatch"), void
        assert fetch("GET", f"{URL}/{name}/a", headers={"Range": void})[:2] == (403, "AccessDenied"), void
        presigned = S3.generate_presigned_url("get_object", {"Bucket": name, "Key": "a"}, 60)
        assert fetch("GET", presigned, headers={"Range": void})[0] == 200, void
    # A range of the version that one has a piece of.
    modified = send(signed("GET", f"/{name}/a"))[3]["last-modified"]
    for version, status in [
        (etag, 206), (modified, 206), (f"W/{etag}", 200), ('"other"', 200), (etag.strip('"'), 200),
        ("Wed, 02 Jan 2030 03:04:05 GMT", 200), ("Wed, 02 Jan 2002 03:04:05 GMT", 200),
    ]:
        for method in ["GET", "HEAD"]:
            got = send(signed(method, f"/{name}/a", headers={"Range": "bytes=0-9", "If-Range": version}))
            assert got[0] == status and got[3]["content-length"] == ("10" if status == 206 else "100"), (version, got)
    large = os.urandom(3 << 20)
    S3.put_object(Bucket=name, Key="large", Body=large)
    assert text(name, "large") == large
    assert text(name, "large", Range="bytes=1000000-2500000") == large[1000000:2500001]
    before = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    for call in [S3.get_object, S3.head_object]:
        not_modified, failed = ("304", 304), ("PreconditionFailed" if call == S3.get_object else "412", 412)
        call(Bucket=name, Key="a", IfMatch=etag)
        call(Bucket=name, Key="a", IfNoneMatch='"other"')
        call(Bucket=name, Key="a", IfModifiedSince=before)
        call(Bucket=name, Key="a", IfUnmodifiedSince=later)
        refused(*not_modified, call, Bucket=name, Key="a", IfNoneMatch=etag)
        refused(*not_modified, call, Bucket=name, Key="a", IfModifiedSince=later)
        refused(*failed, call, Bucket=name, Key="a", IfMatch='"other"')
        refused(*failed, call, Bucket=name, Key="a", IfUnmodifiedSince=before)
    refused("PreconditionFailed", 412, S3.put_object, Bucket=name, Key="a", Body=b"x", IfNoneMatch="*")
    refused("PreconditionFailed", 412, S3.put_object, Bucket=name, Key="a", Body=b"x", IfMatch='"other"')
    refused("NoSuchKey", 404, S3.put_object, Bucket=name, Key="none", Body=b"x", IfMatch=etag)
    S3.put_object(Bucket=name, Key="new", Body=b"x", IfNoneMatch="*")
    S3.put_object(Bucket=name, Key="a", Body=b"y", IfMatch=etag)
    assert text(name, "a") == b"y"
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        def create(number):
            try:
                client().put_object(Bucket=name, Key="once", Body=b"%d" % number, IfNoneMatch="*")
                return 1
            except ClientError as error:
                assert error.response["Error"]["Code"] == "PreconditionFailed", error
                return 0
        assert sum(pool.map(create, range(16))) == 1


def copies_share_bytes_and_may_change_what_is_said():
    name = bucket()
    S3.put_object(Bucket=name, Key="a b+ü", Body=b"text", ContentType="text/one", Metadata={"who": "me"})
    copied = S3.copy_object(Bucket="uploading", Key="b", CopySource={"Bucket": name, "Key": "a b+ü"})
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(b"text").hexdigest()}"'
    got = S3.get_object(Bucket="uploading", Key="b")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"text", "text/one", {"who": "me"})
    refused("InvalidRequest", 400, S3.copy_object, Bucket="uploading", Key="b", CopySource="uploading/b")
    S3.copy_object(
        Bucket="uploading", Key="b", CopySource="uploading/b", MetadataDirective="REPLACE", ContentType="text/two", Metadata={"x": "y"})
    got = S3.get_object(Bucket="uploading", Key="b")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"text", "text/two", {"x": "y"})
    refused("NoSuchKey", 404, S3.copy_object, Bucket=name, Key="c", CopySource="uploading/none")
    refused("NoSuchBucket", 404, S3.copy_object, Bucket="nowhere", Key="c", CopySource="uploading/b")
    refused("PreconditionFailed", 412, S3.copy_object, Bucket=name, Key="c", CopySource="uploading/b", CopySourceIfMatch='"x"')
    refused("PreconditionFailed", 412, S3.copy_object, Bucket=name, Key="c", CopySource="uploading/b", CopySourceIfNoneMatch="*")


def a_multipart_upload_of_64_mb_is_whole():
    name = bucket()
    content = os.urandom(1 << 20) * 64
    import io
    transfer = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20, max_concurrency=4)
    S3.upload_fileobj(io.BytesIO(content), name, "large", Config=transfer, ExtraArgs={"Metadata": {"who": "me"}, "ContentType": "text/x"})
    head = S3.head_object(Bucket=name, Key="large")
    parts = [hashlib.md5(content[at:at + (8 << 20)]).digest() for at in range(0, len(content), 8 << 20)]
    assert head["ETag"] == f'"{hashlib.md5(b"".join(parts)).hexdigest()}-8"', head
    assert (head["ContentLength"], head["Metadata"], head["ContentType"]) == (64 << 20, {"who": "me"}, "text/x")
    out = io.BytesIO()
    S3.download_fileobj(name, "large", out, Config=transfer)
    assert out.getvalue() == content
    part = S3.get_object(Bucket=name, Key="large", PartNumber=2)
    assert part["PartsCount"] == 8 and part["Body"].read() == content[8 << 20:16 << 20]
    # Of parts and of the whole. For the other algorithms boto3 needs more than itself; the SDK of Rust tries those.
    for algorithm, kind in [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE")]:
        begun = S3.create_multipart_upload(Bucket=name, Key="sums", ChecksumAlgorithm=algorithm, ChecksumType=kind)
        field = "Checksum" + algorithm
        chosen = []
        for number, body in [(1, content[:5 << 20]), (2, b"the end")]:
            put = S3.upload_part(Bucket=name, Key="sums", UploadId=begun["UploadId"], PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
            chosen.append({"PartNumber": number, "ETag": put["ETag"], field: put[field]})
        listed = S3.list_parts(Bucket=name, Key="sums", UploadId=begun["UploadId"])
        assert [part[field] for part in listed["Parts"]] == [part[field] for part in chosen]
        complete = {"Bucket": name, "Key": "sums", "UploadId": begun["UploadId"], "MultipartUpload": {"Parts": chosen}}
        if kind == "FULL_OBJECT":
            # Of what it makes, not of the request.
            whole = zlib.crc32(content[:5 << 20] + b"the end").to_bytes(4, "big")
            refused("BadDigest", 400, S3.complete_multipart_upload, ChecksumCRC32="AAAAAA==", ChecksumType=kind, **complete)
            complete |= {"ChecksumCRC32": base64.b64encode(whole).decode(), "ChecksumType": kind}
        done = S3.complete_multipart_upload(**complete)
        assert done["ChecksumType"] == kind and done[field].endswith("-2") == (kind == "COMPOSITE"), done
        # boto3 checks what it gets against it.
        got = S3.get_object(Bucket=name, Key="sums", ChecksumMode="ENABLED")
        assert got[field] == done[field] and got["Body"].read() == content[:5 << 20] + b"the end"


def uploads_in_parts_are_refused_copied_listed_and_aborted():
    name = bucket()
    begun = S3.create_multipart_upload(Bucket=name, Key="a")["UploadId"]
    at = {"Bucket": name, "Key": "a", "UploadId": begun}
    one = S3.upload_part(**at, PartNumber=1, Body=b"small")["ETag"]
    two = S3.upload_part(**at, PartNumber=2, Body=b"end")["ETag"]
    def complete(*parts):
        return {**at, "MultipartUpload": {"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in parts]}}
    refused("EntityTooSmall", 400, S3.complete_multipart_upload, **complete((1, one), (2, two)))
    refused("InvalidPartOrder", 400, S3.complete_multipart_upload, **complete((2, two), (1, one)))
    refused("InvalidPart", 400, S3.complete_multipart_upload, **complete((1, two)))
    refused("InvalidPart", 400, S3.complete_multipart_upload, **complete((3, one)))
    refused("InvalidArgument", 400, S3.upload_part, **at, PartNumber=10001, Body=b"")
    refused("NoSuchUpload", 404, S3.upload_part, Bucket=name, Key="a", UploadId="none", PartNumber=1, Body=b"")
    refused("NoSuchUpload", 404, S3.upload_part, Bucket=name, Key="other", UploadId=begun, PartNumber=1, Body=b"")
    refused("NoSuchKey", 404, S3.get_object, Bucket=name, Key="a")
    S3.put_object(Bucket=name, Key="source", Body=bytes(range(256)) * 32 * 1024)
    for number, range_ in [(1, "bytes=0-5242879"), (2, "bytes=5242880-8388607")]:
        S3.upload_part_copy(**at, PartNumber=number, CopySource=f"{name}/source", CopySourceRange=range_)
    refused("InvalidRange", 416, S3.upload_part_copy, **at, PartNumber=3, CopySource=f"{name}/source", CopySourceRange="bytes=0-8388608")
    uploads = S3.list_multipart_uploads(Bucket=name)["Uploads"]
    assert [(upload["Key"], upload["UploadId"]) for upload in uploads] == [("a", begun)]
    others = [(key, S3.create_multipart_upload(Bucket=name, Key=key)["UploadId"]) for key in ["b/1 2", "b/3", "c\r"]]
    for size in [1, 2, 1000]:
        pages = list(S3.get_paginator("list_multipart_uploads").paginate(Bucket=name, Delimiter="/", PaginationConfig={"PageSize": size}))
        assert [upload["Key"] for page in pages for upload in page.get("Uploads", [])] == ["a", "c\r"], pages
        assert [prefix["Prefix"] for page in pages for prefix in page.get("CommonPrefixes", [])] == ["b/"], pages
    within = S3.list_multipart_uploads(Bucket=name, Delimiter="/", Prefix="b/", EncodingType="url")
    assert [upload["Key"] for upload in within["Uploads"]] == ["b/1%202", "b/3"] and within["Delimiter"] == "/", within
    for key, upload in others:
        S3.abort_multipart_upload(Bucket=name, Key=key, UploadId=upload)
    parts = S3.list_parts(**at, MaxParts=1)
    assert parts["IsTruncated"] and parts["NextPartNumberMarker"] == 1
    listed = [(part["PartNumber"], part["ETag"]) for page in S3.get_paginator("list_parts").paginate(**at) for part in page["Parts"]]
    done = S3.complete_multipart_upload(**complete(*listed))
    # The answer may be lost on its way: who asks again is told the same.
    assert S3.complete_multipart_upload(**complete(*listed))["ETag"] == done["ETag"]
    assert text(name, "a") == bytes(range(256)) * 32 * 1024
    refused("NoSuchUpload", 404, S3.abort_multipart_upload, **at)
    begun = S3.create_multipart_upload(Bucket=name, Key="b")["UploadId"]
    S3.upload_part(Bucket=name, Key="b", UploadId=begun, PartNumber=1, Body=b"x")
    S3.abort_multipart_upload(Bucket=name, Key="b", UploadId=begun)
    refused("NoSuchUpload", 404, S3.list_parts, Bucket=name, Key="b", UploadId=begun)
    assert "Uploads" not in S3.list_multipart_uploads(Bucket=name)


def checksums_are_checked_and_told():
    name = bucket()
    for algorithm in ["CRC32", "SHA1", "SHA256"]:
        field = "Checksum" + algorithm
        put = S3.put_object(Bucket=name, Key=algorithm, Body=b"some text", ChecksumAlgorithm=algorithm)
        head = S3.head_object(Bucket=name, Key=algorithm, ChecksumMode="ENABLED")
        assert head[field] == put[field] and head["ChecksumType"] == "FULL_OBJECT"
        told = S3.get_object_attributes(Bucket=name, Key=algorithm, ObjectAttributes=["Checksum", "ObjectSize", "ETag"])
        assert told["Checksum"][field] == put[field] and told["ObjectSize"] == 9
        wrong = base64.b64encode(b"\0" * len(base64.b64decode(put[field]))).decode()
        refused("BadDigest", 400, S3.put_object, Bucket=name, Key="wrong", Body=b"some text", **{field: wrong})
    refused("BadDigest", 400, S3.put_object, Bucket=name, Key="wrong", Body=b"x", ContentMD5=base64.b64encode(b"\0" * 16).decode())
    refused("InvalidDigest", 400, S3.put_object, Bucket=name, Key="wrong", Body=b"x", ContentMD5="short")
    refused("NoSuchKey", 404, S3.get_object, Bucket=name, Key="wrong")


def fetch(method, url, body=None, headers={}):
    """A request as it is, without a client that knows better."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body, headers)
    answer = connection.getresponse()
    content = answer.read()
    code = content.split(b"<Code>")[1].split(b"</Code>")[0].decode() if b"<Code>" in content else None
    return answer.status, code, content, dict(answer.getheaders())


def presigned_urls_work_until_they_expire_or_are_changed():
    name = bucket()
    put = S3.generate_presigned_url("put_object", {"Bucket": name, "Key": "a b", "ContentType": "text/x"}, 60)
    assert fetch("PUT", put, b"text", {"Content-Type": "text/x"})[0] == 200
    get = S3.generate_presigned_url("get_object", {"Bucket": name, "Key": "a b"}, 60)
    status, _, content, headers = fetch("GET", get)
    assert (status, content, headers["content-type"]) == (200, b"text", "text/x"), headers
    assert headers["content-security-policy"] == "sandbox" and headers["x-content-type-options"] == "nosniff"
    for wanted, status in [("image", 200), ("document", 200), ("script", 403), ("worker", 403), ("style", 403)]:
        assert fetch("GET", get, headers={"Sec-Fetch-Dest": wanted})[0] == status, wanted
    assert fetch("PUT", get, b"other")[:2] == (403, "SignatureDoesNotMatch")
    assert fetch("GET", get.replace("a%20b", "other"))[:2] == (403, "SignatureDoesNotMatch")
    assert fetch("GET", get + "&versionId=x")[:2] == (403, "SignatureDoesNotMatch")
    assert fetch("GET", get.replace("X-Amz-Expires=60", "X-Amz-Expires=600"))[:2] == (403, "SignatureDoesNotMatch")
    assert fetch("GET", get, headers={"x-amz-meta-a": "b"})[:2] == (403, "AccessDenied")
    long = S3.generate_presigned_url("get_object", {"Bucket": name, "Key": "a b"}, 604801)
    assert fetch("GET", long)[:2] == (400, "AuthorizationQueryParametersError")
    assert fetch("PUT", put, b"other", {"Content-Type": "text/y"})[:2] == (403, "SignatureDoesNotMatch")
    # One that was made an hour ago, for half of it.
    import botocore.auth
    real = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *a, **k: real(*a, **k) - datetime.timedelta(hours=1)
    old = S3.generate_presigned_url("get_object", {"Bucket": name, "Key": "a b"}, 1800)
    botocore.auth.get_current_datetime = real
    assert fetch("GET", old)[:2] == (403, "AccessDenied")
    # Version 2 of the signature is not what it was.
    v2 = client(signature_version="s3").generate_presigned_url("get_object", {"Bucket": name, "Key": "a b"}, 60)
    assert fetch("GET", v2)[:2] == (400, "InvalidRequest")


class Signer(S3SigV4Auth):
    """Leaves the digest of the body alone where one is given."""

    def _modify_request_before_signing(self, request):
        given = request.headers.get("x-amz-content-sha256")
        super()._modify_request_before_signing(request)
        if given:
            request.headers.replace_header("X-Amz-Content-SHA256", given)

    def payload(self, request):
        return request.headers.get("x-amz-content-sha256") or super().payload(request)


def signed(method, path, body=b"", headers={}, service="s3"):
    request = AWSRequest(method, URL + path, data=body, headers=headers)
    Signer(Credentials(KEY, SECRET), service, "us-east-1").add_auth(request)
    return request


def send(request, body=None, change={}):
    headers = {name: value for name, value in request.headers.items()}
    headers.update(change)
    return fetch(request.method, request.url, request.body if body is None else body, {k: v for k, v in headers.items() if v is not None})


def who_is_not_who_they_say_gets_nothing():
    S3.put_object(Bucket="uploading", Key="secret", Body=b"text")
    good = signed("GET", "/uploading/secret")
    assert send(good)[0] == 200
    assert fetch("GET", URL + "/uploading/secret")[:2] == (403, "AccessDenied")
    refused("InvalidAccessKeyId", 403, client(key="NOBODY").get_object, Bucket="uploading", Key="secret")
    refused("SignatureDoesNotMatch", 403, client(secret="wrong").get_object, Bucket="uploading", Key="secret")
    assert send(signed("GET", "/uploading/secret"), change={"x-amz-meta-a": "b"})[:2] == (403, "AccessDenied")
    assert send(signed("PUT", "/uploading/new", b"text"), change={"x-amz-copy-source": "/uploading/secret"})[:2] == (403, "AccessDenied")
    tampered = send(signed("PUT", "/uploading/new", b"text"), body=b"tent")
    assert tampered[:2] == (400, "XAmzContentSHA256Mismatch"), tampered
    date = {"X-Amz-Date": "20260101T000000Z"}
    assert send(good, change=date)[0] == 403
    import botocore.auth
    real = botocore.auth.get_current_datetime
    for minutes, expected in [(-16, (403, "RequestTimeTooSkewed")), (16, (403, "RequestTimeTooSkewed")), (-13, (200, None))]:
        botocore.auth.get_current_datetime = lambda *a, **k: real(*a, **k) + datetime.timedelta(minutes=minutes)
        assert send(signed("GET", "/uploading/secret"))[:2] == expected, minutes
    botocore.auth.get_current_datetime = real
    assert send(signed("GET", "/uploading/secret", service="sts"))[0] == 400
    assert send(good, change={"Authorization": good.headers["Authorization"].replace("HMAC-SHA256", "HMAC-SHA512")})[0] == 400
    assert send(good, change={"Authorization": "AWS KEY:signature"})[:2] == (400, "InvalidRequest")
    assert fetch("POST", URL + "/uploading", b"x", {**good.headers, "Content-Type": "multipart/form-data; boundary=x"})[:2] == (501, "NotImplemented")
    refused("NoSuchKey", 404, S3.get_object, Bucket="uploading", Key="new")
    # As many bytes as were said, no more and no less.
    large = signed("PUT", "/uploading/new", b"", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD", "Content-Length": str(6 << 30)})
    assert send(large, body=b"")[:2] == (413, "EntityTooLarge")


def chunk(content, signature):
    return b"%x;chunk-signature=%s\r\n%s\r\n" % (len(content), signature.encode(), content)


def chunked_bodies_are_checked_piece_by_piece():
    """As the SDKs of Java and others send them: each chunk signed with the signature of the one before."""
    import hmac
    def hmac256(key, message):
        return hmac.new(key, message.encode(), hashlib.sha256).digest()
    def put(chunks, trailer=None, wrong_at=None, declared=None, end=True):
        content = b"".join(chunks)
        kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
        headers = {"x-amz-content-sha256": kind, "x-amz-decoded-content-length": str(declared or len(content)), "content-encoding": "aws-chunked"}
        if trailer:
            headers["x-amz-trailer"] = trailer[0]
        request = signed("PUT", "/uploading/chunked", b"", headers)
        authorization = request.headers["Authorization"]
        previous = authorization.split("Signature=")[1]
        date = request.headers["X-Amz-Date"]
        scope = f"{date[:8]}/us-east-1/s3/aws4_request"
        key = hmac256(hmac256(hmac256(hmac256(("AWS4" + SECRET).encode(), date[:8]), "us-east-1"), "s3"), "aws4_request")
        empty = hashlib.sha256(b"").hexdigest()
        body = b""
        for number, piece in enumerate([*chunks, b""] if end else chunks):
            text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", date, scope, previous, empty, hashlib.sha256(piece).hexdigest()])
            previous = hmac256(key, text).hex()
            told = "0" * 64 if number == wrong_at else previous
            body += chunk(piece, told) if piece else f"0;chunk-signature={told}\r\n".encode()
        if trailer:
            line = f"{trailer[0]}:{trailer[1]}"
            text = "\n".join(["AWS4-HMAC-SHA256-TRAILER", date, scope, previous, hashlib.sha256((line + "\n").encode()).hexdigest()])
            body += f"{line}\r\nx-amz-trailer-signature:{hmac256(key, text).hex()}\r\n".encode()
        body += b"\r\n"
        return send(request, body=body)[:2]
    chunks = [b"a" * 65536, b"b" * 65536, b"the end"]
    assert put(chunks) == (200, None)
    assert text("uploading", "chunked") == b"".join(chunks)
    assert "ContentEncoding" not in S3.head_object(Bucket="uploading", Key="chunked")
    crc = base64.b64encode(zlib.crc32(b"".join(chunks)).to_bytes(4, "big")).decode()
    assert put(chunks, ("x-amz-checksum-crc32", crc)) == (200, None)
    assert S3.head_object(Bucket="uploading", Key="chunked", ChecksumMode="ENABLED")["ChecksumCRC32"] == crc
    before = S3.head_object(Bucket="uploading", Key="chunked")["LastModified"]
    assert put(chunks, ("x-amz-checksum-crc32", "AAAAAA==")) == (400, "BadDigest")
    for wrong_at in range(4):
        assert put(chunks, wrong_at=wrong_at) == (403, "SignatureDoesNotMatch"), wrong_at
    assert put(chunks, declared=65536) == (400, "IncompleteBody")
    assert put(chunks, declared=200000) == (400, "IncompleteBody")
    assert put(chunks, end=False, declared=131072 + 8) == (400, "IncompleteBody")
    # Refused while it is still being sent, so the answer may not be heard.
    try:
        assert put([b"c" * (5 << 20)]) == (400, "InvalidRequest")
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert text("uploading", "chunked") == b"".join(chunks)


def a_body_that_comes_too_slowly_is_given_up():
    def begin(size, content, headers={}):
        """Sends the head of a put, and of its body only this."""
        headers = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD", **headers}
        request = signed("PUT", "/uploading/slow", b"", headers)
        connection = http.client.HTTPConnection(HOST, timeout=60)
        connection.putrequest("PUT", "/uploading/slow", skip_host=True)
        for name, value in {"Host": HOST, **request.headers, "Content-Length": str(size)}.items():
            connection.putheader(name, value)
        connection.endheaders(content)
        answer = connection.getresponse()
        return answer.status, answer.read().split(b"<Code>")[1].split(b"</Code>")[0].decode()
    chunks = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-trailer": "x-amz-checksum-crc32"}
    for size in [60000, 60 << 20]:
        # More than a second's worth, and then no more.
        assert begin(size, b"a" * 1001) == (400, "RequestTimeout"), size
        decoded = {**chunks, "x-amz-decoded-content-length": str(size - 100)}
        assert begin(size, b"10000\r\n" + b"a" * 1001, decoded) == (400, "RequestTimeout"), size
    refused("NoSuchKey", 404, S3.get_object, Bucket="uploading", Key="slow")


def a_key_does_what_its_scope_allows():
    reader = client(os.environ["READ_KEY"], os.environ["READ_SECRET"])
    writer = client(os.environ["WRITE_KEY"], os.environ["WRITE_SECRET"])
    writer.put_object(Bucket="uploading", Key="a", Body=b"text")
    assert reader.get_object(Bucket="uploading", Key="a")["Body"].read() == b"text"
    assert reader.list_objects_v2(Bucket="uploading")["KeyCount"] == 1
    for call, more in [("put_object", {"Body": b"x"}), ("delete_object", {}), ("create_multipart_upload", {}), ("copy_object", {"CopySource": "uploading/a"})]:
        refused("AccessDenied", 403, getattr(reader, call), Bucket="uploading", Key="a", **more)
    refused("AccessDenied", 403, writer.create_bucket, Bucket="other")
    refused("AccessDenied", 403, writer.delete_bucket, Bucket="uploading")


def bodies_in_xml_are_checked():
    name = bucket()
    S3.put_object(Bucket=name, Key="a", Body=b"text")
    good = b"<Delete><Object><Key>a</Key></Object></Delete>"
    path = f"/{name}?delete"
    for wrong in [
        b"no XML", b"<Delete>", b"<Delete></Other>", good[:-3], good.replace(b"a<", b"\xff<"),
        good.replace(b"a<", b"&none;<"), good.replace(b"a<", b"&#xZZ;<"), b"<!DOCTYPE a [<!ENTITY b 'a'>]>" + good.replace(b"a<", b"&b;<"),
    ]:
        assert send(signed("POST", path, wrong))[:2] == (400, "MalformedXML"), wrong
    tampered = good.replace(b"a<", b"b<")
    for tampered_with in [tampered, b""]:
        assert send(signed("POST", path, good), body=tampered_with)[:2] == (400, "XAmzContentSHA256Mismatch"), tampered_with
    unsigned = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    md5 = {"Content-MD5": base64.b64encode(hashlib.md5(good).digest()).decode()}
    crc = {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(good).to_bytes(4, "big")).decode()}
    for digest in [md5, crc]:
        assert send(signed("POST", path, tampered, {**unsigned, **digest}))[:2] == (400, "BadDigest"), digest
    assert send(signed("POST", path, good, {"Content-MD5": "short"}))[:2] == (400, "InvalidDigest")
    begun = S3.create_multipart_upload(Bucket=name, Key="b")["UploadId"]
    assert send(signed("POST", f"/{name}/b?uploadId={begun}", b"<Complete"))[:2] == (400, "MalformedXML")
    assert send(signed("POST", f"/{name}/b?uploadId={begun}", b"x"), body=b"y")[:2] == (400, "XAmzContentSHA256Mismatch")
    chunked = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": "3"}
    assert send(signed("POST", path, b"3\r\nabc\r\n0\r\n\r\n", chunked))[:2] == (400, "InvalidRequest")
    # More than was said to come, and less.
    def endless():
        return (b" " * (1 << 20) for _ in range(3))
    assert fetch("POST", URL + path, endless(), dict(signed("POST", path, b"", unsigned).headers.items()))[:2] == (411, "MissingContentLength")
    presigned = AWSRequest("POST", URL + path)
    S3SigV4QueryAuth(Credentials(KEY, SECRET), "s3", "us-east-1", expires=60).add_auth(presigned)
    assert fetch("POST", presigned.url, endless())[:2] == (400, "MaxMessageLengthExceeded")
    host, port = HOST.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as half:
        request = signed("POST", path, good)
        head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": HOST, **request.headers}.items())
        half.sendall(f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(good)}\r\n\r\n<Delete>".encode())
        half.shutdown(socket.SHUT_WR)
        answer = half.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 400") and b"IncompleteBody" in answer, answer
    assert text(name, "a") == b"text"
    assert send(signed("POST", path, good, {**md5, **crc}))[0] == 200
    refused("NoSuchKey", 404, S3.get_object, Bucket=name, Key="a")


def limits_are_told_as_s3_tells_them():
    name = bucket()
    refused("MalformedXML", 400, S3.delete_objects, Bucket=name, Delete={"Objects": [{"Key": str(number)} for number in range(1001)]})
    request = signed("POST", f"/{name}?delete", b"<Delete>" + b" " * (3 << 20) + b"</Delete>", {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="})
    assert send(request)[:2] == (400, "MaxMessageLengthExceeded")
    deep = b"<Delete>" + b"<Object>" * 100000
    assert send(signed("POST", f"/{name}?delete", deep))[0] == 400
    keys = ["%04d" % number for number in range(1000)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: S3.put_object(Bucket=name, Key=key, Body=key.encode()), keys))
    deleted = S3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})
    assert "Deleted" not in deleted and "Errors" not in deleted
    assert S3.list_objects_v2(Bucket=name)["KeyCount"] == 0


if __name__ == "__main__":
    globals()[sys.argv[1]]()
