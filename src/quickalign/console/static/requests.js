// Requests to the server of this page. What it refuses becomes an Error with the sentence and its remedy.

export const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";

/** The JSON answer of `path`; null where the answer is that nothing is new. */
export async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (body !== undefined && !(body instanceof FormData)) headers["Content-Type"] = "application/json";
  const plain = body === undefined || body instanceof FormData ? body : JSON.stringify(body);
  const answer = await fetch(path, { method, headers, body: plain, signal, credentials: "same-origin" });
  return answer.status === 204 ? null : unpack(answer.status, await answer.json());
}

/** The value of an answer, or the error that it is. */
export function unpack(status, value) {
  if (status === 401) window.location.assign(`/console/signin?next=${encodeURIComponent(window.location.pathname + window.location.search)}`);
  const problem = value.problem ?? (status >= 400 ? { message: value.detail ?? `HTTP ${status}`, remedy: value.remedy } : null);
  if (problem) {
    // nothing stands behind a wide full stop
    const gap = /[\x20-\x7e]$/.test(problem.message) ? " " : "";
    throw new Error([problem.message, problem.remedy].filter(Boolean).join(gap));
  }
  return value;
}
