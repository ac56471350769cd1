// Labels of a whole recording, adapter by adapter, side by side.

import { button, element } from "./element.js";
import { table, WRITERS } from "./tables.js";
import { length, number, score } from "./words.js";

/** How the scores of a recording were made, in words. */
function heard(seconds, { heard_seconds: of, window_count: windows, pool }) {
  if (windows > 1) return `The ${pool} of ${number(windows, "window")} over ${length(of)}.`;
  return seconds - of > 0.011 ? `Of the first ${length(of)} of ${length(seconds)}.` : `Of all ${length(seconds)}.`;
}

/** A remark of the server without the word that the command line puts before it. */
const sentence = (note) => note.replace(/^Note: (.)/, (_, first) => first.toUpperCase()).replace(/[^.]$/, "$&.");

function bar({ label, score: value }, threshold) {
  const fill = element("span", { class: "fill" });
  fill.style.width = `${100 * value}%`;
  const track = element("span", { class: "track", "aria-hidden": "true" }, fill);
  if (threshold !== undefined) {
    const mark = element("span", { class: "threshold", title: `Threshold ${score(threshold)}` });
    mark.style.left = `${100 * threshold}%`;
    track.append(mark);
  }
  return element("li", {}, element("span", { class: "label", dir: "auto" }, label), element("span", { class: "score" }, score(value)), track);
}

/** Buttons that save a table in each format. `kind` is what its rows are. */
export function downloads(answer, name, kind, what) {
  const save = ({ suffix, type, write }) => {
    const url = URL.createObjectURL(new Blob([write(table(answer, name, kind))], { type }));
    element("a", { href: url, download: `${answer.file}.${name}${suffix}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000); // the browser has read it by then
  };
  const one = (writer) => button(writer.title, () => save(writer), { class: "plain", "aria-label": `${what} ${writer.title} (${name})` });
  return element("p", { class: "downloads" }, element("span", { class: "quiet", "aria-hidden": "true" }, what.replace(" labels", "")), ...Object.values(WRITERS).map(one));
}

/** The card of one adapter. `info` is what the server says of the adapter, if it still has it. */
export function card(answer, name, info) {
  const result = answer.results[name];
  const thresholds = info?.thresholds ?? {};
  const bars = result.labels.map((one) => bar(one, thresholds[one.label]));
  return element(
    "article", { class: "card", "aria-label": `Labels by ${name}` },
    element("h3", { dir: "auto" }, name),
    bars.length ? element("ol", { class: "scores" }, bars) : element("p", {}, "No label reaches its threshold."),
    element("p", { class: "quiet" }, heard(answer.seconds, result)),
    ...result.notes.map((note) => element("p", { class: "quiet" }, sentence(note))),
    downloads(answer, name, "labels", "Save labels as"),
  );
}
