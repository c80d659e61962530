"""Deploys the template into the emulator, unless it is there already, and prints one JSON line: the stack's outputs, and
the REST API with the functions that serve it.

Reads one JSON object from stdin: `template`, `host` (the binary of all functions) and `log` (where functions write), which
are paths, and `parameters`.
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

STACK, CODE_BUCKET, FINGERPRINT, STAGE = "intake", "intake-code", "intake-fingerprint", "live"
TEMPLATE = "template.json"

cloudformation, s3, functions, gateway = (
    boto3.client(name) for name in ("cloudformation", "s3", "lambda", "apigateway")
)


def package(host, name, log):
    """A deployment package that starts a function from the binary where cargo built it: a rebuild needs no deployment."""
    entry = zipfile.ZipInfo("bootstrap")  # its fixed date keeps the bytes, and so the key, the same
    entry.external_attr = 0o100755 << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(entry, f'#!/bin/sh\nexec "{host}" {name} >>"{log}" 2>&1\n')
    return packed.getvalue()


def prepare(template, host, log):
    """Points every function at its package; returns the packages by key."""
    packages = {}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            name = resource.pop("Metadata")["Binary"]
            content = package(host, name, log)
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
                gateway.get_stage(restApiId=name, stageName=STAGE)
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


def deploy(template, request):
    packages = prepare(template, request["host"], request["log"])
    body = json.dumps(template)
    fingerprint = hashlib.sha256((body + json.dumps(request["parameters"], sort_keys=True)).encode()).hexdigest()

    stack = settled()
    if stack and not (stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE") and whole(stack)):
        cloudformation.delete_stack(StackName=STACK)
        stack = settled()
    if stack and fingerprint_of(stack) == fingerprint:
        return stack, False

    s3.create_bucket(Bucket=CODE_BUCKET)
    for key, content in (packages | {TEMPLATE: body}).items():
        s3.put_object(Bucket=CODE_BUCKET, Key=key, Body=content)
    action = cloudformation.update_stack if stack else cloudformation.create_stack
    action(
        StackName=STACK,
        # as a body, a template may have 51,200 bytes
        TemplateURL=f"https://s3.amazonaws.com/{CODE_BUCKET}/{TEMPLATE}",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in request["parameters"].items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Tags=[{"Key": FINGERPRINT, "Value": fingerprint}],
    )
    stack = settled()
    if stack is None or stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        sys.exit(f"stack {STACK} is {stack['StackStatus'] if stack else 'gone'}: {failure() if stack else ''}")
    return stack, True


def describe_function(arn, host, crate):
    deployed = functions.get_function_configuration(FunctionName=arn)
    name = deployed["FunctionName"]
    return {
        "name": name,
        "host": host,
        "crate": crate,
        "arn": deployed["FunctionArn"],
        "memory_mb": deployed["MemorySize"],
        "timeout_s": deployed["Timeout"],
        "log_group": deployed.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}"),
        "environment": deployed.get("Environment", {}).get("Variables", {}),
    }


def describe_api(template, host, crates, outputs):
    """The REST API: its routes as they are deployed, which is after the transform, and what the emulator drops of them."""
    resources = cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
    logical = {resource["PhysicalResourceId"]: resource["LogicalResourceId"] for resource in resources}
    properties = next(r for r in template["Resources"].values() if r["Type"] == "AWS::Serverless::Api")["Properties"]
    routes, serving = [], {}
    pages = gateway.get_paginator("get_resources").paginate(restApiId=outputs["ApiId"], embed=["methods"])
    for resource in (resource for page in pages for resource in page["items"]):
        for method in resource.get("resourceMethods", {}):
            integration = gateway.get_integration(
                restApiId=outputs["ApiId"], resourceId=resource["id"], httpMethod=method
            )
            arn, action = integration["uri"].split("/functions/")[1].rsplit("/", 1)
            name = arn.split(":function:")[1]
            if name not in serving:
                serving[name] = describe_function(arn, host, crates[logical[name]])
            routes.append({
                "method": method,
                "path": resource["path"],
                "function": name,
                "streams": action == "response-streaming-invocations",
                "timeout_ms": integration.get("timeoutInMillis", 29000),
            })
    return {
        "id": outputs["ApiId"],
        "stage": STAGE,
        "binary_media_types": [kind.replace("~1", "/") for kind in properties.get("BinaryMediaTypes", [])],
        "gateway_responses": properties.get("GatewayResponses", {}),
        "routes": routes,
        "functions": list(serving.values()),
    }


request = json.load(sys.stdin)
with open(request["template"], encoding="utf-8") as file:
    template = yaml_parse(file.read())
crates = {
    name: resource["Metadata"]["Binary"]
    for name, resource in template["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
}
stack, changed = deploy(template, request)
outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
api = describe_api(template, request["host"], crates, outputs)
print(json.dumps({"changed": changed, "outputs": outputs, "api": api}))
