// The service's API, relative to the page: its model, and a chat as a stream.

class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function refusal(answer) {
  const body = await answer.json().catch(() => null);
  return new ApiError(answer.status, body?.error?.message ?? `The server answered with ${answer.status}.`);
}

async function request(path, token, options = {}) {
  try {
    const headers = { Authorization: `Bearer ${token}`, ...options.headers };
    const answer = await fetch(path, { ...options, headers, cache: "no-store" });
    if (!answer.ok) throw await refusal(answer);
    return answer;
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached.");
  }
}

/** What the service's model is. */
export async function describe(token) {
  return (await request("v1/models/default", token)).json();
}

/** The chunks of an answer, as they come; ends with an error where the answer was not completed. */
export async function* chat(token, body, signal) {
  const answer = await request("v1/chat/completions", token, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model: "default", stream: true, stream_options: { include_usage: true }, ...body }),
    signal,
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new ApiError(0, "The answer broke off.");
    held += value;
    const events = held.split("\n\n");
    held = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(0, chunk.error.message);
      yield chunk;
    }
  }
}
