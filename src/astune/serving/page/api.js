// What the page asks of the server that it came from.

const MOST_WAITS = 20; // times that a busy server is asked again

/** An answer that is no result: its words, and the seconds after which to ask again where the server names them. */
export class Refusal extends Error {
  constructor(message, retryAfter = null) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

function refusal(status, answer, retryAfter) {
  // A proxy between the page and the server answers in HTML, which is no `answer`.
  const message = answer?.error?.message ?? `The answer of the server cannot be read (status ${status}).`;
  return new Refusal(message, status === 429 ? Math.max(1, Number(retryAfter) || 1) : null);
}

const UNREACHABLE = "The server cannot be reached. Check that it runs and that this device is connected, then try again.";

/** The adapters that the server has, and those that it could not load: `{adapters: [...], broken: [...]}`. */
export async function adapters() {
  let answer;
  try {
    answer = await fetch("v1/adapters", { headers: { accept: "application/json" } });
  } catch {
    throw new Refusal(UNREACHABLE);
  }
  const found = await answer.json().catch(() => null);
  if (!answer.ok || !found) throw refusal(answer.status, found, null);
  return found;
}

/** Send a form once. `fetch` does not say how much of an upload has gone. */
function send(form, onUpload, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    signal.addEventListener("abort", stop);
    request.open("POST", "v1/classify");
    request.setRequestHeader("accept", "application/json");
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => onUpload(loaded / total);
    request.upload.onload = () => onUpload(1);
    request.onload = () => {
      if (request.status === 200 && request.response) resolve(request.response);
      else reject(refusal(request.status, request.response, request.getResponseHeader("retry-after")));
    };
    request.onerror = () => reject(new Refusal(UNREACHABLE));
    request.onabort = () => reject(new DOMException("Stopped", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", stop);
    request.send(form);
  });
}

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("Stopped", "AbortError"));
    }, { once: true });
  });

/**
 * Classify a file.
 *
 * `settings` has `adapters`, `topK`, and `window`, `hop`, `threshold` and `events` where they are asked for. `on` has `upload(share)`,
 * called while the file goes to the server, and `wait(seconds)`, called when the server is busy and will be asked again.
 */
export async function classify(file, name, settings, on, signal) {
  for (let waits = 0; ; waits += 1) {
    const form = new FormData();
    for (const adapter of settings.adapters) form.append("adapter", adapter);
    form.append("top_k", settings.topK);
    for (const field of ["window", "hop", "threshold", "events"]) if (settings[field] !== null) form.append(field, settings[field]);
    form.append("file", file, name); // last: a server that refuses a field needs not wait for it
    try {
      return await send(form, on.upload, signal);
    } catch (fault) {
      if (!fault.retryAfter || waits === MOST_WAITS) throw fault;
      on.wait(fault.retryAfter);
      await pause(fault.retryAfter, signal);
    }
  }
}
