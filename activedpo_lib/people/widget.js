// The labelling widget's page: draws what Python shows, and sends keys. Text is set as text, never as markup.
const KEYS = {
  ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right",
  t: "tie", s: "skip", u: "undo", Backspace: "undo",
};
const BUTTONS = [
  ["left", "Left is better", "←"], ["right", "Right is better", "→"],
  ["tie", "Tie", "T"], ["skip", "Skip", "S"], ["undo", "Undo", "U"],
];
const PATIENCE = 8000; // milliseconds without an answer of the kernel

function made(tag, parent, more = {}) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(more)) element.setAttribute(name, value);
  parent.appendChild(element);
  return element;
}

function panel(parent, name) {
  const section = made("section", parent, { class: "adpo-panel", "aria-label": name });
  made("h3", section).textContent = name;
  return made("div", section, { class: "adpo-text", dir: "auto", tabindex: "0" });
}

function render({ model, el }) {
  const root = made("div", el, {
    class: "adpo", tabindex: "0", role: "group", "aria-label": "Which response is better?",
    "data-lm-suppress-shortcuts": "true", // JupyterLab's own keys stay out
  });
  const bar = made("progress", root, { "aria-label": "labels so far" });
  const count = made("div", root, { class: "adpo-count", "aria-live": "polite" });
  const prompt = panel(root, "Prompt");
  const both = made("div", root, { class: "adpo-both" });
  const left = panel(both, "Left response");
  const right = panel(both, "Right response");
  const row = made("div", root, { class: "adpo-buttons" });
  const buttons = BUTTONS.map(([key, label, sign]) => {
    const button = made("button", row, { type: "button", "data-key": key });
    button.textContent = `${label} (${sign})`;
    button.addEventListener("click", () => send(key));
    return button;
  });
  const note = made("p", root, { class: "adpo-note", role: "status" });
  const trouble = made("p", root, { class: "adpo-trouble", role: "alert" });
  let waiting = 0;

  function send(key) {
    const now = model.get("shown");
    if (waiting || (!now.pair && key !== "undo")) return; // one key a pair: the next is not yet seen
    waiting = setTimeout(() => {
      waiting = 0;
      trouble.textContent = "The kernel does not answer. What was stored is kept: " +
        "restart it if need be, and run this cell again.";
    }, PATIENCE);
    model.send({ key, pair: now.pair });
  }

  function draw() {
    clearTimeout(waiting);
    waiting = 0;
    const now = model.get("shown");
    bar.max = now.questions;
    bar.value = now.answered;
    const each = now.answered ? `, ${now.seconds_a_label.toFixed(1)} s a label` : "";
    count.textContent = `${now.answered} of ${now.questions} labelled${each}`;
    prompt.textContent = now.pair ? now.prompt : "All pairs are labelled. Run the next cell.";
    left.textContent = now.left;
    right.textContent = now.right;
    both.hidden = !now.pair;
    note.textContent = now.note;
    trouble.textContent = now.trouble;
    for (const button of buttons) button.disabled = !now.pair && button.dataset.key !== "undo";
    for (const text of [prompt, left, right]) text.scrollTop = 0;
  }

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const key = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!key) return;
    event.preventDefault();
    event.stopPropagation();
    send(key);
  });
  model.on("change:shown", draw);
  draw();
  return () => model.off("change:shown", draw);
}

export default { render };
