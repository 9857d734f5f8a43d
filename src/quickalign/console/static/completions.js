// An answer of a service, piece by piece, over the same protocol that any other program uses.
import { ask } from "./requests.js";

const tokens = new Map();

async function tokenOf(service) {
  if (!tokens.has(service)) tokens.set(service, (await ask(`/console/services/${encodeURIComponent(service)}/token`, { method: "POST" })).token);
  return tokens.get(service);
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split(/\r?\n\r?\n/);
    held = parts.pop();
    for (const part of parts) {
      for (const line of part.split(/\r?\n/)) if (line.startsWith("data:")) yield line.slice(5).trim();
    }
  }
}

/** A refusal of a service, which speaks English, in the reader's language. */
async function refusal(text) {
  if (document.documentElement.lang === "en") return new Error(text);
  const body = new FormData();
  body.set("text", text);
  const said = await ask("/console/chat/said", { method: "POST", body }).catch(() => ({ text }));
  return new Error(said.text);
}

/** Asks `service`; `onText` gets each piece. Returns {tokens, seconds, first}: counts and times in seconds. */
export async function complete(service, messages, sampling, signal, onText) {
  const begun = performance.now();
  const answer = await fetch(`/services/${encodeURIComponent(service)}/v1/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${await tokenOf(service)}` },
    body: JSON.stringify({ model: "default", messages, stream: true, stream_options: { include_usage: true }, ...sampling }),
    signal,
  });
  if (!answer.ok) {
    tokens.delete(service);
    const body = await answer.json().catch(() => ({}));
    throw await refusal(body.error?.message ?? `HTTP ${answer.status}`);
  }
  let [first, count] = [null, 0];
  for await (const data of events(answer.body)) {
    if (data === "[DONE]") break;
    const piece = JSON.parse(data);
    if (piece.error) throw await refusal(piece.error.message);
    if (piece.usage) count = piece.usage.completion_tokens;
    const text = piece.choices?.[0]?.delta?.content;
    if (text) { first ??= performance.now(); onText(text); }
  }
  const now = performance.now();
  return { tokens: count, seconds: (now - (first ?? begun)) / 1000, first: ((first ?? now) - begun) / 1000 };
}
