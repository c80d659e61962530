"""What schemathesis does not know by itself."""

import itertools
import json
import re
import uuid

import jsonschema_rs
import schemathesis

KEY = re.compile(r"[!-~]([ -~]*[!-~])?")
TEXTS = {"application/x-ndjson", "text/csv"}
requests = itertools.count()


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    """Lines as they are; anything that is no text as one line."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def validator(document, schema):
    return jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})


@schemathesis.hook
def after_load_schema(context, schema):
    """Holds the examples of the document against its schemas."""
    document = schema.raw_schema
    rest = [document]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            if "schema" in value:
                named = (example.get("value") for example in value.get("examples", {}).values())
                examples = [example for example in (value.get("example"), *named) if example is not None]
            else:
                examples = [value["example"]] if "example" in value and "type" in value else []
            for example in examples:
                validator(document, value.get("schema", value)).validate(example)
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)


@schemathesis.hook
def filter_case(context, case):
    """Leaves out bodies that break the schema of a text by being none: on the wire they are text, too."""
    return case.media_type not in TEXTS or isinstance(case.body, str)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Keeps most requests from being taken for one another's repetition, and all from waiting for long."""
    headers = case.headers or {}
    key = headers.get("Idempotency-Key")
    if isinstance(key, str) and KEY.fullmatch(key) and next(requests) % 4:
        headers["Idempotency-Key"] = str(uuid.uuid4())
    if str(headers.get("Prefer", "")).startswith("wait="):
        headers["Prefer"] = "wait=1"
    query = case.query or {}
    if str(query.get("follow")).lower() == "true" and next(requests) % 20:
        query["follow"] = "false"


@schemathesis.check
def every_line_conforms(context, response, case):
    """An answer of lines is whole, and each line is what the document says."""
    if response.headers.get("content-type", [""])[0] != "application/x-ndjson":
        return
    document = case.operation.schema.raw_schema
    content = document["paths"][case.operation.path][case.operation.method]["responses"]["200"]["content"]
    of_line = validator(document, content["application/x-ndjson"]["schema"])
    assert response.content.endswith(b"\n"), "the last line has no end"
    # an answer that is followed has empty lines
    lines = [json.loads(line) for line in response.content.decode().split("\n") if line]
    for line in lines:
        of_line.validate(line)
    assert "_meta" in lines[-1], "the last line is not _meta"
