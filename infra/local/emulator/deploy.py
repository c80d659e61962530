"""Deploys the template into the emulator, unless it is there already, and prints the stack's outputs as one JSON line.

Reads one JSON object from stdin: `template` and `binaries` (paths), `log` (where functions write), `parameters`.
"""

import hashlib
import io
import json
import sys
import time
import zipfile

import boto3
from botocore.exceptions import ClientError
from samtranslator.yaml_helper import yaml_parse

STACK, CODE_BUCKET, FINGERPRINT = "intake", "intake-code", "intake-fingerprint"

cloudformation, s3, functions = (boto3.client(name) for name in ("cloudformation", "s3", "lambda"))


def package(binary, log):
    """A deployment package that starts the binary where cargo built it, so that a rebuild needs no deployment."""
    entry = zipfile.ZipInfo("bootstrap")  # its fixed date keeps the bytes, and so the key, the same
    entry.external_attr = 0o100755 << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(entry, f'#!/bin/sh\nexec "{binary}" >>"{log}" 2>&1\n')
    return packed.getvalue()


def prepare(template, binaries, log):
    """Points every function at its package; returns the packages by key."""
    packages = {}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            name = resource.pop("Metadata")["BuildProperties"]["Binary"]
            content = package(f"{binaries}/{name}", log)
            key = f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.zip"
            packages[key] = content
            resource["Properties"]["CodeUri"] = {"Bucket": CODE_BUCKET, "Key": key}
    template["Globals"]["Function"].pop("CodeUri", None)
    return packages


def describe():
    try:
        return cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    except ClientError:
        return None


def fingerprint_of(stack):
    return next((tag["Value"] for tag in stack.get("Tags", []) if tag["Key"] == FINGERPRINT), None)


def whole(stack):
    """Whether what the stack lists is there: the emulator restores each service by itself."""
    try:
        resources = cloudformation.describe_stack_resources(StackName=stack["StackName"])["StackResources"]
        for resource in resources:
            kind, name = resource["ResourceType"], resource["PhysicalResourceId"]
            if kind == "AWS::Lambda::Function":
                functions.get_function(FunctionName=name)
            elif kind == "AWS::Lambda::EventSourceMapping":
                functions.get_event_source_mapping(UUID=name)
            elif kind == "AWS::S3::Bucket":
                if not s3.get_bucket_notification_configuration(Bucket=name).get("QueueConfigurations"):
                    return False
            elif kind == "AWS::SQS::Queue":
                boto3.client("sqs").get_queue_attributes(QueueUrl=name, AttributeNames=["QueueArn"])
            elif kind == "AWS::DynamoDB::Table":
                boto3.client("dynamodb").describe_table(TableName=name)
            elif kind == "AWS::ApiGateway::RestApi":
                boto3.client("apigateway").get_stage(restApiId=name, stageName="live")
    except ClientError as error:
        print(f"{kind} {name}: {error}", file=sys.stderr)
        return False
    return True


def settled():
    """The stack once nothing about it is in progress; None once it is gone."""
    for _ in range(600):
        stack = describe()
        if stack is None or stack["StackStatus"] == "DELETE_COMPLETE":
            return None
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            return stack
        time.sleep(0.2)
    sys.exit(f"stack {STACK} does not settle")


def failure():
    events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    return "; ".join(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed)


def deploy(request):
    with open(request["template"], encoding="utf-8") as file:
        template = yaml_parse(file.read())
    packages = prepare(template, request["binaries"], request["log"])
    body = json.dumps(template)
    fingerprint = hashlib.sha256((body + json.dumps(request["parameters"], sort_keys=True)).encode()).hexdigest()

    stack = settled()
    if stack and not (stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE") and whole(stack)):
        cloudformation.delete_stack(StackName=STACK)
        stack = settled()
    if stack and fingerprint_of(stack) == fingerprint:
        return stack, False

    s3.create_bucket(Bucket=CODE_BUCKET)
    for key, content in packages.items():
        s3.put_object(Bucket=CODE_BUCKET, Key=key, Body=content)
    action = cloudformation.update_stack if stack else cloudformation.create_stack
    action(
        StackName=STACK,
        TemplateBody=body,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in request["parameters"].items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Tags=[{"Key": FINGERPRINT, "Value": fingerprint}],
    )
    stack = settled()
    if stack is None or stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        sys.exit(f"stack {STACK} is {stack['StackStatus'] if stack else 'gone'}: {failure() if stack else ''}")
    return stack, True


stack, changed = deploy(json.load(sys.stdin))
outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
print(json.dumps({"changed": changed, "outputs": outputs}))
