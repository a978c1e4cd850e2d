// An answer: the scores of every target, what they rest on, and why.

import { YES_OR_NO, bars } from "./bars.js";
import { called, length, listed, make, score, sentence } from "./dom.js";

export function answerParts(model, answer, withheld) {
  return [...model.targets.map((target) => targetPart(target, answer)), restsOn(model, answer, withheld)];
}

function targetPart({ name, kind, classes }, { predictions, targets }) {
  const prediction = predictions[name];
  const chosen = Array.isArray(prediction) ? prediction : [prediction];
  const title = make("h3", {}, make("bdi", {}, name));
  if (!classes.length) {
    const number = make("data", { className: "number", value: String(prediction) }, score(prediction));
    return make("div", { className: "target" }, title, make("p", { className: "verdict" }, number));
  }
  const half = YES_OR_NO.includes(kind);
  const verdict = make("p", { className: chosen.length > 1 ? "verdict several" : "verdict" }, make("bdi", {}, chosen.length ? chosen.join(", ") : "none of them"));
  const meaning = half ? make("p", { className: "quiet" }, meant(kind)) : null;
  return make("div", { className: "target" }, title, verdict, ...(meaning ? [meaning] : []), bars(targets[name], chosen, half));
}

const meant = (kind) =>
  kind === "multilabel"
    ? "Each label by itself; those above 0.5, the middle of its bar, are given."
    : "Each label is a decision of its own; the highest score is given.";

function restsOn(model, { modalities, notes, seconds }, withheld) {
  const lines = [`Answered from ${listed(modalities.map(called))}${seconds === null ? "" : `, ${length(seconds)}`}.`];
  if (withheld.length) lines.push(`Withheld: ${listed(withheld.map(called))}.`);
  const told = notes.map(({ modality }) => modality);
  const absent = model.modalities.filter((name) => ![...modalities, ...withheld, ...told].includes(name));
  if (absent.length) lines.push(`Not there: ${listed(absent.map(called))}.`);
  const items = lines.map((line) => make("li", {}, line));
  const fallbacks = notes.map(({ modality, message }) =>
    make("li", { className: "note" }, make("bdi", {}, `${sentence(called(modality))}: ${message}`)),
  );
  return make("div", {}, make("h3", {}, "What it rests on"), make("ul", { className: "facts" }, ...items, ...fallbacks));
}
