// The operator's console: what a tenant's key shows of its uploads. It calls the public API like any other client.
"use strict";

const KEY = "intake-api-key";
const PART_UPLOADS = 4; // at a time; browsers open six connections to a host
const PREVIEW = 20; // rejects
const OPEN = new Set(["awaiting_upload", "uploaded", "loading", "promoting", "cancelling"]);
const TONE = {
  completed: "good", completed_with_errors: "warn", failed: "bad", expired: "quiet", cancelled: "quiet", cancelling: "quiet",
};

const $ = (id) => document.getElementById(id);
const API = new URL($("page").dataset.api, location.href);
const number = new Intl.NumberFormat("en");
const count = (value) => (value === null || value === undefined ? "" : number.format(value));

let key = sessionStorage.getItem(KEY) ?? "";
let pages = 1; // of the list that are shown
let token = null; // of the session that is open
let timer = null;

function notice(text, tone = "") {
  $("notice").textContent = text;
  $("notice").className = tone;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; bytes >= 1024 && at < units.length - 1; at += 1) bytes /= 1024;
  return `${at ? bytes.toFixed(1) : bytes} ${units[at]}`;
}

const time = (text) => (text ? new Date(text).toLocaleString() : "");

/** One call of the API. A problem becomes an error with its detail. */
async function call(method, path, { body, headers = {} } = {}) {
  const answer = await fetch(new URL(path, API), {
    method,
    headers: { "X-API-Key": key, ...(body && { "Content-Type": "application/json" }), ...headers },
    body: body && JSON.stringify(body),
  });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const error = new Error(problem.detail ?? `the API answered ${answer.status}`);
  error.status = answer.status;
  error.id = problem.request_id;
  throw error;
}

/** Runs what a click or a clock started, and says what went wrong. */
async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.status === 401) leave();
    notice(error.id ? `${error.message} (request ${error.id})` : error.message, "bad");
    return undefined;
  }
}

function cell(row, text, className = "") {
  const made = row.insertCell();
  made.textContent = text;
  made.className = className;
  return made;
}

// ---- the list ----

async function list() {
  const sessions = [];
  let cursor = null;
  for (let page = 0; page < pages && (page === 0 || cursor); page += 1) {
    const query = new URLSearchParams({ limit: "20" });
    if ($("state").value) query.set("state", $("state").value);
    if (cursor) query.set("cursor", cursor);
    const answer = await (await call("GET", `sessions?${query}`)).json();
    sessions.push(...answer.sessions);
    cursor = answer.next_cursor;
  }
  const rows = sessions.map((session) => {
    const row = document.createElement("tr");
    cell(row, time(session.created_at));
    cell(row, session.state.replaceAll("_", " ") + (session.dry_run ? " (check only)" : ""), TONE[session.state] ?? "");
    cell(row, count(session.files), "number");
    cell(row, size(session.size_bytes), "number");
    cell(row, count(session.rows.accepted), "number");
    cell(row, count(session.rows.promoted), "number");
    cell(row, count(session.rows.rejected), session.rows.rejected ? "number bad" : "number");
    const open = document.createElement("button");
    open.textContent = "Open";
    open.setAttribute("aria-label", `Open the upload of ${time(session.created_at)}`);
    open.addEventListener("click", () => show(session.upload_token));
    cell(row, "").append(open);
    return row;
  });
  if (!rows.length) {
    const row = document.createElement("tr");
    cell(row, "There are none.", "quiet").colSpan = 8;
    rows.push(row);
  }
  $("list").replaceChildren(...rows);
  $("older").hidden = !cursor;
  return sessions.some((session) => OPEN.has(session.state));
}

// ---- one session ----

function fileRow(file) {
  const row = document.createElement("tr");
  cell(row, file.name, "wide");
  const state = cell(row, file.state.replaceAll("_", " "), TONE[file.state] ?? "");
  if (file.error) state.title = file.error.detail;
  const read = document.createElement("progress");
  read.max = file.bytes.total || 1;
  read.value = file.bytes.total ? file.bytes.loaded : 1;
  read.setAttribute("aria-label", `read of ${file.name}`);
  cell(row, "").append(read);
  for (const name of ["accepted", "inserted", "updated", "unchanged"]) cell(row, count(file.rows[name]), "number");
  cell(row, count(file.rows.rejected), file.rows.rejected ? "number bad" : "number");
  cell(row, file.rows_per_second ? count(Math.round(file.rows_per_second)) : "", "number");
  if (!file.error) return [row];
  const why = document.createElement("tr");
  cell(why, `${file.error.code}: ${file.error.detail}`, "wide bad").colSpan = 9;
  return [row, why];
}

async function detail() {
  const status = await (await call("GET", `sessions/${token}/status`)).json();
  $("session-title").textContent = `Upload of ${time(status.created_at)}`;
  const facts = [status.state.replaceAll("_", " "), `token ${status.upload_token}`, `until ${time(status.expires_at)}`];
  if (status.dry_run) facts.push("check only");
  if (status.webhook) facts.push(`call back ${status.webhook.state}`);
  $("facts").textContent = facts.join(" · ");
  $("session-files").replaceChildren(...status.files.flatMap(fileRow));
  const isOpen = OPEN.has(status.state);
  $("cancel").disabled = !isOpen;
  $("resume").disabled = !isOpen && !status.files.some((file) => file.error?.resumable);
  $("rejects").disabled = !status.rows.rejected;
  await preview(status.rows.rejected);
  return isOpen;
}

async function preview(rejected) {
  const title = $("rejects-title");
  if (!rejected) {
    title.hidden = true;
    $("first-rejects").replaceChildren();
    return;
  }
  const text = await (await call("GET", `sessions/${token}/rejects?limit=${PREVIEW}`)).text();
  const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line)).filter((line) => "file" in line);
  title.textContent = lines.length < rejected ? `The first ${lines.length} of ${count(rejected)} rejects` : "Rejects";
  title.hidden = false;
  $("first-rejects").replaceChildren(...lines.map((reject) => {
    const row = document.createElement("tr");
    cell(row, `${reject.file}:${reject.line ?? "?"}`);
    cell(row, reject.key ?? "");
    cell(row, reject.errors.map((error) => `${error.pointer || "row"} ${error.detail}`).join("; "), "wide");
    return row;
  }));
}

function show(opened) {
  token = opened;
  $("session").hidden = false;
  $("session").scrollIntoView({ behavior: "smooth" });
  refresh();
}

async function download() {
  const text = await (await call("GET", `sessions/${token}/rejects`)).text();
  const lines = text.trimEnd().split("\n");
  if (!lines.at(-1).startsWith('{"_meta"')) throw new Error("the rejects were cut off; try again");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${lines.slice(0, -1).join("\n")}\n`], { type: "application/x-ndjson" }));
  link.download = `rejects-${token}.ndjson`;
  link.click();
  URL.revokeObjectURL(link.href);
}

// ---- an upload ----

/** PUTs bytes to a presigned URL, and tells how many have gone. */
function put(url, headers, bytes, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    for (const [name, value] of Object.entries(headers)) {
      if (!/^(content-length|host)$/i.test(name)) request.setRequestHeader(name, value); // the browser sets these itself
    }
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("error", () => reject(new Error("the upload broke off: send the files once more")));
    request.addEventListener("load", () => {
      // 412: a PUT whose answer was lost has brought it there
      if (request.status < 300 || request.status === 412) resolve();
      else reject(new Error(`the store answered ${request.status}`));
    });
    request.send(bytes);
  });
}

async function send() {
  const files = [...$("files").files];
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const sent = new Map();
  const progress = (part) => (bytes) => {
    sent.set(part, bytes);
    $("sent").value = [...sent.values()].reduce((sum, one) => sum + one, 0) / (total || 1);
  };
  const body = {
    files: files.map((file) => ({ name: file.name, size_bytes: file.size })),
    dry_run: $("dry-run").checked,
    on_error: $("on-error").value,
  };
  const headers = { "Idempotency-Key": crypto.randomUUID?.() ?? `console-${Date.now()}-${Math.random()}` };
  const session = await (await call("POST", "sessions", { body, headers })).json();
  $("sent").hidden = false;
  show(session.upload_token);
  for (const [at, { upload }] of session.files.entries()) {
    const file = files[at];
    if (upload.kind === "put") {
      await put(upload.url, upload.headers, file, progress(file.name));
      continue;
    }
    const parts = [...upload.parts];
    const worker = async () => {
      for (let part = parts.shift(); part; part = parts.shift()) {
        const start = (part.part_number - 1) * upload.part_size_bytes;
        await put(part.url, {}, file.slice(start, start + part.size_bytes), progress(`${file.name} ${part.part_number}`));
      }
    };
    await Promise.all(Array.from({ length: PART_UPLOADS }, worker));
    await call("POST", new URL(upload.complete_path.replace(/^\/api\/v1\/ingest\//, ""), API));
  }
  $("sent").hidden = true;
  $("send").reset();
  notice("Uploaded.", "good");
  refresh();
}

// ---- the page ----

/** Shows what is so, and again as long as something is under way. */
async function refresh() {
  clearTimeout(timer);
  const isOpen = await attempt(async () => {
    const isAnyOpen = await list();
    return (token && (await detail())) || isAnyOpen;
  });
  if (key && isOpen !== false) timer = setTimeout(refresh, isOpen ? 2000 : 10000);
}

async function enter() {
  notice("");
  const opened = await attempt(async () => {
    await call("GET", "sessions?limit=1");
    return true;
  });
  if (!opened) return;
  sessionStorage.setItem(KEY, key);
  $("enter").hidden = true;
  for (const id of ["upload", "sessions", "leave"]) $(id).hidden = false;
  refresh();
}

function leave() {
  clearTimeout(timer);
  key = "";
  token = null;
  sessionStorage.removeItem(KEY);
  $("enter").hidden = false;
  for (const id of ["upload", "sessions", "session", "leave"]) $(id).hidden = true;
  notice("");
}

/** Runs the work of a form or button, which rests meanwhile. */
function on(id, event, work) {
  $(id).addEventListener(event, async (occurred) => {
    occurred.preventDefault();
    const button = occurred.submitter ?? occurred.currentTarget;
    button.inert = true;
    await attempt(work);
    button.inert = false;
  });
}

on("enter", "submit", () => {
  key = $("key").value.trim();
  $("key").value = "";
  return enter();
});
on("send", "submit", send);
on("state", "change", () => { pages = 1; return refresh(); });
on("older", "click", () => { pages += 1; return refresh(); });
on("resume", "click", async () => {
  const { chunks_queued: queued } = await (await call("POST", `sessions/${token}/resume`, { body: {} })).json();
  notice(`${queued} chunks are tried again.`);
  await refresh();
});
on("cancel", "click", async () => {
  if (!confirm("End this upload? What is promoted stays.")) return;
  await call("POST", `sessions/${token}/cancel`);
  await refresh();
});
on("rejects", "click", download);
$("leave").addEventListener("click", leave);
$("close").addEventListener("click", () => { token = null; $("session").hidden = true; });
if (key) enter();
