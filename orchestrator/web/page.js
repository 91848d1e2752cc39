// The dashboard: asks for the fleet every second and shows what it hears. No build step.
import { clock, colourOf, drawLosses, drawTimeline, element, isBad, leasesIn, legendOf } from "/charts.js";

const EVERY_MS = 1000, AT_ONCE = 1000; // as many events as an answer holds
const MOST_EVENTS = 5000, MOST_LINES = 300, MOST_CHECKPOINTS = 5;
let events = [], last = -1, fleet = null, losses = {};
const grids = new Map();

const byId = (id) => document.getElementById(id);
const many = (number) => number.toLocaleString("en");

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

function head(job) {
  const name = element("th", undefined, { scope: "row" }), patch = element("i", "", { class: "swatch" });
  patch.style.background = colourOf(fleet.jobs.indexOf(job));
  name.append(patch, job.name);
  return name;
}

function cell(label, inside, attributes = {}) {
  const made = element("td", undefined, { "data-label": label, ...attributes }), held = element("span");
  held.append(...[inside].flat());
  made.append(held);
  return made;
}

function showJobs() {
  byId("jobs").replaceChildren(...fleet.jobs.map((job) => {
    const row = element("tr");
    const bar = element("progress", undefined, { max: job.steps, value: job.step, "aria-label": `steps of ${job.name}` });
    const lags = job.lags ? ` (${Math.round(100 * job.lags)}% of its peers)` : "";
    const mfu = job.mfu === null ? "" : `, MFU ${Math.round(100 * job.mfu)}%`;
    const pace = job.samples_per_s ? many(Math.round(job.samples_per_s)) + mfu + lags : "–";
    const heldOut = job.held_out === null ? "" : `, ${job.held_out.toPrecision(3)} held out`;
    row.append(head(job), cell("state", job.state, { class: "state" }), cell("island", job.island || "–", { class: "state" }),
      cell("steps", [`${many(job.step)} / ${many(job.steps)} `, bar]),
      cell("loss", job.loss === null ? "–" : job.loss.toPrecision(3) + heldOut), cell("samples/s", pace),
      cell("safe at", job.checkpoint ? many(job.checkpoint.step) : "–"), cell("leases", String(job.epoch)),
      element("td", job.reason, { class: "words" }));
    return row;
  }));
}

function showCheckpoints() {
  byId("checkpoints").replaceChildren(...fleet.jobs.map((job) => {
    const made = events.filter((event) => event.kind === "checkpoint-committed" && event.job === job.name);
    const list = element("ul"), words = element("td", undefined, { class: "words" }), row = element("tr");
    list.append(...made.slice(-MOST_CHECKPOINTS).reverse().map((event) =>
      element("li", `${event.reason.replace(" is safe", "")}, epoch ${event.epoch}, ${clock(event.at)}`)));
    words.append(made.length ? list : "none yet");
    row.append(head(job), cell("committed", many(made.length)), words);
    return row;
  }));
}

function showServers() {
  byId("servers-part").hidden = !fleet.servers.length;
  byId("servers").replaceChildren(...fleet.servers.map((server) => {
    const row = element("tr"), rate = server.rows_per_second;
    row.append(element("th", server.address, { scope: "row" }), cell("process", server.process || "–", { class: "state" }),
      cell("experts", server.experts.join(", ")), cell("rows/s, about", rate ? many(rate) : "–"));
    return row;
  }));
}

function showFacts(leases) {
  const done = fleet.jobs.filter((job) => job.state === "done").length;
  const working = fleet.islands.filter((island) => island.state === "working").length;
  byId("run").textContent = fleet.run;
  document.title = `Atoll: ${fleet.run}`;
  byId("state").className = "";
  byId("state").textContent = `${done} of ${fleet.jobs.length} jobs done, ${working} islands at work` +
    (fleet.draining ? "; the fleet drains" : "") + (fleet.budget.reached ? `: ${fleet.budget.reached}` : "");
  byId("done").textContent = `${done} of ${fleet.jobs.length}`;
  byId("working").textContent = working;
  byId("recoveries").textContent = leases.spans.filter((span) => span.recovers).length;
  const budget = fleet.budget, of = (limit) => limit === null ? "" : ` of ${many(limit)}`;
  byId("hours").textContent = fleet.node_hours.toFixed(2) + of(budget.node_hours);
  byId("cost").textContent = fleet.cost || budget.cost ? fleet.cost.toFixed(2) + of(budget.cost) : "not counted";
  byId("deadline-fact").hidden = budget.deadline === null;
  byId("deadline").textContent = budget.deadline === null ? "" : new Date(1000 * budget.deadline).toLocaleString();
}

function showGrids() {
  for (const job of fleet.jobs) {
    const key = job.checkpoint && job.checkpoint.key;
    if (!key || grids.get(job.name) === key) continue;
    grids.set(job.name, key);
    const image = new Image();
    image.alt = `Samples of ${job.name}`;
    image.onload = () => {
      const old = byId(`grid-${job.name}`), figure = element("figure", undefined, { id: `grid-${job.name}` });
      figure.append(image, element("figcaption", `${job.name}, step ${many(job.checkpoint.step)}`));
      if (old) old.replaceWith(figure); else byId("grids").append(figure);
    };
    image.src = `/grids/${encodeURIComponent(job.name)}?${encodeURIComponent(key)}`;
  }
}

function showEvents(fresh, leases) {
  const mended = new Set(leases.spans.filter((span) => span.recovers).map((span) => span.number));
  for (const event of fresh) {
    const looks = isBad(event) ? "bad" : mended.has(event.number) ? "mended" : "";
    const line = element("li", undefined, looks ? { class: looks } : {});
    line.append(element("time", clock(event.at)), element("b", event.kind),
      ` ${[event.job, event.island].filter(Boolean).join(" on ")}: ${event.reason}`);
    byId("events").prepend(line);
  }
  while (byId("events").childElementCount > MOST_LINES) byId("events").lastChild.remove();
}

async function freshEvents() {
  if (last < 0) last = Math.max(0, fleet.last_event - MOST_EVENTS);
  const fresh = [];
  for (let some; !some || some.length === AT_ONCE;) {
    some = await ask(`/events.json?after=${last}`);
    if (some.length) last = some[some.length - 1].number;
    fresh.push(...some);
  }
  events = [...events, ...fresh].slice(-MOST_EVENTS);
  return fresh;
}

function draw(leases) {
  drawTimeline(byId("timeline"), leases, fleet);
  drawLosses(byId("losses"), losses, fleet);
}

async function look() {
  try {
    fleet = await ask("/fleet.json");
    const fresh = await freshEvents(), leases = leasesIn(events, fleet.now);
    losses = await ask("/losses.json");
    showFacts(leases);
    showJobs();
    showCheckpoints();
    showServers();
    draw(leases);
    byId("timeline-legend").replaceChildren(...legendOf(fleet));
    showGrids();
    showEvents(fresh, leases);
  } catch (error) {
    byId("state").className = "lost";
    byId("state").textContent = "the orchestrator does not answer; this is what it told last";
  }
  setTimeout(look, EVERY_MS);
}

window.addEventListener("resize", () => fleet && draw(leasesIn(events, fleet.now)));
look();
