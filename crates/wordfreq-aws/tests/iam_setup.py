"""Makes IAM users on an emulator of AWS: standard input has a JSON object of their names and policies, standard output
gets one of their names and keys. The tests have no client of IAM in Rust."""

import json
import sys

import boto3

iam = boto3.client(
    "iam",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
)
keys = {}
for name, policy in json.load(sys.stdin).items():
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all-it-may", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys[name] = [key["AccessKeyId"], key["SecretAccessKey"]]
json.dump(keys, sys.stdout)
