// Log-Mel energies as astune's own front end computes them: 25 ms symmetric Hann window every 10 ms at 16 kHz, no dither, the mean
// taken off and 0.97 pre-emphasis within each frame, 512 points, triangular filters from 20 Hz to 8 kHz on Kaldi's mel scale.
// tests/browser compares them with the Python ones.

export const RATE = 16_000; // Hz
export const FRAME = 400; // samples
export const HOP = 160; // samples
const POINTS = 512;
const HALF = POINTS / 2;
const FLOOR = 1.192092955078125e-7;
const PREEMPHASIS = 0.97;
const LOWEST = 20; // Hz

const mel = (hertz) => 1127 * Math.log1p(hertz / 700);

/** Triangular filters, each as the first frequency that it weighs and the weights from there on. */
function melFilters(bins) {
  const low = mel(LOWEST);
  const step = (mel(RATE / 2) - low) / (bins + 1);
  return Array.from({ length: bins }, (_, bin) => {
    const [left, centre, right] = [low + bin * step, low + (bin + 1) * step, low + (bin + 2) * step];
    let first = HALF + 1;
    const weights = [];
    for (let point = 0; point <= HALF; point += 1) {
      const here = mel((point * RATE) / POINTS);
      const weight = Math.min((here - left) / (centre - left), (right - here) / (right - centre));
      if (weight <= 0) continue;
      first = Math.min(first, point);
      weights[point - first] = weight;
    }
    return { first, weights: Float64Array.from(weights) };
  });
}

/** The places of a radix-2 transform: where each point goes, and the sines that it needs. */
function transform() {
  const order = new Uint16Array(POINTS);
  for (let point = 1; point < POINTS; point += 1) order[point] = (order[point >> 1] >> 1) | (point & 1 ? HALF : 0);
  const cosines = Float64Array.from({ length: HALF }, (_, k) => Math.cos((2 * Math.PI * k) / POINTS));
  const sines = Float64Array.from({ length: HALF }, (_, k) => -Math.sin((2 * Math.PI * k) / POINTS));
  return { order, cosines, sines };
}

/** Turns samples into log-Mel energies; made once for a number of bins. */
export class LogMel {
  constructor(bins = 128) {
    this.bins = bins;
    this.filters = melFilters(bins);
    this.window = Float64Array.from({ length: FRAME }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / (FRAME - 1)));
    this.plan = transform();
    this.real = new Float64Array(POINTS);
    this.imaginary = new Float64Array(POINTS);
  }

  /** How many frames there are in so many samples. */
  static frames(samples) {
    return 1 + Math.max(0, Math.floor((samples - FRAME) / HOP));
  }

  /** The energies of one frame, (bins,), from the sample `start` on; what lies behind the end is silence. */
  frame(samples, start) {
    const { real, imaginary, window } = this;
    const at = (n) => samples[start + n] ?? 0;
    let sum = 0;
    for (let n = 0; n < FRAME; n += 1) sum += at(n);
    const direct = (1 - PREEMPHASIS) * (sum / FRAME);
    real.fill(0);
    imaginary.fill(0);
    for (let n = 1; n < FRAME; n += 1) real[n - 1] = (at(n) - PREEMPHASIS * at(n - 1) - direct) * window[n];
    this.#fourier();
    const energies = new Float32Array(this.bins);
    for (let bin = 0; bin < this.bins; bin += 1) {
      const { first, weights } = this.filters[bin];
      let energy = 0;
      for (let k = 0; k < weights.length; k += 1) {
        const point = first + k;
        energy += weights[k] * (real[point] * real[point] + imaginary[point] * imaginary[point]);
      }
      energies[bin] = Math.log(Math.max(energy, FLOOR));
    }
    return energies;
  }

  /** The energies of all frames, as an array of (bins,). */
  energies(samples) {
    return Array.from({ length: LogMel.frames(samples.length) }, (_, number) => this.frame(samples, number * HOP));
  }

  #fourier() {
    const { real, imaginary } = this;
    const { order, cosines, sines } = this.plan;
    for (let point = 0; point < POINTS; point += 1) {
      const other = order[point];
      if (other > point) [real[point], real[other]] = [real[other], real[point]]; // the imaginary parts are all 0
    }
    for (let width = 2; width <= POINTS; width *= 2) {
      const half = width / 2;
      const stride = POINTS / width;
      for (let begin = 0; begin < POINTS; begin += width) {
        for (let k = 0; k < half; k += 1) {
          const [low, high] = [begin + k, begin + k + half];
          const [cosine, sine] = [cosines[k * stride], sines[k * stride]];
          const re = real[high] * cosine - imaginary[high] * sine;
          const im = real[high] * sine + imaginary[high] * cosine;
          real[high] = real[low] - re;
          imaginary[high] = imaginary[low] - im;
          real[low] += re;
          imaginary[low] += im;
        }
      }
    }
  }
}
