// Small helpers that every part of the page uses.

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

export function show(node, shown) {
  node.hidden = !shown;
}

export const NAMES = { audio: "sound", video: "pictures", text: "words" };
export const called = (modality) => NAMES[modality] ?? modality;

export function listed(words) {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

// A text that begins with a file's name stays as it is.
export const sentence = (text) => (/^\p{L}+[ ,:]|^\p{L}+$/u.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text);

export function clock(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const pad = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${minutes}:${pad(rest)}`;
}

export function length(seconds) {
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  return `${seconds % 60 || seconds > 7200 ? clock(seconds) : seconds / 60} min`;
}

export function size(bytes) {
  const [unit, name] = [[2 ** 30, "GB"], [2 ** 20, "MB"], [2 ** 10, "kB"]].find(([least]) => bytes >= least) ?? [1, "bytes"];
  if (unit === 1) return `${bytes} bytes`;
  return `${(bytes / unit).toFixed(bytes < 10 * unit && bytes % unit ? 1 : 0)} ${name}`;
}

export const score = (value) => value.toFixed(Math.abs(value) >= 100 ? 1 : 3);
