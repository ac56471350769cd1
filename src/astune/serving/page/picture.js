// The waveform and the log-Mel spectrogram of a recording, on a canvas.

import { HOP, LogMel, RATE } from "./log_mel.js";
import { clock, length } from "./words.js";

const LONGEST = 1200; // seconds that are drawn: decoded, each hour takes 230 MB
const LARGEST = 300e6; // bytes
const WAVE = 0.3; // share of the height
const GAP = 6; // pixels
const FRAMES_A_COLUMN = 4; // at most, evenly spread: a pixel of a long recording has hundreds
const SLICE = 12; // milliseconds of work, after which the page may answer its user

const logMel = new LogMel();

/** The samples of a file at 16 kHz, one channel; throws an Error that says why there are none. */
export async function samplesOf(file, seconds) {
  if (seconds > LONGEST || file.size > LARGEST) {
    throw new Error(`Recordings longer than ${length(LONGEST)} are not drawn. They are analysed all the same.`);
  }
  let decoded;
  try {
    decoded = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error("This browser cannot play or draw this file. The server may read it all the same.");
  }
  const mixed = decoded.getChannelData(0).slice();
  for (let channel = 1; channel < decoded.numberOfChannels; channel += 1) {
    decoded.getChannelData(channel).forEach((sample, n) => { mixed[n] += sample; });
  }
  return decoded.numberOfChannels > 1 ? mixed.map((sample) => sample / decoded.numberOfChannels) : mixed;
}

/** What a picture shows, in words. */
export function description(samples) {
  let peak = 0;
  let where = 0;
  let power = 0;
  samples.forEach((sample, n) => {
    power += sample * sample;
    if (Math.abs(sample) > peak) [peak, where] = [Math.abs(sample), n];
  });
  const decibels = (value) => `${(20 * Math.log10(value)).toFixed(1).replace("-", "−")} dB`;
  const long = length(samples.length / RATE);
  if (!peak) return `Waveform and spectrogram of ${long}: silence.`;
  const level = decibels(Math.sqrt(power / samples.length));
  return `Waveform and spectrogram of ${long}: loudest at ${clock(where / RATE)} with ${decibels(peak)}, ${level} on average, of 0 dB at most.`;
}

const channels = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);

/** 256 colours from one colour of the page over others, as R, G, B. */
function ramp(canvas) {
  const style = getComputedStyle(canvas);
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const stops = ["--ramp-0", "--ramp-1", "--ramp-2", "--ramp-3"].map((name) => {
    probe.fillStyle = style.getPropertyValue(name).trim();
    probe.fillRect(0, 0, 1, 1);
    return channels(probe.getImageData(0, 0, 1, 1).data.join(" "));
  });
  return Array.from({ length: 256 }, (_, level) => {
    const at = (level / 256) * (stops.length - 1);
    const [low, high] = [stops[Math.floor(at)], stops[Math.floor(at) + 1]];
    return low.map((one, n) => Math.round(one + (high[n] - one) * (at % 1)));
  });
}

/** Draw. Stops when `current()` is false, because another recording was chosen or the page became wider. */
export async function draw(canvas, samples, current) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
  if (!width || !height) return;
  Object.assign(canvas, { width, height });
  const top = Math.round(height * WAVE);
  waveform(canvas, samples, width, top - GAP * scale);
  await spectrogram(canvas, samples, top, width, height - top, current);
}

function waveform(canvas, samples, width, height) {
  const pen = canvas.getContext("2d");
  pen.fillStyle = getComputedStyle(canvas).getPropertyValue("--accent");
  const loudest = samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 1e-4);
  for (let x = 0; x < width; x += 1) {
    const [first, last] = [Math.floor((x * samples.length) / width), Math.ceil(((x + 1) * samples.length) / width)];
    let [low, high] = [0, 0];
    for (let n = first; n < last; n += 1) {
      if (samples[n] < low) low = samples[n];
      if (samples[n] > high) high = samples[n];
    }
    const [up, down] = [(high / loudest) * (height / 2), (-low / loudest) * (height / 2)];
    pen.fillRect(x, height / 2 - up, 1, Math.max(1, up + down));
  }
}

async function spectrogram(canvas, samples, top, width, height, current) {
  const columns = await energies(samples, width, current);
  if (!columns) return;
  const colours = ramp(canvas);
  const [low, high] = range(columns);
  const image = new ImageData(width, height);
  for (let x = 0; x < width; x += 1) {
    for (let y = 0; y < height; y += 1) {
      const energy = columns[x][Math.floor(((height - 1 - y) * logMel.bins) / height)];
      const level = Math.max(0, Math.min(255, Math.round((255 * (energy - low)) / (high - low))));
      image.data.set(colours[level], 4 * (y * width + x));
      image.data[4 * (y * width + x) + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(image, 0, top);
}

/** Log-Mel energies for each column of pixels: the mean over some of its frames. */
async function energies(samples, width, current) {
  const frames = LogMel.frames(samples.length);
  const columns = [];
  let begun = performance.now();
  for (let x = 0; x < width; x += 1) {
    const [first, last] = [(x * frames) / width, ((x + 1) * frames) / width];
    const taken = Math.max(1, Math.min(FRAMES_A_COLUMN, Math.floor(last - first)));
    const mean = new Float32Array(logMel.bins);
    for (let n = 0; n < taken; n += 1) {
      const frame = Math.min(frames - 1, Math.floor(first + ((last - first) * n) / taken));
      logMel.frame(samples, frame * HOP).forEach((energy, bin) => { mean[bin] += energy / taken; });
    }
    columns.push(mean);
    if (performance.now() - begun < SLICE) continue;
    await new Promise((resolve) => setTimeout(resolve));
    if (!current()) return null;
    begun = performance.now();
  }
  return current() ? columns : null;
}

/** The energies that are drawn darkest and brightest: all but the lowest and highest few. */
function range(columns) {
  const sorted = Float32Array.from(columns.flatMap((column) => [...column.filter((_, bin) => bin % 4 === 0)])).sort();
  const low = sorted[Math.floor(sorted.length * 0.05)];
  return [low, Math.max(low + 1, sorted[Math.floor(sorted.length * 0.998)])];
}

