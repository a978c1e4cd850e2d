// Why the model answers as it does: the picture that the server drew, the worth of each modality, and all as tables.

import { bar, folded, table } from "./bars.js";
import { called, length, listed, make, score, sentence } from "./dom.js";

export function explanationParts({ answer, explanation, picture }) {
  const { attention } = explanation;
  const remarks = Object.values(attention).flatMap(({ shown, note, reason }) => [shown ? note : reason]);
  const told = [...new Set(remarks)].filter(Boolean).map((text) => make("p", { className: "quiet" }, `${sentence(text)}.`));
  return [
    make("h3", {}, "Where it looked"),
    ...(picture ? [pictured(explanation, picture)] : []),
    ...told,
    folded("Attention as tables", () => make("div", {}, ...attentionTables(explanation))),
    ...worth(answer, explanation),
  ];
}

function pictured({ attention, unit, length: whole, words }, picture) {
  const names = Object.keys(attention).map(called);
  const over = unit === "seconds" ? ` over ${length(whole)}` : "";
  const alt = `Attention on ${listed(names)}${over}, one above the other on one time axis${words.length ? "" : ", without words"}. The same stands in the tables below.`;
  const frame = make("div", { className: "scroll tall", tabIndex: 0, role: "region", ariaLabel: "Picture of the attention" }, make("img", { src: picture, alt }));
  const save = make("a", { className: "button", href: picture, download: "explanation.png" }, "Save the picture");
  const full = make("button", { type: "button", ariaPressed: "false" }, "Full size");
  full.addEventListener("click", () => (full.ariaPressed = String(frame.classList.toggle("full"))));
  return make("div", {}, frame, make("p", { className: "row" }, full, save));
}

function attentionTables({ attention, words, unit }) {
  const time = (value) => (unit === "seconds" ? `${value.toFixed(2)} s` : `${(100 * value).toFixed(1)} %`);
  return Object.entries(attention).map(([modality, { shown }]) => {
    const title = make("h4", {}, sentence(called(modality)));
    if (modality === "text" && words.length) {
      const rows = words.map(({ word, start, end, weight }) => [word, time(start), time(end), weight ?? "–"]);
      return make("div", {}, title, table("Attention on words", ["word", "from", "to", "weight"], rows));
    }
    if (!shown) return make("div", {}, title, make("p", {}, "None is recorded."));
    const rows = shown.frames.map(([start, end], n) => [time(start), time(end), shown.weights[n]]);
    const about = make("p", { className: "quiet" }, `${sentence(shown.about)}.`);
    return make("div", {}, title, about, table(`Attention on ${called(modality)}`, ["from", "to", "weight"], rows));
  });
}

function worth({ modalities }, { without, target, label, score: full }) {
  if (!without.length) return [make("p", { className: "quiet" }, "There is one modality only: nothing can be left out.")];
  const number = target === label;
  const asked = number ? make("bdi", {}, label) : make("span", {}, "the score of ", make("bdi", {}, label));
  const title = make("p", { className: "quiet" }, `With ${listed(modalities.map(called))}, `, asked, ` is ${score(full)}${number ? "" : ", the line in each bar"}.`);
  const items = without.map((each) => {
    const change = `${each.change < 0 ? "−" : "+"}${score(Math.abs(each.change))}`;
    const value = make("data", { className: "number", value: String(each.score) }, `${score(each.score)} (${change})`);
    const then = number || each.label === label ? [] : [", then ", make("bdi", {}, each.label)];
    const name = make("span", {}, `without ${listed(each.without.map(called))}`, ...then);
    return make("li", {}, name, value, ...(number ? [] : [marked(each.score, full)]));
  });
  return [make("h3", {}, "What each modality is worth"), title, make("ul", { className: "bars" }, ...items)];
}

function marked(value, full) {
  const drawn = bar(value);
  const line = make("b");
  line.style.left = `${100 * full}%`;
  drawn.append(line);
  return drawn;
}
