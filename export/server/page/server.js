// Calls of the server that serves this page.

const model = new URLSearchParams(location.search).get("model");
const query = model === null ? "" : `?model=${encodeURIComponent(model)}`;
const TIMEOUT = 60000; // milliseconds

/** A call that failed: `code` is gRPC's, or "OFFLINE"; the message is for people. */
export class CallError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const WORDS = {
  OFFLINE: "The server does not answer. Is it still running?",
  UNAVAILABLE: "The server is not available just now. Try again.",
  DEADLINE_EXCEEDED: "The server took too long. Draw fewer samples at once.",
};

/** What a person is told; "assertion failed: [x must ...; values:] [3]" becomes "x must ...; values: 3". */
function words(code, message) {
  if (code in WORDS) return WORDS[code];
  if (message === "Server Threadpool Exhausted") return "The server answers as many calls at once as it may. Try again in a moment.";
  const refused = /assertion failed: \[(.*?)\]\s*([^\n]*)/.exec(message);
  if (!refused) return message;
  const values = refused[2].replace(/\[\[.*$/, "").replace(/[[\]]/g, " ").trim();
  return `The server refuses this: ${refused[1]} ${values}`;
}

async function answer(path, options) {
  let response, body;
  try {
    response = await fetch(path + query, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
    body = await response.json();
  } catch (error) {
    const code = error.name === "TimeoutError" ? "DEADLINE_EXCEEDED" : "OFFLINE";
    throw new CallError(code, words(code, String(error)));
  }
  if (body.error) throw new CallError(body.error.code, words(body.error.code, body.error.message));
  return body;
}

/** Signatures and facts of the model. */
export const describe = () => answer("model");

/** One call of a signature; inputs and outputs are nested lists. */
export async function call(signature, inputs, outputs = []) {
  const body = JSON.stringify({ inputs, output_filter: outputs });
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body, keepalive: body.length < 60000 };
  return (await answer(`api/${encodeURIComponent(signature)}`, options)).outputs;
}
