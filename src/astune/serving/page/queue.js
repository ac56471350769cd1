// The sounds of the page, one line each, and which of them is shown.

import { button, byId, element } from "./element.js";
import { size } from "./words.js";

/** One sound: its file, what is going on with it, and the answer of the server once there is one. */
class Sound {
  answer = null;
  fault = null;
  madeWith = null; // the settings of the answer or the fault, as text

  constructor(file, name) {
    [this.file, this.name] = [file, name];
    this.state = element("span", { class: "state" }, "new");
    this.show = element("button", { type: "button", class: "show" }, element("span", { class: "name", dir: "auto" }, name), element("span", { class: "quiet" }, size(file.size)), this.state);
    this.remove = button("×", null, { class: "remove", "aria-label": `Remove ${name}` });
    this.line = element("li", {}, this.show, this.remove);
  }

  say(text, kind = "") {
    this.state.textContent = text;
    this.state.className = `state ${kind}`;
  }
}

/** All sounds. `onShow(sound)` is called when another is shown, or none; `onChange()` when sounds come or go. */
export class Queue {
  sounds = [];
  shown = null;

  constructor(onShow, onChange) {
    [this.onShow, this.onChange] = [onShow, onChange];
    this.list = byId("queue");
  }

  /** Add files, and show the first of them. `named` has their names where they have none of their own. */
  add(files, named = null) {
    const added = files.map((file) => new Sound(file, named ?? file.name));
    for (const sound of added) {
      sound.show.addEventListener("click", () => this.choose(sound));
      sound.remove.addEventListener("click", () => this.#remove(sound));
      this.list.append(sound.line);
    }
    this.sounds.push(...added);
    this.list.hidden = !this.sounds.length;
    if (added.length) this.choose(added[0]);
    this.onChange();
  }

  /** Show a sound; none where null. */
  choose(sound) {
    this.shown?.show.removeAttribute("aria-current");
    this.shown = sound;
    sound?.show.setAttribute("aria-current", "true");
    this.onShow(sound);
  }

  #remove(sound) {
    const place = this.sounds.indexOf(sound);
    sound.removed = true;
    this.sounds.splice(place, 1);
    sound.line.remove();
    this.list.hidden = !this.sounds.length;
    const next = this.sounds[Math.min(place, this.sounds.length - 1)] ?? null;
    (next?.remove ?? byId("choose")).focus(); // not lost with the button that had it
    if (this.shown === sound) this.choose(next);
    this.onChange();
  }
}
