// Where experts are served, if that is elsewhere.
import { expertsServed } from "./api.js";
import { byId, count, html } from "./element.js";

const EVERY_MS = 5000;

const title = ({ expert, servers, rows_per_s, busy, wanted }) =>
  `Expert ${expert}: ${count(servers, "server")}, ${rows_per_s.toFixed(1)} rows a second`
  + (busy === null ? "" : `, which take ${Math.round(100 * busy)}% of the time of one`)
  + (wanted > servers ? `; ${count(wanted - servers, "more", "more")} would be well` : "");

function state({ servers, wanted }) {
  if (servers === 0) return "gone";
  return wanted > servers ? "short" : "well";
}

const line = (it) => html("li", { class: state(it) }, title(it));

async function look() {
  const { data } = await expertsServed().catch(() => ({ data: [] }));
  byId("experts").hidden = data.length === 0;
  byId("experts-list").replaceChildren(...data.map(line));
  const gone = data.filter(({ servers }) => servers === 0).length;
  byId("experts-summary").textContent = gone ? `Experts elsewhere: ${gone} of ${data.length} cannot be had` : "Experts elsewhere";
  return data.length > 0;
}

export async function watchExperts() {
  if (await look()) setInterval(look, EVERY_MS); // else the service holds them itself
}
