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
  if (key) headers.Authorization = `Bearer ${key}`;
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

export const order = async (body) => (await ask("v1/jobs", "POST", body)).json();

export const cancel = (id) => ask(`v1/jobs/${id}`, "DELETE");

export const image = async (id, index) => (await ask(`v1/jobs/${id}/images/${index}.png`)).blob();

export const preview = async (id, index) => (await ask(`v1/jobs/${id}/previews/${index}.png`)).blob();

export async function* views(id) {
  // Where a job stands, again and again. What came in one piece is old but for its last.
  const answer = await ask(`v1/jobs/${id}/events`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = "";;) {
    const { value, done } = await reader.read();
    if (done) return;
    const messages = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = messages.pop();
    const data = messages.map(dataOf).filter(Boolean);
    if (data.length) yield JSON.parse(data.at(-1));
  }
}

const dataOf = (message) => message.split("\n").filter((line) => line.startsWith("data:"))
  .map((line) => line.slice(5)).join("\n");
