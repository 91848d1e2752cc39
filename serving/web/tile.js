// One image of a job: its preview while it is drawn, then itself, with what can be done with it.
import { image as fetchImage, preview as fetchPreview } from "./api.js";
import { html } from "./element.js";
import { sidesOf, sizeOf } from "./size.js";
import { makeStrip } from "./strip.js";

export function makeTile(job, { index, steps, recipe }, model, reuse) {
  const what = recipe.condition || "image", title = `${what}, seed ${recipe.seed}`;
  const [width, height] = sidesOf(sizeOf(recipe, model));
  const picture = html("img", { alt: "", width, height, hidden: "" });
  const frame = html("div", { class: "frame waiting" }, picture);
  frame.style.aspectRatio = `${width} / ${height}`;
  const strip = makeStrip(steps), actions = html("div", { class: "actions" });
  const caption = html("figcaption", {}, html("b", {}, what), ` seed ${recipe.seed}`);
  const note = html("p", { class: "note", hidden: "" });
  const node = html("figure", {}, frame, strip.picture, caption, strip.legend, note, actions);
  let shownStep = 0, isThere = false;

  function paint(blob, words) {
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(blob);
    picture.alt = words;
    picture.hidden = false;
    frame.classList.remove("waiting");
  }

  function offer() {
    const again = html("button", { type: "button", class: "link" }, "Use this recipe again");
    again.addEventListener("click", () => reuse(recipe));
    actions.replaceChildren(again, html("a", { href: picture.src, download: `atoll-${what}-${recipe.seed}.png` }, "Download"));
  }

  async function show(view) {
    if (!isThere) actions.textContent = `step ${view.step} of ${steps}`;
    strip.show(view.weights);
    if (view.without.length) {
      note.textContent = `Experts that could not be had for it: ${view.without.join(", ")}`;
      note.hidden = false;
    }
    if (view.url && !isThere) {
      paint(await fetchImage(job, index), title);
      isThere = true;
      offer();
    } else if (!isThere && view.preview_step > shownStep) {
      paint(await fetchPreview(job, index), `${title}, unfinished, as of step ${view.preview_step}`);
      shownStep = view.preview_step;
    }
  }

  return { node, show };
}
