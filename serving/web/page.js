// The page of the service: an order from the form, a job in the gallery. No build step.
import { keepKey, modelServed, order, Refused } from "./api.js";
import { byId, count } from "./element.js";
import { watchExperts } from "./experts.js";
import { orderOf, prepare, take } from "./form.js";
import { showJob } from "./job.js";
import { spelt } from "./size.js";

const form = byId("order"), keyForm = byId("key-form");
let model = null, isAsking = false;

function announce(words) {
  byId("status").textContent = words;
}

function warn(words) {
  byId("problem").textContent = words;
  byId("problem").scrollIntoView({ block: "nearest" }); // on a telephone it is below the form
}

function complain(error) {
  if (!(error instanceof Refused)) throw error;
  warn(error.message);
  if (error.status === 401) {
    keyForm.hidden = false;
    byId("key").focus();
  }
}

async function reuse(recipe) {
  take(form, model, recipe);
  byId("problem").textContent = "";
  announce(`The recipe of seed ${recipe.seed} is in the form.`);
  byId("generate").focus();
  try {
    const { checkpoints } = (await modelServed()).atoll;
    if (Object.entries(recipe.checkpoints).some(([job, digest]) => checkpoints[job] !== digest)) {
      warn("Other checkpoints are served since then; the image will differ.");
    }
  } catch (error) {
    complain(error);
  }
}

function aboutOf(it) {
  const told = it.condition === "class" ? `, ${count(it.classes.length, "class", "classes")}` : "";
  const [own, ...others] = it.sizes, besides = others.length ? ` or ${count(others.length, "other size")}` : "";
  return `${count(it.num_experts, "expert")}, ${spelt(own)} pixels${besides}${told}`;
}

async function start() {
  try {
    const served = await modelServed();
    model = served.atoll;
    byId("model").textContent = served.id;
    document.title = `Atoll: ${served.id}`;
    byId("about").textContent = aboutOf(model);
    prepare(form, model);
    form.hidden = false;
    await watchExperts();
  } catch (error) {
    complain(error);
  }
}

async function generate() {
  if (isAsking) return; // one press, one job
  isAsking = true;
  byId("problem").textContent = "";
  try {
    const job = showJob(await order(orderOf(form, model)), model, { reuse, announce, complain });
    byId("empty")?.remove();
    byId("gallery").prepend(job);
    job.scrollIntoView({ block: "nearest" });
  } catch (error) {
    complain(error);
  } finally {
    isAsking = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  generate();
});
byId("random").addEventListener("click", () => { form.elements.seed.value = ""; });
keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(byId("key").value.trim());
  byId("key").value = byId("problem").textContent = "";
  keyForm.hidden = true;
  if (model) announce("The key is taken; generate again.");
  else start();
});
start();
