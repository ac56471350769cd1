// Results as files that others open, byte for byte as `astune predict --format` writes them: CSV, Audacity's label tracks, Raven's
// selection tables. tests/browser compares them.

const COLUMNS = ["file_name", "start", "end", "label", "score", "seconds", "heard_seconds", "windows", "window", "hop", "pool"];
const SELECTION = [
  "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Begin Path", "Begin File",
  "Annotation", "Score", "Heard (s)", "Windows", "Pool",
];
const HIGHEST = 8000; // Hz: what lies above is not heard

/** A number of 0 or more with so many decimals, as Python writes it: where two are equally near, the even one. */
export function fixed(value, decimals) {
  const text = value.toFixed(decimals); // exact, but for a number in the middle, which it rounds up
  const doubled = value * 2 ** (decimals + 1); // an odd integer where the value lies in the middle, for 10 = 2 * 5
  const middle = Number.isInteger(doubled) && doubled % 2 !== 0;
  return middle && Number(text.at(-1)) % 2 ? (value - 0.25 / 10 ** decimals).toFixed(decimals) : text;
}

/** A rounded number in as few digits as tell it from others, as Python's `repr` has it. */
export function shortest(value, decimals) {
  const rounded = Number(fixed(value, decimals));
  if (Number.isInteger(rounded)) return `${rounded}.0`;
  return Math.abs(rounded) >= 1e-4 ? `${rounded}` : rounded.toExponential().replace(/e-(\d)$/, "e-0$1");
}

// As in printable.py: control characters, marks of direction, line separators, halves of letters.
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const ESCAPES = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Text in which what would be obeyed or cannot be shown is an escape. */
export function printable(text) {
  return text.replace(UNPRINTABLE, (letter) => {
    const code = letter.charCodeAt(0).toString(16);
    return ESCAPES[letter] ?? (code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`);
  });
}

const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
const commas = (cells) => `${cells.map((cell) => quoted(String(cell))).join(",")}\n`;
const tabs = (cells) => `${cells.map((cell) => printable(String(cell))).join("\t")}\n`;

function csv({ file, rows, seconds, result, pool }) {
  const known = [
    shortest(seconds, 3), shortest(result.heard_seconds, 3), result.window_count, shortest(result.window, 6), shortest(result.hop, 6), pool,
  ];
  const cells = (row) => [file, shortest(row.start, 6), shortest(row.end, 6), row.label, shortest(row.score, 6), ...known];
  return commas(COLUMNS) + rows.map((row) => commas(cells(row))).join("");
}

function audacity({ rows }) {
  return rows.map((row) => tabs([fixed(row.start, 6), fixed(row.end, 6), row.label])).join("");
}

function raven({ file, rows, result, pool, rate }) {
  const highest = Number(Math.min(HIGHEST, rate / 2).toPrecision(6));
  const known = [fixed(result.heard_seconds, 3), result.window_count, pool];
  const cells = (row, place) => [
    place + 1, "Spectrogram 1", 1, fixed(row.start, 6), fixed(row.end, 6), 0, highest, file, file.split("/").at(-1), row.label,
    fixed(row.score, 6), ...known,
  ];
  return tabs(SELECTION) + rows.map((row, place) => tabs(cells(row, place))).join("");
}

/** By format: what it is called, the end of its files' names, and what writes it. */
export const WRITERS = {
  csv: { title: "CSV", suffix: ".csv", type: "text/csv", write: csv },
  audacity: { title: "Audacity", suffix: ".txt", type: "text/plain", write: audacity },
  raven: { title: "Raven", suffix: ".Table.1.selections.txt", type: "text/plain", write: raven },
};

/** What a table has of one adapter's result. `kind` is `events`, `windows` or `labels`, which are those of the whole recording. */
export function table(answer, name, kind) {
  const result = answer.results[name];
  const rows = {
    events: () => result.events.map(({ onset, offset, label, score }) => ({ start: onset, end: offset, label, score })),
    windows: () => result.windows.flatMap(({ start, end, labels }) => labels.map((one) => ({ start, end, ...one }))),
    labels: () => result.labels.map((one) => ({ start: 0, end: result.heard_seconds, ...one })),
  }[kind]();
  const pool = kind === "labels" ? result.pool : ""; // windows and events are not pooled
  return { file: answer.file, seconds: answer.seconds, rate: answer.sampling_rate, result, rows, pool };
}
