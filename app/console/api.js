// Asks the gateway. Keys live in this tab's sessionStorage and travel in the Authorization header, nowhere else.

const ROOT = location.pathname.replace(/\/console\/?$/, "");

export class Fault extends Error {
  constructor(status, message, callId) {
    super(message);
    this.status = status;
    this.callId = callId;
  }
}

// name: `key`, of a tenant, or `admin`.
export const keys = {
  get: (name) => sessionStorage.getItem(`penstock.${name}`) ?? "",
  set: (name, value) => (value
    ? sessionStorage.setItem(`penstock.${name}`, value)
    : sessionStorage.removeItem(`penstock.${name}`)),
};

async function send(path, { method = "GET", body, as = "key", headers = {}, signal } = {}) {
  const key = keys.get(as);
  if (!key) throw new Fault(401, as === "key" ? "Enter an API key first." : "Enter the admin key first.");
  const answer = await fetch(ROOT + path, {
    method,
    headers: {
      Authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "omit",
    signal,
  });
  if (!answer.ok) {
    const said = await answer.json().catch(() => null);
    const message = said?.error?.message ?? `The gateway answered ${answer.status}.`;
    throw new Fault(answer.status, message, answer.headers.get("x-penstock-call"));
  }
  return answer;
}

export const ask = async (path, options) => (await send(path, options)).json();
export const admin = (method, path, body) => ask(`/admin/v1${path}`, { method, body, as: "admin" });

// A chat completion as it streams: first { callId }, then each chunk's JSON. Throws Fault, also for an error in the stream.
export async function* chat(body, options) {
  const answer = await send("/v1/chat/completions", { ...options, method: "POST", body: { ...body, stream: true } });
  const callId = answer.headers.get("x-penstock-call");
  yield { callId };
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ") || event === "data: [DONE]") continue;
      const chunk = JSON.parse(event.slice(6));
      if (chunk.error) throw new Fault(200, chunk.error.message, callId);
      yield chunk;
    }
  }
}

// What happened to a call. It is written when the answer ends; a call that was stopped is written a moment later.
export async function insight(callId) {
  for (const wait of [0, 300, 1500]) {
    if (wait) await new Promise((done) => setTimeout(done, wait));
    try {
      return await ask(`/v1/penstock/calls/${encodeURIComponent(callId)}`);
    } catch (error) {
      if (error.status !== 404) throw error;
    }
  }
  return null;
}
