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
const SPOKEN = 300; // characters of a text that are read out; the box holds all of them
const END = "All pairs are labelled. Press Esc to leave the box, then run the next cell.";

function made(tag, parent, more = {}, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(more)) element.setAttribute(name, value);
  element.textContent = text;
  parent.appendChild(element);
  return element;
}

function panel(parent, name) {
  const both = made("div", parent, { class: "adpo-panel" });
  made("h3", both, {}, name);
  return made("div", both, {
    class: "adpo-text", dir: "auto", tabindex: "0", role: "region", "aria-label": name,
  });
}

// For those who listen: what was stored, and the next pair.
function spoken(now) {
  const short = (text) => text.length <= SPOKEN ? text
    : `${text.slice(0, SPOKEN)} … (the first ${SPOKEN} of ${text.length} characters)`;
  const next = now.pair ? [
    `Pair ${now.place + 1} of ${now.questions}.`, `Prompt: ${short(now.prompt)}`,
    `Left response: ${short(now.left)}`, `Right response: ${short(now.right)}`,
  ] : [END];
  return [now.note, ...next].join("\n");
}

// Back to JupyterLab's keys: to the next cell where this one's pairs are all labelled.
function leave(root, done) {
  const cell = root.closest(".jp-Cell");
  document.activeElement.blur();
  ((done && cell?.nextElementSibling) || cell)?.focus();
}

function render({ model, el }) {
  const root = made("div", el, {
    class: "adpo", tabindex: "0", role: "group", "aria-label": "Which response is better?",
  });
  const bar = made("progress", root, { "aria-label": "labels so far" });
  const count = made("div", root, { class: "adpo-count" });
  const open = made("div", root);
  const prompt = panel(open, "Prompt");
  const both = made("div", open, { class: "adpo-both" });
  const left = panel(both, "Left response");
  const right = panel(both, "Right response");
  const end = made("p", root, { class: "adpo-end" }, END);
  const row = made("div", root, { class: "adpo-buttons" });
  const buttons = BUTTONS.map(([key, label, sign]) => {
    const more = { type: "button", "data-key": key };
    const button = made("button", row, more, `${label} (${sign})`);
    button.addEventListener("click", () => send(key));
    return button;
  });
  const note = made("p", root, { class: "adpo-note" });
  const trouble = made("p", root, { class: "adpo-trouble", role: "alert" });
  const hint = "The keys work while the frame is blue. Esc leaves the box.";
  root.setAttribute("aria-description", hint);
  made("p", root, { class: "adpo-hint" }, hint);
  const said = made("div", root, { class: "adpo-spoken", role: "status" });
  for (const part of [root, prompt, left, right, ...buttons]) { // all that can have the focus:
    part.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab's own keys stay out
  }
  let waiting = 0;

  function send(key) {
    const now = model.get("shown");
    if (waiting || (!now.pair && key !== "undo")) return; // one key a pair: the next is not yet seen
    trouble.textContent = "";
    waiting = setTimeout(() => {
      waiting = 0;
      trouble.textContent = "No answer from the kernel yet. While a cell runs, keys wait for it. " +
        "If the kernel is gone, restart it and run this cell again: what was stored is kept.";
    }, PATIENCE);
    model.send({ key, pair: now.pair });
  }

  function draw() {
    clearTimeout(waiting);
    waiting = 0;
    const now = model.get("shown"), at = document.activeElement;
    bar.max = now.questions;
    bar.value = now.answered;
    const each = now.answered ? `, ${now.seconds_a_label.toFixed(1)} s a label` : "";
    count.textContent = `${now.answered} of ${now.questions} labelled${each}`;
    [prompt.textContent, left.textContent, right.textContent] = [now.prompt, now.left, now.right];
    open.hidden = !now.pair;
    end.hidden = Boolean(now.pair);
    note.textContent = now.note;
    trouble.textContent = now.trouble;
    said.textContent = now.trouble ? "" : spoken(now);
    for (const button of buttons) button.disabled = !now.pair && button.dataset.key !== "undo";
    const gone = at.disabled || !at.checkVisibility();
    if (root.contains(at) && gone) root.focus(); // or the keyboard would lose its place
    for (const text of [prompt, left, right]) text.scrollTop = 0;
  }

  root.addEventListener("keydown", (event) => {
    const changed = event.ctrlKey || event.metaKey || event.altKey;
    const run = event.key === "Enter" && (changed || event.shiftKey); // not a click on a button
    const key = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!run && event.key !== "Escape" && (changed || event.repeat || !key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (key) send(key);
    else leave(root, !model.get("shown").pair);
  });
  model.on("change:shown", draw);
  draw();
  return () => model.off("change:shown", draw);
}

export default { render };
