"""Starts ministack with a few mends. Settings come from the environment, which the functions inherit.

Each mend names what it changes in ministack 1.5.33; a newer version has to be measured again before the pin moves.
"""

import asyncio
import contextvars
import http.server
import mmap
import os
import signal
import sys
import threading

# The Runtime API answers a function in many small writes: Nagle's algorithm and delayed ACKs make that 40 ms a call.
http.server.BaseHTTPRequestHandler.disable_nagle_algorithm = True
http.server.BaseHTTPRequestHandler.wbufsize = -1

from ministack import app  # noqa: E402
from ministack.core import lambda_runtime, persistence  # noqa: E402
from ministack.services import apigateway_v1, lambda_svc, s3, sqs  # noqa: E402

# After each invocation it waits up to 50 ms for a log line. Our functions write their log to a file.
lambda_runtime.Worker._drain_stderr_bounded.__defaults__ = (0.0, 0.0, 0.25)

# A poller of event sources that found nothing to do waits 50 ms after it is woken: each message that is sent while all
# functions are busy would cost as much.
lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS = 0.002

# A ranged GET reads its whole object from disk. Mapped, slicing copies the slice alone.
MAPPED_FROM_BYTES = 1 << 20
reading_object = contextvars.ContextVar("reading_object", default=False)
read_body, get_object = s3._read_body, s3._get_object


def read_body_mapped(bucket, key, record):
    path = s3._object_disk_path(bucket, key)
    if reading_object.get() and record.get("body") is None and record.get("size", 0) >= MAPPED_FROM_BYTES and path:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return read_body(bucket, key, record)


def get_object_mapped(*args, **kwargs):
    token = reading_object.set(True)
    try:
        status, headers, body = get_object(*args, **kwargs)
    finally:
        reading_object.reset(token)
    return status, headers, bytes(body) if isinstance(body, mmap.mmap) else body


s3._read_body, s3._get_object = read_body_mapped, get_object_mapped


# A number that comes from a template parameter stays a string, and the poller of the event sources dies on it.
concurrency = lambda_svc._sqs_esm_concurrency
lambda_svc._sqs_esm_concurrency = lambda *args, **kwargs: int(concurrency(*args, **kwargs))


# A function that dies stops its event source for a second, and with it the messages of all others.
lambda_svc._ESM_BACKOFF_SECONDS = 0.05


# The import of a REST API drops the key that stands for every method.
ANY_METHOD = "x-amazon-apigateway-any-method"
apigateway_v1._OPENAPI_HTTP_METHODS.add(ANY_METHOD)
import_operation = apigateway_v1._import_operation
apigateway_v1._import_operation = lambda api, resource, method, *rest: import_operation(
    api, resource, "ANY" if method == ANY_METHOD.upper() else method, *rest
)


# A message in flight when it stopped would stay hidden for up to 90 minutes; no function of before is there to finish
# it.
load_queues = sqs.load_persisted_state


def load_queues_visible(state):
    for queue in state["queues"]._data.values():
        for message in queue["messages"]:
            if message.get("receive_count"):
                message["visible_at"] = 0
    load_queues(state)


sqs.load_persisted_state = load_queues_visible


# A message that is sent in a batch loses its system attributes, and with them its trace.
sent_together = contextvars.ContextVar("sent_together", default=None)
send_message, send_batch = sqs._act_send_message, sqs._act_send_message_batch


def send_message_whole(data, url):
    entries = sent_together.get()
    if entries is not None:
        data = {**data, "MessageSystemAttributes": next(entries).get("MessageSystemAttributes")}
    return send_message(data, url)


def send_batch_whole(data, url):
    token = sent_together.set(iter(data.get("Entries", [])))
    try:
        return send_batch(data, url)
    finally:
        sent_together.reset(token)


sqs._act_send_message = send_message_whole
sqs._HANDLERS["SendMessageBatch"] = send_batch_whole


# It saves its state on a clean shutdown alone: what was deployed would not outlive a crash.
serve = app._handle_lifespan


async def serve_and_save(*args):
    save = lambda: persistence.save_all(app._build_persistence_save_dict())  # noqa: E731
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, save)
    await serve(*args)


app._handle_lifespan = serve_and_save


# Standard input is a pipe from the supervisor: it ends when the supervisor is gone, however it went.
def follow_supervisor():
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


threading.Thread(target=follow_supervisor, daemon=True).start()
app.main()
