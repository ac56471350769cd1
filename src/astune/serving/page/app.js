// The page: sounds come in, the server labels them, results are shown. Everything is kept in this page and gone when it is closed.

import { AdapterChoice } from "./adapter_choice.js";
import { classify } from "./api.js";
import { byId, element } from "./element.js";
import { Queue } from "./queue.js";
import { Recorder } from "./recorder.js";
import { card } from "./results.js";
import { SoundView } from "./sound_view.js";
import { Timeline } from "./timeline.js";
import { length, number, score } from "./words.js";

let timelines = [];
let running = null; // an AbortController while sounds are analysed
let recorder = null;

const view = new SoundView((seconds) => timelines.forEach((one) => one.moveTo(seconds, true)));
const queue = new Queue(onShow, refresh);
const choice = new AdapterChoice(refresh);

const announce = (text) => { byId("status").textContent = text; };

/** A number that the user typed, as text; null where the field is empty. */
const typed = (id) => byId(id).value.trim() || null;

/** What the server is asked for. */
function settings() {
  const timeline = byId("timeline").checked;
  const [window, hop, events] = [typed("window"), typed("hop"), byId("events").checked];
  const byWindow = timeline || events;
  return {
    adapters: choice.chosen, topK: typed("top-k") ?? "5", threshold: typed("threshold"), events: events ? "true" : null,
    window: byWindow ? window ?? (timeline ? String(choice.seconds) : null) : null, hop: byWindow ? hop : null,
  };
}

/** The sounds that have no result yet, or one that was made with other settings. */
function waiting() {
  const asked = JSON.stringify(settings());
  return queue.sounds.filter((sound) => sound.madeWith !== asked);
}

/** Bring the button and the hints in line with what is chosen. */
function refresh() {
  const count = choice.chosen.length ? waiting().length : 0;
  const analyse = byId("analyse");
  analyse.disabled = !count || running !== null;
  analyse.textContent = count > 1 ? `Analyse ${count} sounds` : "Analyse";
  const stale = queue.shown?.answer && queue.shown.madeWith !== JSON.stringify(settings());
  byId("answer").querySelector(".stale")?.toggleAttribute("hidden", !stale);
  if (choice.known.size && choice.chosen.length) byId("window").placeholder = Number(choice.seconds.toFixed(3));
}

function onShow(sound) {
  view.show(sound?.file ?? null);
  showAnswer(sound);
}

function showAnswer(sound) {
  const place = byId("answer");
  timelines = [];
  if (!sound || (!sound.answer && !sound.fault)) {
    const hint = sound ? "This sound is not analysed yet." : "Nothing yet. Record or choose a sound, then analyse it.";
    place.replaceChildren(element("p", { class: "quiet" }, hint));
    return;
  }
  if (sound.fault) {
    place.replaceChildren(element("p", { class: "fault" }, `${sound.name}: ${sound.fault}`));
    return;
  }
  const { answer } = sound;
  const names = Object.keys(answer.results);
  const long = names.filter((name) => answer.results[name].windows?.length > 1 || answer.results[name].events);
  timelines = long.map((name) => new Timeline(answer, name, view));
  const doubts = (answer.doubts ?? []).map((doubt) => element("li", {}, doubt));
  place.replaceChildren(
    element("p", { class: "file" }, element("span", { class: "name", dir: "auto" }, answer.file), element("span", { class: "quiet" }, length(answer.seconds))),
    element("p", { class: "stale quiet", role: "note", hidden: true }, "You changed what to find. Analyse again to bring this up to date."),
    ...(doubts.length ? [element("ul", { class: "doubts", "aria-label": "What to know of this sound" }, doubts)] : []),
    element("div", { class: "cards" }, names.map((name) => card(answer, name, choice.known.get(name)))),
    ...timelines.map((one) => one.element),
  );
  timelines.forEach((one) => one.draw());
  refresh();
}

/** The first label by each adapter, as it is read out. */
function spoken({ results }) {
  return Object.entries(results).map(([name, { labels }]) => `${name}: ${labels.length ? `${labels[0].label} ${score(labels[0].score)}` : "nothing"}`).join("; ");
}

async function analyseOne(sound, asked, signal) {
  const bar = byId("bar");
  const on = {
    upload(share) {
      bar.value = share;
      if (share === 1) bar.removeAttribute("value"); // how long computing takes is not known
      sound.say(share < 1 ? `uploading ${Math.round(100 * share)} %` : "computing…", "busy");
    },
    wait(seconds) { sound.say(`server busy, again in ${length(seconds)}`, "busy"); },
  };
  on.upload(0);
  try {
    const answer = await classify(sound.file, sound.name, asked, on, signal);
    // The name as the user knows it: forms have no quotes and line breaks in names, and send escapes of them.
    [sound.answer, sound.fault] = [{ ...answer, file: sound.name }, null];
    sound.say("done", "done");
    announce(`${sound.name} is done. ${spoken(sound.answer)}`);
  } catch (fault) {
    if (signal.aborted) {
      sound.say("stopped");
      throw fault;
    }
    [sound.answer, sound.fault] = [null, fault.message];
    sound.say("failed", "failed");
    announce(`${sound.name} failed. ${fault.message}`);
  }
  sound.madeWith = JSON.stringify(asked);
  if (queue.shown === sound) showAnswer(sound);
}

async function analyse() {
  const invalid = document.querySelector("#asked input:invalid");
  if (invalid) {
    invalid.closest("details").open = true;
    invalid.reportValidity();
    return;
  }
  const asked = settings();
  const sounds = waiting();
  running = new AbortController();
  byId("stop").hidden = byId("progress").hidden = false;
  refresh();
  sounds.forEach((sound) => sound.say("waiting"));
  try {
    for (const [place, sound] of sounds.entries()) {
      if (sound.removed) continue;
      announce(sounds.length > 1 ? `Sound ${place + 1} of ${sounds.length}: ${sound.name}` : `Analysing ${sound.name}`);
      await analyseOne(sound, asked, running.signal);
    }
    if (sounds.length > 1) announce(`${number(sounds.length, "sound")} done${failures(sounds)}`);
  } catch (fault) {
    if (!running.signal.aborted) throw fault;
    announce("Stopped.");
    sounds.filter((sound) => sound.madeWith !== JSON.stringify(asked)).forEach((sound) => sound.say("stopped"));
  } finally {
    running = null;
    byId("stop").hidden = byId("progress").hidden = true;
    refresh();
  }
}

function failures(sounds) {
  const failed = sounds.filter((sound) => sound.fault).length;
  return failed ? `, ${failed} of them failed` : "";
}

async function record() {
  const [control, fault] = [byId("record"), byId("microphone-fault")];
  if (recorder) {
    stopRecording();
    return;
  }
  fault.hidden = true;
  control.disabled = true;
  try {
    recorder = await Recorder.start(onLevel, stopRecording);
  } catch (error) {
    fault.textContent = error.message;
    fault.hidden = false;
  }
  control.disabled = false;
  control.focus();
  if (!recorder) return;
  onLevel(0, 0);
  byId("level").hidden = false;
  byId("record-text").textContent = "Stop recording";
  control.classList.add("recording");
  announce("Recording.");
}

function onLevel(peak, seconds) {
  byId("peak").value = peak;
  byId("clock").textContent = `${seconds.toFixed(1)} s`;
}

function stopRecording() {
  const { seconds } = recorder;
  const file = recorder.stop();
  recorder = null;
  byId("level").hidden = true;
  byId("record-text").textContent = "Record";
  byId("record").classList.remove("recording");
  announce(file ? `Recorded ${length(seconds)}.` : "The microphone gave no sound. Check that it is switched on.");
  if (file) queue.add([file], `recording ${new Date().toTimeString().slice(0, 8).replaceAll(":", "-")}.wav`);
}

function listenToDrops() {
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0; // of elements that the pointer has entered
  const mark = (change) => (event) => {
    if (!holdsFiles(event)) return;
    depth += change;
    document.body.classList.toggle("dropping", depth > 0);
  };
  document.addEventListener("dragenter", mark(1));
  document.addEventListener("dragleave", mark(-1));
  document.addEventListener("dragover", (event) => { if (holdsFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dropping");
    queue.add([...event.dataTransfer.files]);
  });
}

function redraw() {
  view.draw();
  timelines.forEach((one) => one.draw());
}

byId("record").addEventListener("click", record);
byId("choose").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", ({ target }) => {
  queue.add([...target.files]);
  target.value = ""; // the same file may be chosen again
});
byId("asked").addEventListener("input", refresh);
byId("analyse").addEventListener("click", analyse);
byId("stop").addEventListener("click", () => running?.abort());
listenToDrops();
let resized = 0;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(redraw, 150);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
choice.refresh();
