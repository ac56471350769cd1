// The microphone: from the first to the last sample, in the page's memory alone.

import { wavFile } from "./wav.js";

export const LONGEST = 600; // seconds of a recording; at 48 kHz that is 115 MB

// What calls improve for ears (echo, noise, loudness) changes the sounds that a model was trained on.
const UNCHANGED = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

const WHY = {
  NotAllowedError: "The browser does not allow this page to use the microphone. Allow it in the address bar, then record again.",
  NotFoundError: "No microphone was found. Connect one, or choose a file.",
  NotReadableError: "The microphone is used by another program. Close that program, then record again.",
};

/** A recording in progress. */
export class Recorder {
  #blocks = [];
  #count = 0;
  #context;
  #stream;
  #last;

  /** Start one. `onLevel(peak, seconds)` is called often; `onFull()` once, when the recording is as long as it may be. */
  static async start(onLevel, onFull) {
    if (!navigator.mediaDevices || !window.AudioWorkletNode) {
      throw new Error("Browsers give the microphone only to pages on https:// or localhost. Open this page there, or choose a file.");
    }
    const recorder = new Recorder();
    try {
      recorder.#stream = await navigator.mediaDevices.getUserMedia({ audio: UNCHANGED });
      await recorder.#listen(onLevel, onFull);
    } catch (fault) {
      recorder.#close();
      throw new Error(WHY[fault.name] ?? `The microphone cannot be used: ${fault.message}`);
    }
    return recorder;
  }

  async #listen(onLevel, onFull) {
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule(new URL("microphone_worklet.js", import.meta.url));
    const node = new AudioWorkletNode(this.#context, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    const most = LONGEST * this.#context.sampleRate;
    node.port.onmessage = ({ data }) => {
      if (this.#count >= most) return;
      this.#blocks.push(data);
      this.#count += data.length;
      onLevel(data.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0), this.seconds);
      if (this.#count >= most) onFull();
    };
    this.#last = node;
    this.#context.createMediaStreamSource(this.#stream).connect(node);
    await this.#context.resume();
  }

  get seconds() {
    return this.#context ? this.#count / this.#context.sampleRate : 0;
  }

  /** End it. Gives a WAV file, or null where no sound came. */
  stop() {
    const rate = this.#context.sampleRate;
    this.#close();
    if (!this.#count) return null;
    const samples = new Float32Array(this.#count);
    let at = 0;
    for (const block of this.#blocks) {
      samples.set(block, at);
      at += block.length;
    }
    return wavFile(samples, rate);
  }

  #close() {
    if (this.#last) this.#last.port.onmessage = null;
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#context?.close();
  }
}
