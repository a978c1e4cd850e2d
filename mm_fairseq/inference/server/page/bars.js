// Scores as bars: a label, a number, and a bar that only eyes need.

import { make, score } from "./dom.js";

const MANY = 12; // labels that are shown at once

export const YES_OR_NO = ["multilabel", "binary_each"];

export function bar(share) {
  const inner = make("i");
  inner.style.width = `${100 * share}%`;
  return make("span", { className: "bar", ariaHidden: "true" }, inner);
}

function item({ label, score: value }, chosen, half) {
  const drawn = bar(value);
  if (half) drawn.classList.add("half");
  const name = make("bdi", { className: "label" }, label);
  const number = make("data", { className: "number", value: String(value) }, score(value));
  return make("li", { className: chosen ? "best" : "" }, name, number, drawn);
}

export function bars(scores, chosen, half = false) {
  const items = scores.map((each) => item(each, chosen.includes(each.label), half));
  const list = make("ul", { className: "bars" }, ...items.slice(0, MANY));
  if (items.length <= MANY) return list;
  const rest = make("ul", { className: "bars" }, ...items.slice(MANY));
  return make("div", {}, list, make("details", {}, make("summary", {}, `${items.length - MANY} further labels`), rest));
}

export function table(caption, head, rows) {
  const cell = (tag, text, number) => make(tag, { className: number ? "n" : "" }, make("bdi", {}, text));
  const numeric = head.map((_, column) => rows.length > 0 && typeof rows[0][column] === "number");
  const top = head.map((text, column) => make("th", { scope: "col", className: numeric[column] ? "n" : "" }, text));
  const body = rows.map((row) => {
    const cells = row.map((value, column) => {
      const shown = typeof value === "number" ? score(value) : value;
      return cell(column ? "td" : "th", shown, numeric[column]);
    });
    cells[0].scope = "row";
    return make("tr", {}, ...cells);
  });
  return make(
    "div",
    { className: "scroll", tabIndex: 0, role: "region", ariaLabel: caption },
    make("table", {}, make("caption", { className: "unseen" }, caption), make("thead", {}, make("tr", {}, ...top)), make("tbody", {}, ...body)),
  );
}

// A table that is made when it is asked for: that of an hour has thousands of rows.
export function folded(summary, content) {
  const details = make("details", {}, make("summary", {}, summary));
  details.addEventListener("toggle", () => details.open && details.childElementCount === 1 && details.append(content()));
  return details;
}
