// The server's JSON API. Whatever goes wrong is a Refused (the server says why) or a Gone (nobody answers).

export class Refused extends Error {
  constructor(status, { error, code } = {}, wait = null) {
    super(error ?? `The server answered ${status} without a reason.`);
    Object.assign(this, { status, code: code ?? "", wait });
  }
}

export class Gone extends Error {}

export async function get(path, { signal } = {}) {
  const response = await reach(path, { signal });
  const body = await response.json().catch(() => ({}));
  signal?.throwIfAborted();
  if (!response.ok) throw new Refused(response.status, body, response.headers.get("Retry-After"));
  return body;
}

export const forget = (path) => reach(path, { method: "DELETE", keepalive: true }).catch(() => null);

async function reach(path, options) {
  try {
    return await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Gone();
  }
}

// fetch does not tell how far an upload is: XMLHttpRequest does. Where the answer is something that the server keeps,
// `onLate` is told of one that comes after the signal.
export function send(path, parts, { signal, onProgress, onSent, onLate }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const aborted = () => reject(new DOMException("cancelled", "AbortError"));
    request.open("POST", path);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    let sent = false;
    request.upload.onload = () => ((sent = true), onSent());
    request.onload = () => {
      if (signal.aborted) onLate?.(request.response);
      else if (request.status >= 200 && request.status < 300 && request.response) resolve(request.response);
      else reject(new Refused(request.status, request.response ?? {}, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(new Gone());
    request.onabort = aborted;
    signal.addEventListener("abort", () => (sent && onLate ? aborted() : request.abort()));
    const form = new FormData();
    for (const [name, value] of parts) form.append(name, value);
    request.send(form);
  });
}

export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });
}
