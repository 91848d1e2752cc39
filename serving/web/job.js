// A job in the gallery, from its place in the queue to its images.
import { cancel, Refused, sentence, views } from "./api.js";
import { count, html } from "./element.js";
import { sidesOf, sizeOf, spelt } from "./size.js";
import { makeTile } from "./tile.js";
import { turn } from "./turns.js";

const OVER = new Set(["done", "failed", "cancelled"]);
const RETRY_MS = 1000;

function headingOf(images, model) {
  const { recipe } = images[0], wanted = [...new Set(images.map((each) => each.recipe.condition).filter(Boolean))];
  return count(images.length, "image") + (wanted.length ? ` of ${wanted.join(", ")}` : "") +
    (model.sizes.length > 1 ? ` · ${spelt(sizeOf(recipe, model))}` : "") +
    ` · ${count(recipe.steps, "step")} · ${recipe.strategy} · ${recipe.solver} · guidance ${recipe.guidance}`;
}

function standing(job) {
  switch (job.state) {
    case "queued": return job.ahead ? `${count(job.ahead, "image")} before yours` : "next in the queue";
    case "running": return "drawing";
    case "done": return `done in ${job.seconds.toFixed(1)} s`;
    case "failed": return sentence(job.reason);
    default: return job.state;
  }
}

export function showJob(first, model, { reuse, announce, complain }) {
  const words = html("span", { class: "standing" });
  const stop = html("button", { type: "button", class: "plain" }, "Cancel");
  const tiles = first.images.map((each) => makeTile(first.id, each, model, reuse));
  const [width] = sidesOf(sizeOf(first.images[0].recipe, model));
  const grid = html("div", { class: width > 64 ? "grid large" : "grid" }, ...tiles.map((tile) => tile.node));
  const node = html("article", { "data-state": first.state, tabindex: -1 }, html("h3", {}, headingOf(first.images, model)),
    html("p", { class: "bar" }, words, stop), grid);
  let isCancelled = false;

  function say(told) {
    if (told !== words.textContent) announce(told);
    words.textContent = told;
  }

  async function show(job) {
    const isOver = OVER.has(job.state);
    say(isCancelled && !isOver ? "cancelling" : standing(job));
    node.dataset.state = job.state;
    if (isOver && document.activeElement === stop) node.focus(); // the button goes
    stop.hidden = isOver;
    await Promise.all(job.images.map((each) => tiles[each.index].show(each)));
    return isOver;
  }

  function giveUp(reason) {
    say(reason);
    node.dataset.state = "failed";
    stop.hidden = true;
  }

  async function follow() {
    say(standing(first));
    for (;;) {
      const giveBack = await turn();
      try {
        for await (const job of views(first.id)) {
          if (await show(job)) return;
        }
      } catch (error) {
        if (error instanceof Refused && error.status) return giveUp(error.message);
        say("the service does not answer; looking again");
      } finally {
        giveBack();
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  stop.addEventListener("click", async () => {
    stop.disabled = true;
    try {
      await cancel(first.id);
      isCancelled = true;
      if (!OVER.has(node.dataset.state)) say("cancelling");
    } catch (error) {
      stop.disabled = false;
      complain(error);
    }
  });
  follow();
  return node;
}
