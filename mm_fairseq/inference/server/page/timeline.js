// Scores over time: one row a label, the stronger the colour the higher the score, with a line under what is given; of
// numbers a curve. Seeks in the clip.

import { clock, make, score } from "./dom.js";

const ROW = 24;
const PLOT = 96; // height of a line of numbers
const AXIS = 20;
const ROWS = 12;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

export class Timeline {
  // segments: [{start, end, scores: {label: number}, given: [label], told}], in order; `labels` empty for a number.
  constructor({ name, labels, segments, seconds, hop, player }) {
    Object.assign(this, { segments, seconds, hop, player, at: 0, number: !labels.length });
    const peak = (label) => Math.max(0, ...this.series(label).filter(Number.isFinite));
    this.labels = this.number ? [name] : labels.toSorted((a, b) => peak(b) - peak(a)).slice(0, ROWS);
    this.left = this.number ? 0 : labels.length - this.labels.length;
    this.canvas = make("canvas", { ariaHidden: "true" });
    this.head = make("span", { className: "head", ariaHidden: "true" });
    this.seek = make("div", { className: "seek", role: "slider", tabIndex: 0, ariaLabel: `${name} over time: position` }, this.canvas, this.head);
    this.seek.ariaValueMin = "0";
    this.seek.ariaValueMax = seconds.toFixed(1);
    const names = this.labels.map((label) => make("li", { title: label }, make("bdi", {}, label)));
    const side = make("ul", { ariaHidden: "true" }, ...(this.number ? [] : names));
    this.now = make("p", { className: "now quiet" });
    this.node = make("div", {}, make("div", { className: "timeline" }, side, this.seek), this.now);
    this.listen();
    this.move(0, false);
  }

  series(label) {
    return this.segments.map(({ scores }) => scores?.[label] ?? NaN);
  }

  listen() {
    const seek = (event) => {
      const { left, width } = this.seek.getBoundingClientRect();
      this.move(((event.clientX - left) / width) * this.seconds);
    };
    this.seek.addEventListener("pointerdown", (event) => {
      this.seek.setPointerCapture(event.pointerId);
      seek(event);
    });
    this.seek.addEventListener("pointermove", (event) => this.seek.hasPointerCapture(event.pointerId) && seek(event));
    this.seek.addEventListener("keydown", (event) => {
      const far = this.seconds / 10;
      const steps = { ArrowRight: this.hop, ArrowUp: this.hop, ArrowLeft: -this.hop, ArrowDown: -this.hop, PageUp: far, PageDown: -far };
      const goals = { Home: 0, End: this.seconds };
      if (!(event.key in steps || event.key in goals)) return;
      event.preventDefault();
      this.move(goals[event.key] ?? this.at + steps[event.key]);
    });
    this.follow = () => this.move(this.player.currentTime, false);
    this.player?.addEventListener("timeupdate", this.follow);
    new ResizeObserver(() => this.draw()).observe(this.seek);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const repaint = () => (this.node.isConnected ? this.draw() : scheme.removeEventListener("change", repaint));
    scheme.addEventListener("change", repaint);
  }

  end() {
    this.player?.removeEventListener("timeupdate", this.follow);
    this.player = null;
  }

  move(seconds, seeking = true) {
    this.at = Math.min(Math.max(seconds, 0), this.seconds);
    if (seeking && this.player) this.player.currentTime = this.at;
    this.head.style.left = `${(100 * this.at) / this.seconds}%`;
    const found = this.segments[this.nearest(this.at)];
    this.now.textContent = `At ${clock(this.at)}: ${found.told}`;
    this.seek.ariaValueNow = this.at.toFixed(1);
    this.seek.ariaValueText = `${clock(this.at)}, ${found.told}`;
  }

  // A moment belongs to the window whose middle is nearest to it.
  nearest(seconds) {
    let best = 0;
    this.segments.forEach(({ start, end }, n) => {
      const middle = (each) => Math.abs((each.start + each.end) / 2 - seconds);
      if (middle({ start, end }) < middle(this.segments[best])) best = n;
    });
    return best;
  }

  edges(n) {
    const middle = ({ start, end }) => (start + end) / 2;
    const [before, here, after] = [this.segments[n - 1], this.segments[n], this.segments[n + 1]];
    const left = before ? (middle(before) + middle(here)) / 2 : 0;
    return [left, after ? (middle(here) + middle(after)) / 2 : this.seconds];
  }

  draw() {
    const width = this.seek.clientWidth;
    if (!width) return;
    const height = (this.number ? PLOT : ROW * this.labels.length) + AXIS;
    const ratio = devicePixelRatio || 1;
    Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    this.canvas.style.height = `${height}px`;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(this.seek);
    this.colours = Object.fromEntries(["accent", "line", "quiet", "ink"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    const x = (seconds) => (seconds / this.seconds) * width;
    if (this.number) this.drawLine(pen, x, width);
    else this.drawRows(pen, x, width, ratio);
    this.drawAxis(pen, x, width, height);
  }

  drawRows(pen, x, width, ratio) {
    this.labels.forEach((label, row) => {
      const top = row * ROW + 2;
      pen.globalAlpha = 0.6;
      pen.fillStyle = this.colours.line;
      pen.fillRect(0, top, width, ROW - 4);
      pen.fillStyle = this.colours.accent;
      this.series(label).forEach((value, n) => {
        if (!Number.isFinite(value)) return;
        const [left, right] = this.edges(n).map((seconds) => Math.round(x(seconds) * ratio) / ratio);
        pen.globalAlpha = Math.min(Math.max(value, 0), 1);
        const wide = Math.max(right - left, 1 / ratio);
        pen.fillRect(left, top, wide, ROW - 4);
        if (!this.segments[n].given.includes(label)) return;
        pen.globalAlpha = 1;
        pen.fillStyle = this.colours.ink;
        pen.fillRect(left, top + ROW - 7, wide, 3);
        pen.fillStyle = this.colours.accent;
      });
    });
    pen.globalAlpha = 1;
  }

  drawLine(pen, x, width) {
    const values = this.series(this.labels[0]);
    const finite = values.filter(Number.isFinite);
    const [low, high] = [Math.min(0, ...finite), Math.max(0, ...finite)];
    const y = (value) => 6 + (PLOT - 12) * (high > low ? (high - value) / (high - low) : 0.5);
    pen.strokeStyle = this.colours.line;
    pen.lineWidth = 1;
    pen.strokeRect(0, y(0), width, 0);
    pen.strokeStyle = this.colours.accent;
    pen.lineWidth = 2;
    pen.beginPath();
    let drawing = false;
    values.forEach((value, n) => {
      const middle = (this.segments[n].start + this.segments[n].end) / 2;
      if (Number.isFinite(value)) pen[drawing ? "lineTo" : "moveTo"](x(middle), y(value));
      drawing = Number.isFinite(value);
    });
    pen.stroke();
    pen.fillStyle = this.colours.quiet;
    pen.font = `12px ${getComputedStyle(this.seek).fontFamily}`;
    pen.fillText(score(high), 4, 16);
    pen.fillText(score(low), 4, PLOT - 4);
  }

  drawAxis(pen, x, width, height) {
    const step = STEPS.find((each) => x(each) >= 56) ?? STEPS.at(-1);
    pen.fillStyle = this.colours.quiet;
    pen.font = `12px ${getComputedStyle(this.seek).fontFamily}`;
    for (let at = 0; at <= this.seconds; at += step) {
      const text = clock(at);
      const wide = pen.measureText(text).width;
      pen.fillRect(Math.min(x(at), width - 1), height - AXIS + 1, 1, 4);
      if (x(at) + wide / 2 <= width || at === 0) pen.fillText(text, Math.max(x(at) - wide / 2, 0), height - 3);
    }
  }
}
