// The answer for a long recording: a timeline of every target, means, a table and files.

import { bars, folded, table } from "./bars.js";
import { clock, length, make, score } from "./dom.js";
import { Timeline } from "./timeline.js";

const TOLD = 3; // labels of a set that are named
const LEGEND = "The stronger the colour, the higher the score; the line marks what is given. ";
const HINT = "A click or the arrow keys on a timeline go there in the clip.";
let drawn = [];
let buttons = [];

// The clip was changed: what is shown is no longer about what the player plays.
export function detach() {
  drawn.forEach((each) => each.end());
  buttons.forEach((each) => each.remove());
  [drawn, buttons] = [[], []];
}

export function timelineParts(model, segments, job, player) {
  detach();
  if (!segments.length) return [make("p", {}, "The recording has no window.")];
  const seconds = job.seconds ?? segments.at(-1).end;
  const parts = model.targets.map((target) => targetPart(target, segments, seconds, player));
  const legend = make("p", { className: "quiet" }, LEGEND + (player ? HINT : ""));
  return [...(player ? [playButton(player)] : []), legend, ...parts, tableOf(model, segments), files(job)];
}

function targetPart({ name, classes }, segments, seconds, player) {
  const found = segments.map((segment) => ofTarget(segment, name, classes));
  const hop = segments.length > 1 ? segments[1].start - segments[0].start : seconds;
  const timeline = new Timeline({ name, labels: classes, segments: found, seconds, hop, player });
  drawn.push(timeline);
  const title = make("h3", {}, make("bdi", {}, name), " over time");
  const left = timeline.left ? `${timeline.left} further labels are in the table and the files.` : "";
  return make("div", { className: "target" }, title, timeline.node, make("p", { className: "quiet" }, left), mean(name, classes, found));
}

function ofTarget(segment, name, classes) {
  const { start, end, note } = segment;
  const scores = segment.scores[name];
  if (!scores) return { start, end, scores: null, given: [], told: `no answer${note ? `: ${note}` : ""}` };
  const given = [segment[name]].flat();
  const told = given.map((label) => (classes.length ? `${label} ${score(scores[label])}` : score(label)));
  const more = told.length > TOLD ? ` and ${told.length - TOLD} more` : "";
  return { start, end, scores, given, told: told.slice(0, TOLD).join(", ") + more || "none of them" };
}

function mean(name, classes, found) {
  const answered = found.filter(({ scores }) => scores);
  if (!answered.length) return "";
  const of = (label) => answered.reduce((sum, { scores }) => sum + scores[label], 0) / answered.length;
  const told = `Mean of ${answered.length} ${answered.length === 1 ? "window" : "windows"}`;
  if (!classes.length) return make("p", {}, `${told}: ${score(of(name))}`);
  const means = classes.map((label) => ({ label, score: of(label) })).sort((a, b) => b.score - a.score);
  return make("div", {}, make("h4", {}, told), bars(means, []));
}

function playButton(player) {
  const button = make("button", { type: "button" });
  const name = () => (button.textContent = player.paused ? "Play" : "Pause");
  button.addEventListener("click", () => (player.paused ? player.play().catch(() => null) : player.pause()));
  for (const event of ["play", "pause", "ended"]) player.addEventListener(event, name);
  name();
  buttons.push(button);
  return make("p", {}, button);
}

function tableOf(model, segments) {
  const head = ["from", "to", ...model.targets.map(({ name }) => name)];
  const rows = () =>
    segments.map((segment) => [
      clock(segment.start),
      clock(segment.end),
      ...model.targets.map(({ name, classes }) => ofTarget(segment, name, classes).told),
    ]);
  return folded("All windows as a table", () => table("All windows", head, rows()));
}

function files({ results, seconds }) {
  const names = { json: "JSON", csv: "CSV", vtt: "WebVTT subtitles", png: "Picture" };
  const links = Object.entries(names)
    .filter(([kind]) => results[kind])
    .map(([kind, name]) => make("a", { className: "button", href: results[kind], download: "" }, name));
  const title = `Files${seconds ? ` (${length(seconds)} of recording)` : ""}`;
  return make("div", {}, make("h3", {}, title), make("p", { className: "row" }, ...links));
}
