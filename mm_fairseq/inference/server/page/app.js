// The page: a form on the left, the state of the request and its answer on the right.

import { Gone, Refused, forget, get, pause, send } from "./api.js";
import { answerParts } from "./answer.js";
import { ClipField } from "./clip.js";
import { byId, called, length, listed, make, sentence, show, size } from "./dom.js";
import { explanationParts } from "./explanation.js";
import { detach, timelineParts } from "./segments.js";

const PATIENCE = 4; // questions without an answer until the server counts as gone
let model = null;
let job = null; // the last one that the server keeps for this page
let running = null; // AbortController of what is under way
let answered = null; // the file that a timeline is of
let again = null; // what "Try again" does

const clip = new ClipField({ changed: arrange, complain, words: (text) => ((byId("text").value = text), chooseManner("windows")) });
const manner = () => document.querySelector('input[name="manner"]:checked').value;
const withheld = () => model.modalities.filter((name) => !byId(`use-${name}`).checked);

// What is shown

function say(headline, detail = "", { working = false, retry = null, label = "Try again" } = {}) {
  byId("headline").textContent = headline;
  byId("detail").textContent = detail;
  byId("count").textContent = "";
  show(byId("working"), working);
  byId("go").setAttribute("aria-disabled", String(working || !model));
  again = retry;
  byId("again").textContent = label;
  show(byId("retry"), retry !== null);
}

function complain(text) {
  byId("complaint").textContent = text;
  show(byId("complaint"), text !== "");
}

function progress(share, text = "") {
  const bar = byId("progress");
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  byId("count").textContent = text;
}

// The headline is written only where it changes, or a screen reader would say it again and again.
function work(headline, share, text = "") {
  if (byId("headline").textContent !== headline) say(headline, "", { working: true });
  progress(share, text);
}

function result(...parts) {
  byId("result").replaceChildren(...parts);
  show(byId("result"), parts.length > 0);
}

// At phone width the answer is below the form; at desktop width nothing moves.
function reveal(focus = true) {
  const { top } = byId("answer").getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) byId("answer").scrollIntoView();
  if (focus) byId("answer").focus({ preventScroll: true });
}

function idle() {
  const given = [byId("source").hidden ? "" : "a clip", byId("words").hidden ? "" : "words"].filter(Boolean).join(" or ");
  say("Nothing asked yet.", `Give ${given}; what the model makes of it appears here.`);
}

function chooseManner(value) {
  document.querySelector(`input[name="manner"][value="${value}"]`).checked = true;
  arrange();
}

function arrange() {
  if (!model) return;
  if (answered && clip.file !== answered) {
    answered = null;
    detach();
  }
  const { seconds } = model.limits;
  const whole = document.querySelector('input[name="manner"][value="whole"]');
  const long = clip.seconds !== null && clip.seconds > seconds;
  if (long) document.querySelector('input[name="manner"][value="windows"]').checked = true;
  else if (whole.disabled) whole.checked = true;
  whole.disabled = long;
  byId("too-long").textContent = long ? `One answer is for at most ${length(seconds)}; this clip gets a timeline.` : "";
  show(byId("too-long"), long);
  const windows = manner() === "windows";
  show(byId("windows"), windows);
  show(byId("explain-choice"), !windows);
  byId("text").maxLength = windows ? model.limits.subtitle_bytes : model.limits.text_characters;
  byId("text-name").textContent = windows ? "Words with their times" : "Words that are said";
  byId("text-kind").textContent = windows ? "(text of an .srt or .vtt file; may be left out)" : "(may be left out)";
}

// What the server has

async function begin() {
  say("Asking the server for its model…");
  try {
    model = await get("api/model");
  } catch (error) {
    return fail(error, begin);
  }
  const { modalities, features, targets, limits } = model;
  const reads = listed(modalities.map(called));
  const names = listed(targets.map(({ name }) => name));
  byId("about").replaceChildren(`${model.architecture}: reads ${reads}, predicts `, make("bdi", {}, names), ".");
  document.title = `mm-fairseq: ${model.architecture}`;
  for (const name of modalities) {
    const input = make("input", { type: "checkbox", role: "switch", id: `use-${name}`, defaultChecked: true });
    byId("switches").append(make("label", { className: "switch" }, input, make("span", {}, sentence(called(name)))));
  }
  const recorded = ["audio", "video"].filter((name) => modalities.includes(name) && !features.includes(name));
  const npz = features.length > 0;
  show(byId("source"), recorded.length > 0 || npz);
  show(byId("words"), modalities.includes("text") && !features.includes("text"));
  show(byId("record-audio"), recorded.includes("audio"));
  show(byId("record-video"), recorded.includes("video"));
  for (const choice of document.querySelectorAll(".manner")) show(choice, recorded.length > 0);
  byId("file").accept = [recorded.length ? "audio/*,video/*,.srt,.vtt" : "", npz ? ".npz" : ""].filter(Boolean).join(",");
  const kinds = [recorded.length ? "Sound or video" : "", npz ? `features of ${listed(features.map(called))} (.npz)` : ""];
  byId("file-hint").textContent =
    `${sentence(kinds.filter(Boolean).join(" or "))}, at most ${size(limits.upload_bytes)} and ` +
    `${length(limits.seconds)}, for a timeline ${length(limits.recording_seconds)}.`;
  clip.limit = limits.upload_bytes;
  for (const id of ["window", "hop"]) Object.assign(byId(id), { min: limits.shortest_hop, max: limits.seconds });
  byId("window").defaultValue = Math.min(byId("window").defaultValue, limits.seconds);
  arrange();
  idle();
}

function parts() {
  const found = [];
  if (clip.file) found.push([clip.file.name.endsWith(".npz") ? "features" : "clip", clip.file]);
  const text = byId("text").value;
  if (text.trim()) found.push([manner() === "windows" ? "subtitles" : "text", text]);
  if (withheld().length) found.push(["without", withheld().join(",")]);
  return found;
}

function missing() {
  if (clip.recorder) return ["Stop the recording first.", "stop"];
  if (withheld().length === model.modalities.length) return ["The model needs at least one of them.", `use-${model.modalities[0]}`];
  if (manner() === "whole") {
    const nothing = !clip.file && !byId("text").value.trim();
    const typed = byId("words").hidden ? "" : ", or type words,";
    const wanted = byId("source").hidden ? "Type the words first." : `Choose or record a clip${typed} first.`;
    return nothing ? [wanted, byId("source").hidden ? "text" : "file"] : null;
  }
  const text = byId("text").value;
  if (text.trim() && !text.includes("-->")) return ["The words of a timeline need times: paste an .srt or .vtt file, or leave them out.", "text"];
  if (!clip.file) return ["A timeline needs a recording: choose one first.", "file"];
  const [window, hop] = ["window", "hop"].map((id) => byId(id).valueAsNumber);
  const { shortest_hop: least, seconds: most } = model.limits;
  if (!(window >= least && window <= most)) return [`The window is a number of seconds from ${least} to ${most}.`, "window"];
  const within = hop >= least && hop <= window;
  return within ? null : [`A new window begins after ${least} seconds or more, and within the one before.`, "hop"];
}

// Asking

async function ask(event) {
  event?.preventDefault();
  if (running || !model) return;
  const fault = missing();
  complain(fault?.[0] ?? "");
  if (fault) return byId(fault[1]).focus();
  if (job) forget(job.url);
  job = null;
  await attempt(manner() === "windows" ? askTimeline : askOnce);
}

async function attempt(work) {
  const mine = (running = new AbortController());
  result();
  reveal(false);
  try {
    await work(mine.signal);
    reveal();
  } catch (error) {
    if (running !== mine) return;
    if (error.name === "AbortError") say("Cancelled.", "Nothing was kept.", { retry: ask });
    else fail(error, error instanceof Gone && job ? () => attempt(follow) : ask);
  } finally {
    if (running === mine) running = null;
    if (!running) byId("go").setAttribute("aria-disabled", "false");
  }
}

function fail(error, retry) {
  if (error instanceof Gone) {
    say("The server does not answer.", "Is mm-fairseq serve still running? What you gave is still here.", { retry });
  } else if (error instanceof Refused) {
    const wait = error.wait ? ` Try again in ${error.wait} s.` : "";
    const headline = error.status < 500 ? "The server refuses it." : "The server could not answer.";
    if (error.code === "too_long" && clip.file && manner() === "whole") {
      const timeline = () => (chooseManner("windows"), ask());
      return say(headline, `One answer is for at most ${length(model.limits.seconds)}.`, { retry: timeline, label: "Make a timeline of it" });
    }
    say(headline, `${sentence(error.message)}${wait}`, { retry: error.status === 404 ? ask : retry });
  } else {
    say("This page could not show the answer.", "The fault is the page's; a program gets the answer all the same.", { retry });
    result(make("p", {}, make("a", { href: job ? job.results.json : "/api" }, job ? "The answer as JSON" : "JSON API")));
    throw error;
  }
}

async function upload(path, extra, signal, onLate) {
  const sent = new AbortController();
  signal.addEventListener("abort", () => sent.abort());
  work(clip.file ? "Uploading…" : "Sending…", clip.file ? 0 : null);
  try {
    return await send(path, [...parts(), ...extra], {
      signal,
      onProgress: (share) => progress(share, `${Math.round(100 * share)} %`),
      onSent: () => watchQueue(sent.signal),
      onLate,
    });
  } finally {
    sent.abort();
  }
}

async function watchQueue(signal) {
  work("Computing…", null);
  while (!signal.aborted) {
    await pause(1, signal).catch(() => null);
    const { under_way: all = 1 } = await get("health", { signal }).catch(() => ({}));
    if (signal.aborted) return;
    work(all > 1 ? "Waiting for the answer…" : "Computing…", null, all > 1 ? `${all - 1} other ${all > 2 ? "requests are" : "request is"} under way.` : "");
  }
}

async function askOnce(signal) {
  const explained = byId("explain").checked;
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const found = await upload(explained ? "api/explain" : "api/predict", explained ? [["theme", theme]] : [], signal);
  const answer = explained ? found.answer : found;
  result(...answerParts(model, answer, withheld()), ...(explained ? explanationParts(found) : []));
  say("Done.");
}

async function askTimeline(signal) {
  const numbers = ["window", "hop"].map((id) => [id, byId(id).value]);
  job = await upload("api/segments", numbers, signal, (late) => late?.url && forget(late.url));
  await follow(signal);
}

async function follow(signal) {
  let lost = 0;
  for (;;) {
    const headline = job.status === "waiting" ? "Waiting in the queue…" : "Computing…";
    work(headline, job.progress, job.segments ? `${job.segments} windows` : "");
    if (job.status === "done") break;
    if (job.status === "failed") throw new Refused(422, job);
    if (job.status === "cancelled") throw new DOMException("cancelled", "AbortError");
    await pause(job.progress === null ? 0.3 : 0.8, signal);
    try {
      job = await get(job.url, { signal });
      lost = 0;
    } catch (error) {
      if (!(error instanceof Gone) || ++lost === PATIENCE) throw error;
    }
  }
  const segments = await get(job.results.json, { signal });
  answered = clip.file;
  result(...timelineParts(model, segments, job, clip.player));
  say("Done.");
}

function cancel() {
  if (job) forget(job.url);
  job = null;
  running?.abort();
  byId("go").focus();
}

function startOver() {
  cancel();
  running = null; // nothing that comes of it is shown
  clip.finish(false);
  clip.clear();
  byId("ask").reset();
  arrange();
  result();
  idle();
  (byId("source").hidden ? byId("text") : byId("file")).focus();
}

byId("ask").addEventListener("submit", ask);
byId("ask").addEventListener("change", () => arrange());
byId("cancel").addEventListener("click", cancel);
byId("again").addEventListener("click", () => again?.());
byId("start-over").addEventListener("click", startOver);
addEventListener("pagehide", () => running && job && forget(job.url));
begin();
