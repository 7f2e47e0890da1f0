"""Makes a bucket tell queues of its events in one of three ways, as no SDK of this repository's Rust can:

    route.py ENDPOINT direct|sns|event-bridge BUCKET QUEUE...
"""

import json
import sys

import boto3

endpoint, way, bucket, *queues = sys.argv[1:]
REGION = "us-east-1"
EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]


def client(service):
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")


arns = [f"arn:aws:sqs:{REGION}:123456789012:{queue}" for queue in queues]
if way == "direct":
    configuration = {"QueueConfigurations": [{"QueueArn": arn, "Events": EVENTS} for arn in arns]}
elif way == "sns":
    topic = client("sns").create_topic(Name=bucket)["TopicArn"]
    for arn in arns:
        client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    configuration = {"TopicConfigurations": [{"TopicArn": topic, "Events": EVENTS}]}
elif way == "event-bridge":
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
    client("events").put_rule(Name=bucket, EventPattern=json.dumps(pattern))
    targets = [{"Id": str(number), "Arn": arn} for number, arn in enumerate(arns)]
    failed = client("events").put_targets(Rule=bucket, Targets=targets)["FailedEntryCount"]
    if failed:
        sys.exit(f"{failed} targets were refused")
    configuration = {"EventBridgeConfiguration": {}}
else:
    sys.exit(f"{way} is no way")
client("s3").put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
