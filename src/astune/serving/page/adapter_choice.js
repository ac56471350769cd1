// The adapters of the server, of which the user chooses some.

import { adapters } from "./api.js";
import { byId, element } from "./element.js";
import { length, number } from "./words.js";

const MANY = 8; // from so many on, they can be searched

/** Which adapters there are and which are chosen. `onChange()` is called when that changes. */
export class AdapterChoice {
  known = new Map(); // what the server says of each, by name

  constructor(onChange) {
    this.onChange = onChange;
    this.box = byId("adapters");
    byId("refresh").addEventListener("click", () => this.refresh());
    byId("find").addEventListener("input", () => this.#find());
    this.box.addEventListener("change", () => this.#changed());
  }

  /** The names of the chosen adapters, in the order of the list. */
  get chosen() {
    return [...this.box.querySelectorAll("input:checked")].map((input) => input.value);
  }

  /** Seconds that every chosen adapter can take at a time. */
  get seconds() {
    return Math.min(...this.chosen.map((name) => this.known.get(name).seconds));
  }

  /** Ask the server again; what was chosen and is still there stays chosen. */
  async refresh() {
    const before = this.known.size ? new Set(this.chosen) : null;
    const fault = byId("adapters-fault");
    let answer;
    try {
      answer = await adapters();
    } catch (error) {
      fault.textContent = error.message;
      fault.hidden = false;
      this.box.querySelector("p")?.remove();
      return;
    }
    this.known = new Map(answer.adapters.map((info) => [info.name, info]));
    const broken = (answer.broken ?? []).map(({ name, error }) => `${name}: ${error}`);
    fault.textContent = broken.length ? `${number(broken.length, "adapter")} could not be loaded. ${broken.join(" ")}` : "";
    fault.hidden = !broken.length;
    const lines = answer.adapters.map((info, place) => this.#line(info, before ? before.has(info.name) : place === 0));
    const none = element("p", { class: "quiet" }, "The server has no adapter yet.");
    this.box.replaceChildren(this.box.querySelector("legend"), ...(lines.length ? lines : [none]));
    byId("find").hidden = lines.length < MANY;
    this.#find();
    this.#changed();
  }

  #line({ name, labels, seconds, method }, checked) {
    const input = element("input", { type: "checkbox", value: name, checked });
    const facts = `${number(labels.length, "label")}, hears ${length(seconds)} at a time, ${method}`;
    const line = element("label", { class: "check", title: labels.slice(0, 20).join(", ") }, input, element("span", {}, element("span", { class: "name", dir: "auto" }, name), element("span", { class: "quiet" }, facts)));
    line.sought = [name, method, ...labels].join("\n").toLowerCase();
    return line;
  }

  #find() {
    const sought = byId("find").value.trim().toLowerCase();
    for (const line of this.box.querySelectorAll("label")) line.hidden = !line.sought.includes(sought);
  }

  #changed() {
    byId("chosen").textContent = `${this.chosen.length} of ${number(this.known.size, "adapter")} chosen`;
    this.onChange();
  }
}
