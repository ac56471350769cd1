// Windows and events of a long recording: lanes that are played by a click or with the keyboard, and the same as a table.

import { button, element } from "./element.js";
import { downloads } from "./results.js";
import { clock, number, score } from "./words.js";

const FIRST = 6; // lanes that are shown at once
const ROWS = 100; // of a table that are shown at once
const LEAP = 10; // steps of PageUp and PageDown
const ZOOMS = [1, 2, 4, 8];
const SAME = 1e-6; // seconds
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600]; // seconds between two marks of the axis
const MARKS = 6; // at most, in the width of the page
const LAST_MARK = 0.9; // share of the width: later ones would be cut

/** Labels with what each scores, those that come highest first. */
function lanesOf({ windows = [], events = [] }) {
  const lanes = new Map();
  const lane = (label, value) => {
    const known = lanes.get(label) ?? { label, highest: 0, windows: [], events: [] };
    lanes.set(label, known);
    known.highest = Math.max(known.highest, value);
    return known;
  };
  windows.forEach((one, n) => {
    const end = Math.min(one.end, windows[n + 1]?.start ?? Infinity); // windows may overlap
    for (const { label, score: value } of one.labels) lane(label, value).windows.push({ start: one.start, end, value });
  });
  for (const event of events) lane(event.label, event.score).events.push(event);
  const order = [...lanes.values()];
  return order.sort((a, b) => (b.events.length > 0) - (a.events.length > 0) || b.highest - a.highest);
}

/** The moments that the keyboard goes to: windows, or events where there are none. */
function stepsOf({ windows = [], events = [] }) {
  if (windows.length) return windows;
  const labels = ({ label, score: value }) => [{ label, score: value }];
  return events.map((event) => ({ start: event.onset, end: event.offset, labels: labels(event) }));
}

/** What the drawing means. */
function key({ windows, events }) {
  const parts = [];
  if (windows) parts.push(element("span", {}, "score of a window, by its height"));
  if (events) parts.push(element("span", { class: "event" }, "event"));
  return element("p", { class: "key quiet", "aria-hidden": "true" }, parts);
}

/** The timeline of one adapter. `player` has `play(seconds)`, `toggle()` and `time`. */
export class Timeline {
  constructor(answer, name, player) {
    const result = answer.results[name];
    [this.seconds, this.player, this.name] = [answer.seconds, player, name];
    [this.lanes, this.steps] = [lanesOf(result), stepsOf(result)];
    this.shown = FIRST;
    this.time = 0;
    this.readout = element("p", { class: "readout", "aria-hidden": "true" });
    this.track = element("div", { class: "lanes" });
    this.slider = this.#slider();
    const tables = [];
    if (result.events) tables.push(...this.#part(answer, "events", result.events.map((one) => ({ ...one, start: one.onset, end: one.offset }))));
    const windows = result.windows?.flatMap(({ start, end, labels }) => labels.map((one) => ({ start, end, ...one })));
    if (windows) tables.push(...this.#part(answer, "windows", windows));
    this.element = element(
      "article", { class: "timeline", "aria-label": `Timeline by ${name}` },
      element("div", { class: "row" }, element("h3", { dir: "auto" }, name), this.#zoom()),
      ...(this.lanes.length ? [element("div", { class: "scroller" }, this.slider), key(result), this.readout, this.#more()] : [element("p", {}, "Nothing reaches the threshold.")]),
      ...tables,
    );
    this.#fill();
    this.moveTo(0);
  }

  #slider() {
    return element("div", {
      class: "slider", role: "slider", tabindex: 0, "aria-label": `Position in the timeline of ${this.name}`, "aria-valuemin": 0,
      "aria-valuemax": this.seconds.toFixed(1), "aria-orientation": "horizontal", onkeydown: (event) => this.#key(event),
      onclick: (event) => this.#click(event),
    }, this.track, this.#axis(), element("span", { class: "playhead", "aria-hidden": "true" }));
  }

  #axis() {
    const step = STEPS.find((one) => this.seconds / one <= MARKS) ?? this.seconds / MARKS;
    const marks = Array.from({ length: Math.floor((this.seconds * LAST_MARK) / step) + 1 }, (_, n) => {
      const mark = element("span", {}, clock(n * step).replace(/\.0$/, ""));
      mark.style.left = `${(100 * n * step) / this.seconds}%`;
      return mark;
    });
    return element("div", { class: "axis", "aria-hidden": "true" }, marks);
  }

  #zoom() {
    const choice = element("select", {
      onchange: () => {
        this.slider.style.width = `${100 * Number(choice.value)}%`;
        this.draw();
        this.moveTo(this.time, true);
      },
    }, ZOOMS.map((one) => element("option", { value: one }, `${one}×`)));
    return element("label", { class: "quiet" }, "Zoom ", choice);
  }

  #more() {
    const rest = this.lanes.length - this.shown;
    if (rest <= 0) return null;
    const more = button(`Show ${number(rest, "more label")}`, () => {
      this.shown = Infinity;
      more.remove();
      this.#fill();
      this.draw();
    }, { class: "plain" });
    return more;
  }

  #fill() {
    const lane = (one) => element("div", { class: "lane" }, element("span", { class: "label", dir: "auto" }, one.label), element("canvas"));
    this.track.replaceChildren(...this.lanes.slice(0, this.shown).map(lane));
  }

  /** A table of rows and the buttons that save it. */
  #part(answer, kind, rows) {
    const body = element("tbody");
    const row = ({ start, end, label, score: value }) => element(
      "tr", {}, element("td", {}, button(clock(start), () => this.#play(start), { class: "plain", "aria-label": `Play from ${clock(start)}` })),
      element("td", {}, clock(end)), element("td", { dir: "auto" }, label), element("td", {}, score(value)),
    );
    const more = button("", () => {
      const there = body.childElementCount;
      body.append(...rows.slice(there, there + ROWS).map(row));
      const left = rows.length - body.childElementCount;
      more.hidden = left <= 0;
      more.textContent = `Show ${number(Math.min(ROWS, left), "more row")} of ${left.toLocaleString("en")}`;
    }, { class: "plain" });
    const headings = ["Start", "End", "Label", "Score"].map((text) => element("th", { scope: "col" }, text));
    const singular = kind === "events" ? "event" : "label of a window";
    const count = kind === "events" ? number(rows.length, "event") : `${rows.length.toLocaleString("en")} ${rows.length === 1 ? singular : "labels of windows"}`;
    const grid = element("table", {}, element("caption", { class: "unseen" }, `${kind} found by ${this.name}`), element("thead", {}, element("tr", {}, headings)), body);
    const shown = element("details", { ontoggle: () => { if (shown.open && !body.childElementCount) more.click(); } }, element("summary", {}, `Table of ${count}`), grid, more);
    return [element("div", { class: "part" }, shown, downloads(answer, this.name, kind, `Save ${kind} as`))];
  }

  /** Draw the lanes, each as high as its scores; a pixel shows the highest of its windows. */
  draw() {
    const scale = window.devicePixelRatio || 1;
    this.track.querySelectorAll("canvas").forEach((canvas, place) => {
      const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
      if (!width || !height) return;
      Object.assign(canvas, { width, height });
      const { windows, events } = this.lanes[place];
      const x = (seconds) => (seconds / this.seconds) * width;
      const pen = canvas.getContext("2d");
      const colour = (name) => getComputedStyle(canvas).getPropertyValue(name);
      pen.fillStyle = colour("--accent");
      for (const { start, end, value } of windows) {
        const high = Math.max(scale, value * height);
        pen.fillRect(x(start), height - high, Math.max(scale, x(end) - x(start) - (x(end) - x(start) > 4 * scale ? scale : 0)), high);
      }
      pen.fillStyle = colour("--event");
      for (const { onset, offset } of events) pen.fillRect(x(onset), 0, Math.max(2 * scale, x(offset) - x(onset)), 5 * scale);
    });
  }

  /** The place of a moment among the steps: the last that has begun. */
  #place(seconds) {
    let [low, high] = [0, this.steps.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.steps[middle].start <= seconds + SAME) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Show a moment. `follow` keeps it in sight where the timeline is wider than the page. */
  moveTo(seconds, follow = false) {
    this.time = seconds;
    const share = this.seconds ? Math.min(1, seconds / this.seconds) : 0;
    this.slider.querySelector(".playhead").style.left = `${100 * share}%`;
    const step = this.steps[this.#place(seconds)];
    const inside = step && seconds >= step.start - SAME && seconds < step.end;
    const labels = inside ? step.labels.slice(0, 3).map(({ label, score: value }) => `${label} ${score(value)}`) : [];
    const span = inside ? `${clock(step.start)} to ${clock(step.end)}` : clock(seconds);
    const text = `${span}: ${labels.join(", ") || "nothing found"}`;
    this.readout.textContent = text;
    this.slider.setAttribute("aria-valuenow", seconds.toFixed(1));
    this.slider.setAttribute("aria-valuetext", text);
    const scroller = this.slider.parentElement;
    if (follow && scroller && this.slider.clientWidth > scroller.clientWidth) {
      scroller.scrollLeft = share * this.slider.clientWidth - scroller.clientWidth / 2;
    }
  }

  #play(seconds) {
    this.moveTo(seconds, true);
    this.player.play(seconds);
  }

  #click(event) {
    const { left, width } = this.slider.getBoundingClientRect();
    const seconds = Math.max(0, ((event.clientX - left) / width) * this.seconds);
    const step = this.steps[this.#place(seconds)];
    this.#play(step && seconds < step.end ? Math.min(step.start, seconds) : seconds);
  }

  #key(event) {
    const here = this.#place(this.time);
    const to = { ArrowRight: here + 1, ArrowUp: here + 1, ArrowLeft: here - 1, ArrowDown: here - 1, PageUp: here + LEAP, PageDown: here - LEAP, Home: 0, End: this.steps.length - 1 }[event.key];
    if (event.key === " " || event.key === "Enter") this.player.toggle(this.time);
    else if (to !== undefined) {
      const { start } = this.steps[Math.max(0, Math.min(this.steps.length - 1, to))];
      this.moveTo(start, true);
      this.player.seek(start);
    } else return;
    event.preventDefault();
  }
}
