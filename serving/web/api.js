// What the page asks of the service. EventSource and <img> send no headers, so all goes through fetch, with the key.
const KEY = "atoll-api-key";

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status; // 0: nobody answers
  }
}

export const keepKey = (key) => sessionStorage.setItem(KEY, key);

async function ask(path, method = "GET", body = undefined) {
  const headers = {}, key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${encodeURIComponent(key)}`; // a header takes no letter of a mistyped one
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Refused("The service does not answer; it has ended, or cannot be reached from here.", 0);
  }
  if (!answer.ok) throw new Refused(await reasonOf(answer), answer.status);
  return answer;
}

export function sentence(words) {
  const text = words.trim();
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

async function reasonOf(answer) {
  const told = await answer.json().catch(() => null);
  const reason = sentence(told?.error?.message ?? `The service answered ${answer.status} without a reason`);
  const wait = answer.headers.get("Retry-After");
  return wait ? `${reason} Try again in ${wait} s.` : reason;
}

export const modelServed = async () => (await (await ask("v1/models")).json()).data[0];

export const expertsServed = async () => (await ask("v1/experts")).json();

export const order = async (body) => (await ask("v1/jobs", "POST", body)).json();

export const cancel = (id) => ask(`v1/jobs/${id}`, "DELETE");

export const image = async (id, index) => (await ask(`v1/jobs/${id}/images/${index}.png`)).blob();

export const preview = async (id, index) => (await ask(`v1/jobs/${id}/previews/${index}.png`)).blob();

export async function* views(id) {
  // Where a job stands, again and again; once for all that came in one piece.
  const answer = await ask(`v1/jobs/${id}/events`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = "", job = null;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const messages = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = messages.pop();
    const told = messages.map(eventOf).filter(({ data }) => data);
    job = told.reduce((known, { event, data }) => event === "job" ? JSON.parse(data) : changed(known, JSON.parse(data)), job);
    if (told.length) yield job;
  }
}

function eventOf(message) {
  const of = (field) => message.split("\n").filter((line) => line.startsWith(`${field}: `))
    .map((line) => line.slice(field.length + 2)).join("\n");
  return { event: of("event"), data: of("data") };
}

function changed(job, changes) {
  const images = [...job.images];
  for (const { weights, ...image } of changes.images) {
    const known = images[image.index];
    images[image.index] = { ...known, ...image, weights: [...known.weights, ...weights] };
  }
  return { ...job, ...changes, images };
}
