// The chosen sound: its picture and its player.

import { byId } from "./element.js";
import { description, draw, samplesOf } from "./picture.js";

/** Shows one sound at a time. `onTime(seconds)` is called while it plays. */
export class SoundView {
  #url = null;
  #samples = null;
  #turn = 0;

  constructor(onTime) {
    this.onTime = onTime;
    this.audio = byId("player");
    this.canvas = byId("picture");
    this.playhead = byId("picture-frame").querySelector(".playhead");
    this.audio.addEventListener("timeupdate", () => this.#move());
    this.audio.addEventListener("seeked", () => this.#move());
    this.audio.addEventListener("play", () => this.#follow());
    this.canvas.addEventListener("click", ({ offsetX }) => this.play((offsetX / this.canvas.clientWidth) * (this.audio.duration || 0)));
  }

  /** Show a file; none where null. */
  async show(file) {
    this.#turn += 1;
    const turn = this.#turn;
    this.audio.pause();
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#samples = null;
    byId("view").hidden = !file;
    if (!file) {
      this.audio.removeAttribute("src");
      this.#url = null;
      return;
    }
    this.#url = URL.createObjectURL(file);
    const known = new Promise((resolve) => {
      this.audio.onloadedmetadata = () => resolve(this.audio.duration);
      this.audio.onerror = () => resolve(null);
    });
    this.audio.src = this.#url;
    this.canvas.width = this.canvas.clientWidth; // which clears it
    byId("picture-note").textContent = "Drawing…";
    const seconds = await known;
    if (turn !== this.#turn) return;
    this.audio.hidden = seconds === null;
    try {
      this.#samples = await samplesOf(file, seconds);
    } catch (fault) {
      if (turn === this.#turn) this.#undrawn(fault.message);
      return;
    }
    if (turn === this.#turn) await this.draw();
  }

  #undrawn(why) {
    byId("picture-frame").hidden = true;
    byId("picture-note").textContent = why;
  }

  /** Draw, again where the page became wider or its colours changed. */
  async draw() {
    const samples = this.#samples;
    if (!samples) return;
    this.#turn += 1;
    const turn = this.#turn;
    byId("picture-frame").hidden = false;
    const words = description(samples);
    this.canvas.setAttribute("aria-label", words);
    await draw(this.canvas, samples, () => turn === this.#turn);
    if (turn === this.#turn) byId("picture-note").textContent = "Waveform, and energy from 20 Hz (below) to 8 kHz (above). Click to play from there.";
  }

  #move() {
    const share = this.audio.duration ? this.audio.currentTime / this.audio.duration : 0;
    this.playhead.style.left = `${100 * share}%`;
    this.onTime(this.audio.currentTime);
  }

  #follow() {
    const step = () => {
      this.#move();
      if (!this.audio.paused) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** Go to a moment. */
  seek(seconds) {
    if (!this.audio.hidden) this.audio.currentTime = Math.min(seconds, this.audio.duration || seconds);
  }

  /** Play from a moment on. */
  play(seconds) {
    if (this.audio.hidden) return;
    this.seek(seconds);
    this.audio.play().catch(() => {}); // a newer wish came first
  }

  /** Pause, or play from a moment on. */
  toggle(seconds) {
    if (this.audio.paused) this.play(seconds);
    else this.audio.pause();
  }
}
